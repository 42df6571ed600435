package wire

import "github.com/skeinmesh/skein/mesh/view"

// MaxReach is how many members one ReachQuery may be about.
const MaxReach = 64

// Reach is one node's word on whether it reaches a member directly.
type Reach uint8

const (
	ReachUnknown Reach = iota // it cannot say
	NotReached
	Reached
)

// ReachQuery asks a node which of these members it reaches directly. They are
// at most MaxReach, sorted, each named once.
type ReachQuery struct {
	IDs []view.NodeID
}

// ReachReply answers a ReachQuery, in its order.
type ReachReply struct {
	Reach []Reach
}

func (q *ReachQuery) codeFields(c *codec) {
	c.codeVersion(meshVersion)
	c.codeRisingIDs(&q.IDs, MaxReach)
}

// AppendReachQuery appends the encoding of q.
func AppendReachQuery(dst []byte, q ReachQuery) []byte {
	return appendFields(dst, &q, (*ReachQuery).codeFields)
}

// DecodeReachQuery reads what AppendReachQuery wrote.
func DecodeReachQuery(data []byte) (ReachQuery, error) {
	return readFields(data, "reach query", (*ReachQuery).codeFields)
}

func (r *ReachReply) codeFields(c *codec) {
	c.codeVersion(meshVersion)
	for i := range codeList(c, &r.Reach, 1, MaxReach) {
		codeBounded(c, &r.Reach[i], uint64(Reached))
	}
}

// AppendReachReply appends the encoding of r.
func AppendReachReply(dst []byte, r ReachReply) []byte {
	return appendFields(dst, &r, (*ReachReply).codeFields)
}

// DecodeReachReply reads what AppendReachReply wrote.
func DecodeReachReply(data []byte) (ReachReply, error) {
	return readFields(data, "reach reply", (*ReachReply).codeFields)
}
