package epidemic

import (
	"cmp"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Bounds of the messages that a node holds for others.
const (
	KeepMessages    = 30 * time.Second // after a message was published
	MessagesPerNode = 64
	maxMessages     = 2048
	maxMessageBytes = 1 << 20 // of topics and payloads
)

// maxMessageLeap is how far two messages of one life may be apart that one window is for.
// Of one that is young enough to be told it is not: a node publishes some hundred in a second.
const maxMessageLeap = 1 << 16

// Messages holds what nodes have published lately, for those that have not heard it, and
// tells what is new here: each message at most once, for which a window over the numbers
// of each node is kept, whatever is dropped.
//
// A number that leaps far, ahead or back, begins a second window and leaves the first one
// where it is: whoever makes one up does not make what the node publishes look old. Of
// more such leaps the window that was used last and the newest remain.
//
// When there are too many, those go that are the oldest of the node that takes the most
// room: who floods loses its own.
//
// It is not safe for concurrent use. The time is that of one clock which goes on while
// the machine is suspended.
type Messages struct {
	self  view.NodeID
	last  wire.NoticeVersion // of the last message that self published
	table *Table[wire.MessageKey, struct{}, wire.Message]
	nodes map[view.NodeID]*publisher
	count int
	bytes int
	due   time.Duration // when the first of them will be old, or earlier
}

// publisher is what is known of the messages of one node.
type publisher struct {
	boot    uint64            // the highest that was heard
	windows [2]window         // of that life; that which was used last comes first
	held    []wire.MessageKey // sorted: the oldest first
	bytes   int
}

// window tells which numbers were heard near the highest of them.
type window struct {
	last uint64
	seen uint64 // bit i: last - i was heard; 0: there is no such window
}

// isNear tells whether the window is for a number.
func (w window) isNear(seq uint64) bool {
	return w.seen != 0 && max(seq, w.last)-min(seq, w.last) <= maxMessageLeap
}

// hasSeen tells whether a number near the window was heard, or may have been.
func (w window) hasSeen(seq uint64) bool {
	if seq > w.last {
		return false
	}
	back := w.last - seq
	return back >= MessagesPerNode || w.seen&(1<<back) != 0
}

// withSeen returns the window once a number near it was heard.
func (w window) withSeen(seq uint64) window {
	if seq > w.last {
		return window{seq, w.seen<<(seq-w.last) | 1} // all of it goes beyond 63
	}
	w.seen |= 1 << (w.last - seq)
	return w
}

// NewMessages returns what a node holds that has published nothing yet in this life.
func NewMessages(self view.NodeID, boot uint64) *Messages {
	m := &Messages{self: self, last: wire.NoticeVersion{Boot: boot}, nodes: map[view.NodeID]*publisher{}}
	m.table = New(Rule[wire.MessageKey, struct{}, wire.Message]{
		Sum:    wire.Message.Sum,
		Newer:  func(struct{}, struct{}) bool { return false },
		Append: func(dst []byte, s wire.MessageSum) []byte { return append(dst, s.Key...) },
		Mine:   func(k wire.MessageKey) bool { return k.Node() == self },
	})
	return m
}

// Publish takes in a message of this node itself.
func (m *Messages) Publish(now time.Duration, topic string, payload []byte) wire.Message {
	m.dropOld(now)
	m.last.Seq++
	e := wire.Message{Key: wire.NewMessageKey(m.self, m.last), Topic: topic, Payload: payload}
	m.takeIn(now, e)
	return e
}

// Hear takes in what a peer says, as far as it is news and believed, and returns that.
func (m *Messages) Hear(now time.Duration, said []wire.Message, believe func(wire.MessageKey) bool) (fresh []wire.Message) {
	m.dropOld(now)
	for _, e := range said {
		if e.Age >= KeepMessages || !believe(e.Key) {
			continue
		}
		if v := e.Key.Version(); e.Key.Node() == m.self {
			if v.Boot == m.last.Boot && v.Seq > m.last.Seq && v.Seq-m.last.Seq <= maxMessageLeap {
				m.last.Seq = v.Seq // it was made up, and what follows must be above it
			}
			continue
		}
		if m.IsNews(e.Key) {
			m.takeIn(now, e)
			fresh = append(fresh, e)
		}
	}
	return fresh
}

// IsNews tells whether a message of another node was not heard before, as far as that can
// be known: one far behind the last of its node may have been.
func (m *Messages) IsNews(k wire.MessageKey) bool {
	p, v := m.nodes[k.Node()], k.Version()
	switch {
	case k.Node() == m.self:
		return false
	case p == nil || v.Boot > p.boot:
		return true
	case v.Boot < p.boot || !m.table.Lacks(wire.MessageSum{Key: k}):
		return false
	}
	return !slices.ContainsFunc(p.windows[:], func(w window) bool { return w.isNear(v.Seq) && w.hasSeen(v.Seq) })
}

// noteSeen notes that a message was heard that was news.
func (p *publisher) noteSeen(v wire.NoticeVersion) {
	if v.Boot > p.boot {
		p.boot, p.windows = v.Boot, [2]window{}
	}
	w := window{v.Seq, 1}
	switch first, second := p.windows[0], p.windows[1]; {
	case first.isNear(v.Seq):
		p.windows[0] = first.withSeen(v.Seq)
		return
	case second.isNear(v.Seq):
		w = second.withSeen(v.Seq)
	}
	p.windows = [2]window{w, p.windows[0]}
}

// takeIn takes in what is news, and drops what there is no room for then.
func (m *Messages) takeIn(now time.Duration, e wire.Message) {
	id := e.Key.Node()
	p := m.nodes[id]
	if p == nil {
		p = &publisher{}
		m.nodes[id] = p
	}
	p.noteSeen(e.Key.Version())
	m.table.Put(now, e)
	at, _ := slices.BinarySearch(p.held, e.Key)
	p.held = slices.Insert(p.held, at, e.Key)
	size := sizeOf(e)
	p.bytes, m.bytes, m.count = p.bytes+size, m.bytes+size, m.count+1
	m.due = min(m.due, now+KeepMessages-e.Age)
	if len(p.held) > MessagesPerNode {
		m.dropHeld(p, 0)
	}
	for m.count > maxMessages || m.bytes > maxMessageBytes {
		m.dropHeld(m.largest(), 0)
	}
}

func sizeOf(e wire.Message) int { return len(e.Topic) + len(e.Payload) }

// largest returns the node whose messages take the most room; of equal ones that with the
// lowest id.
func (m *Messages) largest() *publisher {
	var most *publisher
	var of view.NodeID
	for id, p := range m.nodes {
		if most == nil || cmp.Or(cmp.Compare(p.bytes, most.bytes), cmp.Compare(len(p.held), len(most.held)), cmp.Compare(of, id)) > 0 {
			most, of = p, id
		}
	}
	return most
}

// dropHeld drops the i-th message that is held of a node.
func (m *Messages) dropHeld(p *publisher, i int) {
	key := p.held[i]
	h, _ := m.table.Get(key)
	size := sizeOf(h.Entry)
	p.held = slices.Delete(p.held, i, i+1)
	p.bytes, m.bytes, m.count = p.bytes-size, m.bytes-size, m.count-1
	m.table.Drop(key)
}

// dropOld drops what was published long ago.
func (m *Messages) dropOld(now time.Duration) {
	if now < m.due {
		return
	}
	m.due = now + KeepMessages
	for _, p := range m.nodes {
		for i := len(p.held) - 1; i >= 0; i-- {
			h, _ := m.table.Get(p.held[i])
			if due := h.At + KeepMessages - h.Entry.Age; now >= due {
				m.dropHeld(p, i)
			} else {
				m.due = min(m.due, due)
			}
		}
	}
}

// Forget drops all of nodes that are gone for good.
func (m *Messages) Forget(gone func(view.NodeID) bool) {
	for id, p := range m.nodes {
		if gone(id) {
			for len(p.held) > 0 {
				m.dropHeld(p, 0)
			}
			delete(m.nodes, id)
		}
	}
}

// Len returns how many messages are held.
func (m *Messages) Len(now time.Duration) int {
	m.dropOld(now)
	return m.count
}

// News returns what is to be handed on, once.
func (m *Messages) News(now time.Duration) []wire.Message {
	m.dropOld(now)
	return m.told(now, m.table.News())
}

// Some returns the messages of some keys, each once.
func (m *Messages) Some(now time.Duration, keys []wire.MessageKey) []wire.Message {
	m.dropOld(now)
	return m.told(now, m.table.Some(keys))
}

// told gives messages the age that they have now.
func (m *Messages) told(now time.Duration, said []wire.Message) []wire.Message {
	for i := range said {
		h, _ := m.table.Get(said[i].Key)
		said[i].Age += now - h.At
	}
	return said
}

// Digest is of all Sums.
func (m *Messages) Digest(now time.Duration) uint64 {
	m.dropOld(now)
	return m.table.Digest()
}

// Sums returns the keys of all that is held, sorted.
func (m *Messages) Sums(now time.Duration) []wire.MessageSum {
	m.dropOld(now)
	return m.table.Sums()
}

// Missing returns what a peer with such sums lacks, and what would be news here.
func (m *Messages) Missing(now time.Duration, theirs []wire.MessageSum) wire.MessageSwap {
	m.dropOld(now)
	swap := m.table.Missing(theirs)
	swap.Have = m.told(now, swap.Have)
	swap.Want = slices.DeleteFunc(swap.Want, func(k wire.MessageKey) bool { return !m.IsNews(k) })
	return swap
}

// Sieve returns what a decoder is to keep of one message: see Table.Sieve.
func (m *Messages) Sieve(believe func(wire.MessageKey) bool) func(wire.MessageSum) bool {
	return m.table.Sieve(func(s wire.MessageSum) bool {
		return believe(s.Key) && (m.IsNews(s.Key) || s.Key.Node() == m.self)
	})
}
