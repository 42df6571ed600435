package split

import (
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const maxSeq = 1 << 62 // no node makes so many notices

// Believes tells whether a notice may be taken in. A fault somewhere must not silence a
// node everywhere: no life of it is believed that the roster does not know, and no
// number above which it could not say anything itself.
func Believes(v view.View, s wire.NoticeSum) bool {
	m, known := v.Member(s.Key)
	return known && !m.Status.Gone() && s.Version.Boot <= m.Boot && s.Version.Seq < maxSeq
}
