package split

import (
	"testing"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

func TestBelievedNotices(t *testing.T) {
	v := view.View{Members: []view.Member{{ID: 2, Status: view.Active, Boot: 5}, {ID: 3, Status: view.Left, Boot: 5}}}
	for name, c := range map[string]struct {
		id        view.NodeID
		boot, seq uint64
		want      bool
	}{
		"this life":              {2, 5, 7, true},
		"an earlier life":        {2, 4, 7, true},
		"a later life":           {2, 6, 1, false},
		"a stranger's":           {9, 0, 1, false},
		"one who left":           {3, 5, 1, false},
		"one with the last word": {2, 5, 1 << 63, false},
		"one bit off zero":       {2, 5, 1 << 62, false},
		"most of the bits":       {2, 5, 1<<62 - 2, true},
	} {
		if got := Believes(v, wire.NoticeSum{Key: c.id, Version: wire.NoticeVersion{Boot: c.boot, Seq: c.seq}}); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
