package epidemic

import (
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Each node says one thing of itself. Its latest life holds, and what others make up of
// it is answered.
func TestOwnWords(t *testing.T) {
	rule := func(self view.NodeID) Rule[view.NodeID, wire.NoticeVersion, wire.Traits] {
		return RuleOfOwnWords(self, wire.Traits.Sum, func(_ time.Duration, held, told wire.Traits) wire.Traits {
			held.Node, held.Boot, held.Seq = self, 2, told.Seq+1
			return held
		})
	}
	all := func(wire.NoticeSum) bool { return true }
	own, other := New(rule(1)), New(rule(2))
	own.Put(0, wire.Traits{Node: 1, Boot: 2, Seq: 1, Said: "true"})
	other.Hear(0, []wire.Traits{{Node: 1, Boot: 1, Seq: 70, Said: "of a life before"}}, all)
	other.Hear(0, own.News(), all)
	if h, _ := other.Get(1); h.Entry.Seq != 1 {
		t.Errorf("an earlier life holds: %+v", h.Entry)
	}
	made := []wire.Traits{{Node: 1, Boot: 2, Seq: 40, Said: "made up"}}
	other.Hear(0, made, all)
	own.Hear(0, made, all)
	if own.Digest() == other.Digest() {
		t.Error("different words have one digest")
	}
	other.Hear(0, own.News(), all)
	for _, x := range []*Table[view.NodeID, wire.NoticeVersion, wire.Traits]{own, other} {
		if h, _ := x.Get(1); h.Entry.Seq != 41 || h.Entry.Said != "true" {
			t.Errorf("%+v holds", h.Entry)
		}
	}
	if own.Digest() != other.Digest() {
		t.Error("equal tables have two digests")
	}
}
