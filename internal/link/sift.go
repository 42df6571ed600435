package link

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/skeinmesh/skein/mesh/view"
)

const (
	// maxStrange is how many nodes that the roster does not hold one exchange may
	// name: as many as a roster can.
	maxStrange = 16 << 10
	// maxHeld is how many nodes of which the roster is still to hear are held back.
	maxHeld = 1024
	// lamportLeap is how far one message moves Lamport time. Honest clocks need
	// decades for it: a node that is new to the mesh has caught up after one or two
	// messages, and a liar needs months of them to get to the end.
	lamportLeap = 1 << 24
	// lamportEnd is where Lamport time stops, far below what is turned away: nodes
	// that have come to it still hear each other.
	lamportEnd = 1 << 61
)

// sift lets through to memberlist and serf what is said of nodes of the roster.
// Whatever else a member says of others costs memory there, makes them slow to
// notice who is silent, and is passed on: for them whoever holds the key is right.
type sift struct {
	knows   func(view.NodeID) bool
	lamport atomic.Uint64 // the latest time that was let through

	mu   sync.Mutex
	held map[view.NodeID][]byte // alive messages of nodes that the roster does not hold
}

func newSift(knows func(view.NodeID) bool) *sift {
	return &sift{knows: knows, held: map[view.NodeID][]byte{}}
}

// holdAlive keeps the last alive message of a node until the roster holds it. The roster
// may be a moment later than gossip, which does not repeat itself for long.
func (s *sift) holdAlive(id view.NodeID, alive []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.held[id]; !known && len(s.held) >= maxHeld {
		for other := range s.held { // any: nobody can say which are honest
			delete(s.held, other)
			break
		}
	}
	s.held[id] = append([]byte(nil), alive...)
}

// releaseAlive returns what was held back of a node.
func (s *sift) releaseAlive(id view.NodeID) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	alive := s.held[id]
	delete(s.held, id)
	return alive
}

// newCursor returns one for a message, which may move Lamport time by one leap.
func (s *sift) newCursor(b []byte) *cursor {
	return &cursor{rest: b, sift: s, lamportLimit: min(s.lamport.Load()+lamportLeap, lamportEnd)}
}

// noteLamport notes a Lamport time that is let through.
func (s *sift) noteLamport(t uint64) {
	for last := s.lamport.Load(); t > last && !s.lamport.CompareAndSwap(last, t); {
		last = s.lamport.Load()
	}
}

// readSubject reads the name of the node that a message is about.
func (c *cursor) readSubject() view.NodeID {
	id := c.readNodeName()
	if c.err == nil && c.sift != nil && !c.sift.knows(id) {
		c.strange = id
	}
	return id
}

// clampLamport reads a Lamport time and puts in its place how much of it is believed. To
// turn the message away instead would make honest nodes refuse each other, once
// somebody has moved the clocks of some of them.
func (c *cursor) clampLamport() {
	from := c.rest
	t := c.readUint(maxLamport)
	if c.err != nil || c.sift == nil {
		return
	}
	if c.lamportLimit < t {
		t = c.lamportLimit
		value := from[1 : len(from)-len(c.rest)]
		for i := range value {
			value[len(value)-1-i] = byte(t >> (8 * i))
		}
	}
	c.sift.noteLamport(t)
}

