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

// Traits that are too large, of a later format or cannot be read at all are left out, and
// the others of the message are read.
func TestTraitsThatCannotBeReadAreLeftOut(t *testing.T) {
	good := Traits{Node: 9, Boot: 1, Seq: 2, Tags: map[string]string{"k": "v"}, Capabilities: []string{"c"}}
	many := map[string]string{}
	var long []string
	for i := range MaxTags + 1 {
		many[fmt.Sprint(i)] = ""
		long = append(long, fmt.Sprintf("%02d", i)+strings.Repeat("x", MaxTraitText-2))
	}
	for name, bad := range map[string]Traits{
		"a long value":             {Node: 5, Tags: map[string]string{"k": strings.Repeat("x", MaxTraitText+1)}},
		"many tags":                {Node: 5, Tags: many},
		"many capabilities":        {Node: 5, Capabilities: slices.Sorted(maps.Keys(many))},
		"too long altogether":      {Node: 5, Capabilities: long[:MaxCapabilities]},
		"one capability twice":     {Node: 5, Capabilities: []string{"a", "a"}},
		"capabilities in disorder": {Node: 5, Capabilities: []string{"b", "a"}},
	} {
		got, err := decodeAllTraits(AppendTraitsSwap(nil, TraitsSwap{Have: []Traits{bad, good}, Want: []view.NodeID{4}}))
		if err != nil || len(got.Have) != 1 || got.Have[0].Node != 9 || len(got.Want) != 1 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for name, said := range map[string][]byte{
		"a later format": {traitsVersion + 1},
		"nothing":        nil,
		"tags twice": handmade(func(c *codec) {
			c.writeUint(1)
			c.writeArrayLen(4)
			c.data = append(c.data, 0xa1, 'k', 0xa0, 0xa1, 'k', 0xa0)
			c.writeArrayLen(0)
		}),
		"a byte more": append(appendFields(nil, &good, (*Traits).saidFields), 0),
	} {
		data := handmade(func(c *codec) {
			c.writeUint(traitsVersion)
			c.writeArrayLen(4)
			c.writeUint(5)
			c.writeUint(1)
			c.writeUint(1)
			c.writeBytes(said)
			c.writeArrayLen(0)
		})
		if got, err := decodeAllTraits(data); err != nil || len(got.Have) != 0 {
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

func FuzzDecodeTraitsSwap(f *testing.F) { fuzzMesh(f, appended(AppendTraitsSwap), decodeAllTraits) }

func FuzzDecodeViewQuery(f *testing.F) {
	f.Add(AppendViewQuery(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		if v, _ := DecodeViewQuery(data); v < ViewBare || v > ViewTraits {
			t.Errorf("version %d", v)
		}
	})
}
