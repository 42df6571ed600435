package epidemic

import (
	"cmp"
	"encoding/binary"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// RuleOfOwnWords is the rule of a table in which each node says one thing of itself, and
// has the last word on that: the latest life of a node holds, and of what it said in that
// the highest number. Renew makes what self says anew where others hold something newer
// of it: told is that, and held its last own word.
func RuleOfOwnWords[E any](self view.NodeID, sum func(E) wire.NoticeSum, renew func(now time.Duration, held, told E) E) Rule[view.NodeID, wire.NoticeVersion, E] {
	return Rule[view.NodeID, wire.NoticeVersion, E]{
		Sum: sum,
		Newer: func(v, than wire.NoticeVersion) bool {
			return cmp.Or(cmp.Compare(v.Boot, than.Boot), cmp.Compare(v.Seq, than.Seq)) > 0
		},
		Append: func(dst []byte, s wire.NoticeSum) []byte {
			dst = binary.BigEndian.AppendUint64(dst, uint64(s.Key))
			dst = binary.BigEndian.AppendUint64(dst, s.Version.Boot)
			return binary.BigEndian.AppendUint64(dst, s.Version.Seq)
		},
		Mine:  func(id view.NodeID) bool { return id == self },
		Renew: renew,
	}
}
