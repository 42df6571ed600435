package wire

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/mesh/view"
)

func viewOf(version uint64) func(view.View) []byte {
	return func(v view.View) []byte { return AppendView(nil, v, version) }
}

func decodeAllTraits(data []byte) (TraitsSwap, error) {
	return DecodeTraitsSwap(data, func(NoticeSum) bool { return true })
}

// A client that asks without a word, as those of early releases do, is told what they
// understand, and one of a later release what this one has.
func TestVersionOfAView(t *testing.T) {
	for name, c := range map[string]struct {
		asked []byte
		want  uint64
	}{
		"early":    {nil, ViewBare},
		"this one": {AppendViewQuery(nil), ViewTraits},
		"later":    {[]byte{77}, ViewTraits},
		"zero":     {[]byte{0}, ViewBare},
	} {
		if got, err := DecodeViewQuery(c.asked); got != c.want || err != nil {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
	if _, err := DecodeViewQuery([]byte{2, 2}); !errors.Is(err, ErrMalformed) {
		t.Errorf("two numbers: %v", err)
	}
}

// What breaks a bound, or is of a later format, is no traits.
func TestTraitsThatCannotBeRead(t *testing.T) {
	tags := map[string]string{"k": "v", "a": ""}
	said := EncodeTraits(tags, []string{"c", "d"})
	if got, list, err := DecodeTraits(said); err != nil || !maps.Equal(got, tags) || !slices.Equal(list, []string{"c", "d"}) {
		t.Errorf("read as %v, %v, %v", got, list, err)
	}
	if got, list, err := DecodeTraits(EncodeTraits(nil, nil)); err != nil || got != nil || list != nil {
		t.Errorf("none are read as %v, %v, %v", got, list, err)
	}
	many := map[string]string{}
	for i := range MaxTags + 1 {
		many[fmt.Sprint(i)] = ""
	}
	for name, said := range map[string]string{
		"a long value":             EncodeTraits(map[string]string{"k": strings.Repeat("x", MaxTraitText+1)}, nil),
		"many tags":                EncodeTraits(many, nil),
		"many capabilities":        EncodeTraits(nil, slices.Sorted(maps.Keys(many))),
		"one capability twice":     EncodeTraits(nil, []string{"a", "a"}),
		"capabilities in disorder": EncodeTraits(nil, []string{"b", "a"}),
		"a later format":           string([]byte{traitsVersion + 1}),
		"nothing":                  "",
		"tags twice": string(handmade(func(c *codec) {
			c.writeUint(1)
			c.writeArrayLen(4)
			c.data = append(c.data, 0xa1, 'k', 0xa0, 0xa1, 'k', 0xa0)
			c.writeArrayLen(0)
		})),
		"a byte more": said + "\x00",
		"a byte less": said[:len(said)-1],
	} {
		if got, list, err := DecodeTraits(said); err == nil || got != nil || list != nil {
			t.Errorf("%s: %v, %v, %v", name, got, list, err)
		}
	}
}

// Whatever a node says is passed on as it is, but for what is too large, and the others of
// the message are read.
func TestTraitsArePassedOnUnread(t *testing.T) {
	good := Traits{Node: 9, Boot: 1, Seq: 2}.SayNext(EncodeTraits(map[string]string{"k": "v"}, []string{"c"}))
	for name, c := range map[string]struct {
		said string
		want int
	}{
		"a later format": {string([]byte{traitsVersion + 1, 7, 7}), 2},
		"much":           {strings.Repeat("x", maxTraits), 2},
		"too much":       {strings.Repeat("x", maxTraits+1), 1},
	} {
		first := Traits{Node: 5}.SayNext(c.said)
		got, err := decodeAllTraits(AppendTraitsSwap(nil, TraitsSwap{Have: []Traits{first, good}, Want: []view.NodeID{4}}))
		if err != nil || len(got.Have) != c.want || got.Have[len(got.Have)-1] != good || c.want == 2 && got.Have[0] != first || len(got.Want) != 1 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for name, data := range map[string][]byte{
		"half an entry": handmade(func(c *codec) { c.writeUint(1); c.writeArrayLen(2); c.writeUint(5); c.writeUint(1); c.writeArrayLen(0) }),
		"no node":       AppendTraitsSwap(nil, TraitsSwap{Have: []Traits{{}}}),
	} {
		if _, err := decodeAllTraits(data); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	unwanted, err := DecodeTraitsSwap(AppendTraitsSwap(nil, TraitsSwap{Have: []Traits{good}}), func(NoticeSum) bool { return false })
	if err != nil || len(unwanted.Have) != 0 {
		t.Errorf("unwanted ones are kept: %+v, %v", unwanted, err)
	}
}

// Each word has a number of its own, above all before it. One that was changed on the way
// is left out.
func TestTraitsAreNumberedByWhatIsSaid(t *testing.T) {
	last := Traits{Node: 9, Boot: 1}
	for _, said := range []string{"one", "two", "one", "one"} {
		next := last.SayNext(said)
		if next.Seq <= last.Seq || next.Seq == last.SayNext(said+" ").Seq {
			t.Errorf("%q has the number %x after %x", said, next.Seq, last.Seq)
		}
		last = next
	}
	changed := last
	changed.Said = "other"
	got, err := decodeAllTraits(AppendTraitsSwap(nil, TraitsSwap{Have: []Traits{changed, last}}))
	if err != nil || !slices.Equal(got.Have, []Traits{last}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzDecodeTraits(f *testing.F) {
	f.Add(EncodeTraits(map[string]string{"k": "v"}, []string{"c"}))
	f.Fuzz(func(t *testing.T, said string) {
		tags, list, err := DecodeTraits(said)
		if err != nil {
			return
		}
		again, other, err := DecodeTraits(EncodeTraits(tags, list))
		if err != nil || !maps.Equal(again, tags) || !slices.Equal(other, list) {
			t.Errorf("%v and %v are read back as %v and %v, %v", tags, list, again, other, err)
		}
	})
}

func FuzzDecodeTraitsSwap(f *testing.F) { fuzzMesh(f, appended(AppendTraitsSwap), decodeAllTraits) }

func FuzzDecodeViewQuery(f *testing.F) {
	f.Add(AppendViewQuery(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		if v, _ := DecodeViewQuery(data); v < ViewBare || v > ViewTraits {
			t.Errorf("version %d", v)
		}
	})
}