// siftPacket screens a packet and returns what of it is about nodes of the roster,
// nil if nothing is, and whether something was not. It may change b.
func (s *sift) siftPacket(from view.NodeID, b []byte) (kept []byte, strange bool, err error) {
	c := s.newCursor(b)
	if err := c.takeChecksum(); err != nil {
		return nil, false, err
	}
	b = c.rest // changed, its checksum would not hold
	if len(b) == 0 || b[0] != mlCompound {
		c.readPacketMessage(from)
		if c.err == nil && c.strange != 0 {
			s.holdIfAlive(c.strange, b)
			return nil, true, nil
		}
		return b, false, c.err
	}
	parts := c.readCompound(from)
	if c.err != nil {
		return nil, false, c.err
	}
	var all [][]byte
	for _, p := range parts {
		if p.strange == 0 {
			all = append(all, p.message)
		} else {
			s.holdIfAlive(p.strange, p.message)
		}
	}
	switch len(all) {
	case len(parts):
		return b, false, nil
	case 0:
		return nil, true, nil
	}
	kept = append(make([]byte, 0, len(b)), mlCompound, byte(len(all)))
	for _, p := range all {
		kept = binary.BigEndian.AppendUint16(kept, uint16(len(p)))
	}
	for _, p := range all {
		kept = append(kept, p...)
	}
	return kept, true, nil
}

// holdIfAlive deals with a message that does not get through.
func (s *sift) holdIfAlive(id view.NodeID, message []byte) {
	if message[0] == mlAlive {
		s.holdAlive(id, message)
	}
}

// siftStream is siftPacket for what is said on a stream. An exchange is taken
// apart and put together again.
func (s *sift) siftStream(from view.NodeID, b []byte) (kept []byte, strange bool, err error) {
	c := s.newCursor(b)
	if c.takeByte() != mlPushPull {
		return b, false, screenStream(from, b)
	}
	e := c.readPushPull()
	c.expectEnd()
	if c.err != nil {
		return nil, false, c.err
	}
	if e.dropped == 0 {
		return b, false, nil
	}
	return e.appendTo(make([]byte, 0, len(b)+64)), true, nil
}

// stateExchange is an exchange of states without what is said of strangers.
type stateExchange struct {
	join    bool
	kept    int // nodes
	dropped int // nodes and times
	nodes   []byte
	state   []byte
}

func (e *stateExchange) appendTo(b []byte) []byte {
	b = append(b, mlPushPull, 0x83)
	b = appendLength(appendText(b, "Nodes"), 0xce, e.kept)
	b = appendLength(appendText(b, "UserStateLen"), 0xce, len(e.state))
	b = append(appendText(b, "Join"), 0xc2)
	if e.join {
		b[len(b)-1] = 0xc3
	}
	return append(append(b, e.nodes...), e.state...)
}

// appendText appends a string of less than 32 bytes, as all names of fields are.
func appendText[T string | []byte](b []byte, s T) []byte {
	return append(append(b, 0xa0|byte(len(s))), s...)
}

// appendLength appends a number, or a count, of four bytes after its mark.
func appendLength(b []byte, mark byte, n int) []byte {
	return binary.BigEndian.AppendUint32(append(b, mark), uint32(n))
}

// checkUnique fails when a list names a node twice: no honest one does.
func (c *cursor) checkUnique(seen map[view.NodeID]bool, id view.NodeID) {
	if seen[id] {
		c.failWith("%v twice", id)
	}
	seen[id] = true
}

// readNode reads one node of an exchange. An alive message says the same but for its
// state, under another name for the name.
func (c *cursor) readNode(e *stateExchange, seen map[view.NodeID]bool) {
	c.strange = 0
	from := c.rest
	alive := []byte{mlAlive, 0x86}
	var id view.NodeID
	lives := false
	c.readFields(7, func(name []byte) bool {
		value := c.rest
		text := string(name)
		switch text {
		case "Name":
			id = c.readSubject()
			text = "Node"
		case "State":
			lives = c.readUint(3) == 0
			return true
		default:
			if !c.readNodeField(name) {
				return false
			}
		}
		if c.err == nil {
			alive = append(appendText(alive, text), value[:len(value)-len(c.rest)]...)
		}
		return true
	})
	if c.checkUnique(seen, id); c.err != nil {
		return
	}
	if c.strange == 0 {
		e.kept++
		e.nodes = append(e.nodes, from[:len(from)-len(c.rest)]...)
		return
	}
	e.dropped++
	if c.strange = 0; lives {
		c.sift.holdAlive(id, alive)
	}
}
