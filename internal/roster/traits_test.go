package roster

import (
	"fmt"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

func TestCheckTraits(t *testing.T) {
	many, list := map[string]string{}, []string(nil)
	for i := range 33 {
		many[fmt.Sprint("k", i)] = "v"
		list = append(list, fmt.Sprint("c", i))
	}
	large := map[string]string{}
	for i := range 8 {
		large[fmt.Sprint(i)] = strings.Repeat("x", 255)
	}
	for name, c := range map[string]struct {
		tags         map[string]string
		capabilities []string
		faults       []string // what each says
	}{
		"none":                {},
		"usual ones":          {map[string]string{"line": "3", "note": "", "ort": "Köln 7"}, []string{"plc", "press"}, nil},
		"just enough":         {large, nil, nil},
		"a byte too many":     {large, []string{"x"}, []string{"2049 bytes together"}},
		"keys":                {map[string]string{"": "v", "a\nb": "v", strings.Repeat("k", 65): "v"}, nil, []string{"empty key", `"a\nb"`, "longer than 64"}},
		"values":              {map[string]string{"a": "\x1b[2J", "b": "\xff", "c": strings.Repeat("v", 257)}, nil, []string{"under \"a\"", "under \"b\"", "longer than 256"}},
		"capabilities":        {nil, []string{"", "x", "x", "\t", strings.Repeat("c", 65)}, []string{"empty one", `"x" twice`, `"\t"`, "longer than 64"}},
		"too many":            {many, list, []string{"33 keys", "has 33,"}},
		"everything is named": {map[string]string{"": "\x00"}, []string{""}, []string{"empty key", `value "\x00"`, "Capabilities has an empty one"}},
	} {
		got := CheckTraits(c.tags, c.capabilities)
		if len(got) != len(c.faults) {
			t.Errorf("%s: %v", name, got)
			continue
		}
		for i, want := range c.faults {
			if !strings.Contains(got[i].Error(), want) {
				t.Errorf("%s: %q does not say %q", name, got[i], want)
			}
		}
	}
}

// What a node should not say programs are not shown, and nothing that cannot be read.
func TestFaultyTraitsAreNotShown(t *testing.T) {
	if tags, list := ReadTraits(wire.EncodeTraits(map[string]string{"k": "v"}, []string{"c"})); tags["k"] != "v" || len(list) != 1 {
		t.Errorf("%v, %v", tags, list)
	}
	for _, said := range []string{"", "\x09", wire.EncodeTraits(nil, []string{"\n"}), wire.EncodeTraits(map[string]string{"k": "\n"}, []string{"c"})} {
		if tags, list := ReadTraits(said); tags != nil || list != nil {
			t.Errorf("%q: %v, %v", said, tags, list)
		}
	}
}

// A node says nothing under a life that nobody knows of, and nothing once it is gone.
func TestMaySay(t *testing.T) {
	e, gone := plain(1, "a"), plain(2, "b")
	e.Boot, gone.Status = 4, view.Evicted
	r := with(t, Roster{}, e, gone)
	for name, c := range map[string]struct {
		id   view.NodeID
		v    wire.NoticeVersion
		want bool
	}{
		"its life":         {1, wire.NoticeVersion{Boot: 4, Seq: 9}, true},
		"an earlier life":  {1, wire.NoticeVersion{Boot: 3, Seq: 9}, true},
		"an unknown life":  {1, wire.NoticeVersion{Boot: 5}, false},
		"the last number":  {1, wire.NoticeVersion{Boot: 4, Seq: 1 << 62}, false},
		"one that is gone": {2, wire.NoticeVersion{Boot: 1}, false},
		"nobody":           {3, wire.NoticeVersion{Boot: 1}, false},
	} {
		if got := r.MaySay(c.id, c.v); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
