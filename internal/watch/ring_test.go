package watch

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestRingHoldsTheLast compares a ring with a list of all that was ever appended.
func TestRingHoldsTheLast(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		most, bytes := 1+rng.IntN(200), 200+rng.IntN(20_000)
		r := NewRing(most, bytes)
		var all []Entry
		for range rng.IntN(1000) {
			e := Entry{Key: fmt.Sprint(len(all)), Item: []byte(strings.Repeat("i", rng.IntN(200)))}
			r.Append(e)
			all = append(all, e)
			held := 0
			for after := len(all); after > 0 && r.Has(uint64(after-1)); after-- {
				if got := r.Entry(uint64(after)); got.Key != all[after-1].Key || len(got.Item) != len(all[after-1].Item) {
					t.Fatalf("number %d is %q", after, got.Key)
				}
				held += all[after-1].size()
			}
			if r.bytes != held || r.countEntries() > most || held > bytes && r.countEntries() > 1 || r.Head() != uint64(len(all)) {
				t.Fatalf("%d of %d entries and %d of %d bytes are held, counted %d", r.countEntries(), most, held, bytes, r.bytes)
			}
		}
		if r.Has(r.Head()+1) || !r.Has(r.Head()) {
			t.Fatal("the head is not the last one")
		}
	}
}

func TestRingForgetsInOrder(t *testing.T) {
	r := NewRing(3, 1<<20)
	if !r.Has(0) || r.Has(1) {
		t.Fatal("an empty ring has forgotten something")
	}
	for i := range 5 {
		r.Append(Entry{Key: fmt.Sprint(i)})
	}
	if r.Has(1) || !r.Has(2) || r.Entry(3).Key != "2" {
		t.Fatal("it does not hold the last three")
	}
}

func TestEndsDoNotLieBehindNewerChanges(t *testing.T) {
	r := NewRing(8, 1<<20)
	r.Append(Entry{Bucket: 1, Key: "before"})
	since := r.Head()
	r.Append(Entry{Bucket: 1, Key: "put"})
	r.Append(Entry{Bucket: 2, Key: "elsewhere"})
	ends := []Entry{{Bucket: 1, Key: "put", Kind: Ended}, {Bucket: 1, Key: "before", Kind: Ended}, {Bucket: 1, Key: "elsewhere", Kind: Ended}}
	if !r.AppendEnds(ends, since) || r.Head() != since+4 {
		t.Fatalf("the ring has come to %d", r.Head())
	}
	for i, want := range []string{"before", "elsewhere"} {
		if e := r.Entry(since + 3 + uint64(i)); e.Key != want || e.Kind != Ended {
			t.Errorf("%+v has ended, want %q", e, want)
		}
	}
	for range 8 {
		r.Append(Entry{Bucket: 1, Key: "put"})
	}
	if head := r.Head(); r.AppendEnds(ends, since) || r.Head() != head {
		t.Error("ends are added although what came after them is forgotten")
	}
	large := NewRing(4*maxSince, 1<<30)
	large.Append(Entry{Bucket: 1, Key: "before"})
	for range maxSince {
		large.Append(Entry{Bucket: 1, Key: "put"})
	}
	if !large.AppendEnds(ends, 1) {
		t.Error("ends are not added behind so many changes as may be looked through")
	}
	if head := large.Head(); large.AppendEnds(ends, 1) || large.Head() != head {
		t.Error("more changes are looked through than may be")
	}
}
