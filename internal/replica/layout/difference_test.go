package layout

import (
	"testing"

	"github.com/skeinmesh/skein/internal/wire"
)

func TestDifferencesAreNamed(t *testing.T) {
	here := &Bucket{ID: 1, Def: wire.BucketDef{Name: "b", Copies: 3, Zones: []string{"a"}}}
	for want, there := range map[string]wire.BucketDef{
		"Copies is 3 here and 2 in the mesh":                                                {Name: "b", Copies: 2, Zones: []string{"a"}},
		"Policy is LastWriterWins here and Siblings in the mesh":                            {Name: "b", Copies: 3, Siblings: true, Zones: []string{"a"}},
		`Copies is 3 here and 1 in the mesh, Zones is ["a"] here and ["a" "c"] in the mesh`: {Name: "b", Copies: 1, Zones: []string{"a", "c"}},
	} {
		if got := DescribeDifference(here, []*Bucket{here, {ID: 2, Def: there}}); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
