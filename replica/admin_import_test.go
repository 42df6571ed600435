package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/slice"
)

// A program that is no node brings a backup to a mesh as a node does, in any number of pages, and is told
// which records were refused.
func TestClientImports(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 30 {
			mustPut(t, buckets[i%3], fmt.Sprint("k", i), "v")
		}
		time.Sleep(time.Minute)
		var old []slice.Old
		var def []byte
		for _, c := range exportAll(t, nodes...) {
			if c.slice.Bucket == "b" {
				def, old = c.slice.Def, append(old, c.records...)
			}
		}
		other := newFakeNet(t)
		other.mesh = view.MeshID{2}
		home, camera := other.add(true), other.add(false)
		for _, n := range []*fakeNode{home, camera} {
			n.open()
			defer closing(t, n)
		}
		time.Sleep(time.Minute)
		old[7].Whole = false // nobody remembers whether it was deleted
		old[20].Gone = [][]byte{make([]byte, 0)}
		ctx := context.Background()
		if got, err := NewClient(asker{camera, home.id}).Import(ctx, def, old); err == nil || got.Brought > 0 {
			t.Fatalf("%+v, %v: what was purged does not read", got, err)
		}
		old[20].Gone = nil
		for _, brought := range []int{29, 0} {
			got, err := NewClient(asker{camera, home.id}).Import(ctx, def, old)
			if err != nil || got.Brought != brought || !slices.Equal(got.Refused, []int{7}) {
				t.Fatalf("%+v, %v", got, err)
			}
		}
		b := openBucket(t, home.store, "b", BucketConfig{})
		for i := range old {
			if it, err := b.Get(ctx, old[i].Key, nil); (err == nil) != (i != 7) {
				t.Errorf("%s: %+v, %v", old[i].Key, it, err)
			}
		}
		if _, err := NewClient(asker{home, camera.id}).Import(ctx, def, old); !errors.Is(err, ErrNotStoring) {
			t.Errorf("at a node that stores nothing: %v", err)
		}
		if _, err := NewClient(asker{camera, home.id}).Import(ctx, []byte("none"), nil); err == nil {
			t.Error("a bucket is defined by no definition")
		}
		if err := home.store.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := NewClient(asker{camera, home.id}).Import(ctx, def, old); !errors.Is(err, ErrClosed) {
			t.Errorf("at a store that is closed: %v", err)
		}
	})
}

// importing is a node that answers each import by what is given.
type importing func(wire.AdminImport) wire.AdminImported

func (a importing) Call(_ context.Context, _ string, req []byte) ([]byte, error) {
	m, err := wire.DecodeAdminImport(req)
	if err != nil {
		return nil, err
	}
	reply := a(m)
	return wire.AppendAdminImported(nil, &reply), nil
}

// What goes to a node at once is bounded by count and size, in order; and places of refused records are
// those of the whole.
func TestClientImportsByPages(t *testing.T) {
	for name, c := range map[string]struct {
		records, size, pages int
	}{
		"none": {0, 0, 1}, "few": {5, 10, 1}, "many": {wire.MaxImport + 1, 40, 2}, "large": {5, 1 << 20, 2}, "larger than a page": {3, 6 << 20, 3},
	} {
		if MaxImport != wire.MaxImport {
			t.Fatalf("a page has %d records at most, and a store takes %d", wire.MaxImport, MaxImport)
		}
		old := make([]slice.Old, c.records)
		for i := range old {
			old[i] = slice.Old{Key: fmt.Sprint(i), Item: make([]byte, c.size), Origin: []byte{byte(i % 2)}, Whole: i%3 == 0}
		}
		pages, seen := 0, 0
		got, err := NewClient(importing(func(m wire.AdminImport) (out wire.AdminImported) {
			pages++
			if len(m.Origins) > 2 || string(m.Def) != "def" {
				t.Errorf("%s: %d origins, %q", name, len(m.Origins), m.Def)
			}
			for i, r := range m.Records {
				if r.Key != fmt.Sprint(seen) || m.Origins[r.Origin-1][0] != byte(seen%2) || r.Whole != (seen%3 == 0) {
					t.Fatalf("%s: record %d is %q", name, seen, r.Key)
				}
				if seen++; i == len(m.Records)-1 {
					out.Refused = []int{i}
				}
			}
			out.Brought = uint64(len(m.Records) - len(out.Refused))
			return out
		})).Import(t.Context(), []byte("def"), old)
		if err != nil || pages != c.pages || seen != c.records || got.Brought+len(got.Refused) != c.records || c.records > 0 && got.Refused[len(got.Refused)-1] != c.records-1 {
			t.Errorf("%s: %d pages, %d records, %+v, %v", name, pages, seen, got, err)
		}
	}
	old := []slice.Old{{Key: "k"}}
	for name, answer := range map[string]wire.AdminImported{"a place beyond": {Refused: []int{1}}, "more than there are": {Brought: 2}} {
		if got, err := NewClient(importing(func(wire.AdminImport) wire.AdminImported { return answer })).Import(t.Context(), nil, old); !errors.Is(err, errWrongAnswer) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
