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

// AppendReachQuery appends the encoding of q.
//
//	version=1, array of ids
func AppendReachQuery(dst []byte, q ReachQuery) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(meshVersion)
		p.writeArrayLen(len(q.IDs))
		for _, id := range q.IDs {
			p.writeID(uint64(id))
		}
	})
}

// DecodeReachQuery reads what AppendReachQuery wrote.
func DecodeReachQuery(data []byte) (ReachQuery, error) {
	var q ReachQuery
	err := unpackWhole(data, "reach query", func(u *unpacker) {
		u.readVersion(meshVersion)
		last := view.NodeID(0)
		for range u.readArrayLen(MaxReach) {
			id := u.readNodeID()
			if u.err == nil && id <= last {
				u.failWith("ids not in order")
			}
			if u.err != nil {
				return
			}
			q.IDs, last = append(q.IDs, id), id
		}
	})
	if err != nil {
		return ReachQuery{}, err
	}
	return q, nil
}

// AppendReachReply appends the encoding of r.
//
//	version=1, array of words: 0 unknown, 1 not reached, 2 reached
func AppendReachReply(dst []byte, r ReachReply) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(meshVersion)
		p.writeArrayLen(len(r.Reach))
		for _, w := range r.Reach {
			p.writeUint(uint64(w))
		}
	})
}

// DecodeReachReply reads what AppendReachReply wrote.
func DecodeReachReply(data []byte) (ReachReply, error) {
	var r ReachReply
	err := unpackWhole(data, "reach reply", func(u *unpacker) {
		u.readVersion(meshVersion)
		for range u.readArrayLen(MaxReach) {
			w := Reach(u.readUintMax(uint64(Reached)))
			if u.err != nil {
				return
			}
			r.Reach = append(r.Reach, w)
		}
	})
	if err != nil {
		return ReachReply{}, err
	}
	return r, nil
}
