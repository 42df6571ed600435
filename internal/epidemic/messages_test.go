package epidemic

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

func keyOf(node view.NodeID, boot, seq uint64) wire.MessageKey {
	return wire.NewMessageKey(node, wire.NoticeVersion{Boot: boot, Seq: seq})
}

func anyKey(wire.MessageKey) bool { return true }

// publishers are nodes with messages that exchange and hand on as nodes do.
type publishers struct {
	t     *testing.T
	now   time.Duration
	nodes []*Messages
	boots []uint64
	heard []map[wire.MessageKey]int // by node: how often each was new
	sent  map[wire.MessageKey]time.Duration
}

func newPublishers(t *testing.T, n int) *publishers {
	p := &publishers{t: t, sent: map[wire.MessageKey]time.Duration{}}
	for i := range n {
		p.nodes, p.boots = append(p.nodes, NewMessages(view.NodeID(i+1), 1)), append(p.boots, 1)
		p.heard = append(p.heard, map[wire.MessageKey]int{})
	}
	return p
}

func (p *publishers) publish(i int) {
	e := p.nodes[i].Publish(p.now, "t", []byte{byte(i)})
	if _, twice := p.sent[e.Key]; twice {
		p.t.Fatalf("%v is published twice", e.Key.Version())
	}
	p.sent[e.Key] = p.now
}

func (p *publishers) tell(to int, said []wire.Message) {
	for _, e := range p.nodes[to].Hear(p.now, said, anyKey) {
		p.heard[to][e.Key]++
		if sent := p.sent[e.Key]; e.Age > p.now-sent {
			p.t.Fatalf("%v old after %v", e.Age, p.now-sent)
		}
	}
}

// exchange makes two nodes equal.
func (p *publishers) exchange(a, b int) {
	x, y := p.nodes[a], p.nodes[b]
	if x.Digest(p.now) == y.Digest(p.now) {
		return
	}
	swap := x.Missing(p.now, y.Sums(p.now))
	p.tell(b, swap.Have)
	p.tell(a, y.Some(p.now, swap.Want))
}

// restart has a node forget all and live on.
func (p *publishers) restart(i int) {
	p.boots[i]++
	p.nodes[i] = NewMessages(view.NodeID(i+1), p.boots[i])
	p.heard[i] = map[wire.MessageKey]int{} // it subscribes anew
}

// Whatever is exchanged, handed on twice, restarted or late, no node hears a message
// twice in one life, none hears its own, and no bound is broken.
func TestMessagesAreHeardOnceAtMost(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := newPublishers(t, 5)
		var late [][]wire.Message // on the way
		for range 600 {
			a, b := r.IntN(5), r.IntN(5)
			switch r.IntN(8) {
			case 0, 1:
				p.publish(a)
			case 2:
				if news := p.nodes[a].News(p.now); len(news) > 0 {
					late = append(late, news)
					p.tell(b, news)
				}
			case 3:
				if len(late) > 0 {
					p.tell(b, late[r.IntN(len(late))])
				}
			case 4, 5:
				p.exchange(a, b)
			case 6:
				p.now += time.Duration(r.Int64N(int64(3 * time.Second)))
			case 7:
				if r.IntN(10) == 0 {
					p.restart(a)
				}
			}
		}
		for i, heard := range p.heard {
			for k, times := range heard {
				if times > 1 || k.Node() == view.NodeID(i+1) {
					t.Fatalf("seed %d: node %d heard %v of %v %d times", seed, i+1, k.Version(), k.Node(), times)
				}
			}
		}
		for i, m := range p.nodes {
			checkBounds(t, m, fmt.Sprintf("seed %d: node %d", seed, i+1))
		}
	}
}

// checkBounds checks what is counted against what is held.
func checkBounds(t *testing.T, m *Messages, what string) {
	t.Helper()
	count, bytes := 0, 0
	for id, p := range m.nodes {
		own := 0
		for _, k := range p.held {
			h, ok := m.table.Get(k)
			if !ok || k.Node() != id {
				t.Fatalf("%s lacks a message that it counts", what)
			}
			own += sizeOf(h.Entry)
		}
		if len(p.held) > MessagesPerNode || own != p.bytes || !slices.IsSorted(p.held) {
			t.Fatalf("%s holds %d messages of one, of %d bytes, counted %d", what, len(p.held), own, p.bytes)
		}
		count, bytes = count+len(p.held), bytes+own
	}
	if count != m.count || bytes != m.bytes || count > maxMessages || bytes > maxMessageBytes || len(m.table.held) != count {
		t.Fatalf("%s holds %d messages of %d bytes, counted %d of %d, %d in the table", what, count, bytes, m.count, m.bytes, len(m.table.held))
	}
}

// In a quiet mesh whatever is published comes to all.
func TestMessagesComeToAll(t *testing.T) {
	p := newPublishers(t, 6)
	for range 10 {
		for i := range p.nodes {
			p.publish(i)
		}
	}
	for i := range p.nodes {
		p.exchange(i, (i+1)%6)
	}
	for i := range p.nodes {
		p.exchange(i, (i+1)%6)
	}
	for i := range p.nodes {
		if len(p.heard[i]) != 50 {
			t.Errorf("node %d heard %d of 50", i+1, len(p.heard[i]))
		}
	}
}

// A message is told for half a minute from when it was published, however it went round.
func TestOldMessagesAreNotTold(t *testing.T) {
	p := newPublishers(t, 3)
	p.publish(0)
	p.now = 20 * time.Second
	p.exchange(1, 0)
	p.now = KeepMessages - time.Millisecond
	if p.nodes[1].Len(p.now) != 1 || len(p.nodes[1].Sums(p.now)) != 1 {
		t.Error("it is dropped too soon")
	}
	old := p.nodes[1].News(p.now)
	if len(old) != 1 || old[0].Age != p.now {
		t.Errorf("told %+v", old)
	}
	p.now = KeepMessages
	p.exchange(2, 1)
	p.exchange(2, 0)
	if len(p.heard[2]) != 0 || p.nodes[0].Len(p.now)+p.nodes[1].Len(p.now)+p.nodes[2].Len(p.now) != 0 {
		t.Errorf("heard %v, held %d, %d, %d", p.heard[2], p.nodes[0].Len(p.now), p.nodes[1].Len(p.now), p.nodes[2].Len(p.now))
	}
	old[0].Age = KeepMessages
	if p.tell(2, old); len(p.heard[2]) != 0 {
		t.Error("one that is too old is heard")
	}
}

// Who floods loses its own messages, and of others none; what was dropped is not heard
// again.
func TestFloodLosesItsOwn(t *testing.T) {
	m := NewMessages(1, 1)
	payload := make([]byte, wire.MaxPayload)
	var quiet []wire.MessageKey
	for id := view.NodeID(100); id < 130; id++ {
		for seq := range uint64(3) {
			quiet = append(quiet, keyOf(id, 1, seq+1))
			m.Hear(0, []wire.Message{{Key: keyOf(id, 1, seq+1), Topic: "t", Payload: payload}}, anyKey)
		}
	}
	for seq := range uint64(1000) {
		for id := view.NodeID(2); id < 34; id++ {
			m.Hear(0, []wire.Message{{Key: keyOf(id, 1, seq+1), Topic: "t", Payload: payload}}, anyKey)
		}
	}
	checkBounds(t, m, "after the flood")
	for _, k := range quiet {
		if _, ok := m.table.Get(k); !ok {
			t.Fatalf("a message of %v was lost to the flood of others", k.Node())
		}
	}
	for id := view.NodeID(2); id < 34; id++ {
		held := m.nodes[id].held
		if n := len(held); n < 20 || held[n-1] != keyOf(id, 1, 1000) {
			t.Fatalf("%d messages are held of %v", n, id)
		}
	}
	again := m.Hear(0, []wire.Message{{Key: keyOf(5, 1, 1), Topic: "t"}, {Key: keyOf(5, 1, 999), Topic: "t"}}, anyKey)
	if len(again) != 0 {
		t.Errorf("heard again: %+v", again)
	}
	small := NewMessages(1, 1)
	for id := view.NodeID(2); id < 102; id++ {
		for seq := range uint64(40) {
			small.Hear(0, []wire.Message{{Key: keyOf(id, 1, seq+1)}}, anyKey)
		}
	}
	checkBounds(t, small, "with messages of no size")
}

// A node that was restarted is heard, and what it published before is not told as new.
func TestPublisherIsRestarted(t *testing.T) {
	p := newPublishers(t, 2)
	for range 100 {
		p.publish(0)
	}
	p.exchange(1, 0)
	before := p.nodes[0].Some(p.now, p.nodes[0].nodes[1].held)
	p.restart(0)
	p.publish(0)
	p.exchange(1, 0)
	p.tell(1, before)
	times := 0
	for _, n := range p.heard[1] {
		times += n
	}
	if times != MessagesPerNode+1 {
		t.Errorf("heard %d", times)
	}
	if len(p.heard[0]) != 0 {
		t.Error("a node hears what it published in its life before")
	}
}

// What others make up in the name of a node does not silence it.
func TestMadeUpMessages(t *testing.T) {
	p := newPublishers(t, 2)
	p.publish(0)
	p.exchange(1, 0)
	made := []wire.Message{{Key: keyOf(1, 1, 1000), Topic: "t"}, {Key: keyOf(1, 1, 1<<63), Topic: "t"}, {Key: keyOf(1, 7, 1), Topic: "t"}}
	p.tell(0, made)
	p.tell(1, made[:1])
	p.publish(0)
	p.exchange(1, 0)
	if len(p.heard[0]) != 0 || p.heard[1][keyOf(1, 1, 1001)] != 1 {
		t.Errorf("heard %v and %v", p.heard[0], p.heard[1])
	}
}

// Numbers that leap far do not make look old what a node publishes, whether it has heard of
// them or not, whether they came first or not, and however many there are. What was heard
// is not heard again for that.
func TestMadeUpLeaps(t *testing.T) {
	p := newPublishers(t, 3)
	leap := func(to int, seqs ...uint64) {
		for _, seq := range seqs {
			p.tell(to, []wire.Message{{Key: keyOf(1, 1, seq), Topic: "t"}})
		}
	}
	leap(2, 1<<61)
	for range 20 {
		p.publish(0)
		leap(1, 1<<61, 1<<61+1, 1<<20)
		leap(2, 1<<61, 1<<61+1)
		leap(0, 1<<61)
		p.exchange(1, 0)
		p.exchange(2, 0)
		p.exchange(1, 2)
		leap(1, 1<<50)
	}
	for i := range 2 {
		for k := range p.sent {
			if p.heard[i+1][k] != 1 {
				t.Errorf("node %d heard message %d %d times", i+2, k.Version().Seq, p.heard[i+1][k])
			}
		}
		for k, times := range p.heard[i+1] {
			if times > 1 {
				t.Errorf("node %d heard message %d %d times", i+2, k.Version().Seq, times)
			}
		}
		checkBounds(t, p.nodes[i+1], "after leaps")
	}
	if last := p.nodes[0].last.Seq; last != 20 {
		t.Errorf("the last of 20 has the number %d", last)
	}
}

// A decoder keeps what is news, once, and what is made up in this node's name, of which it
// is to know.
func TestSieveOfMessages(t *testing.T) {
	p := newPublishers(t, 2)
	p.publish(0)
	p.exchange(1, 0)
	keep := p.nodes[1].Sieve(func(k wire.MessageKey) bool { return k.Node() != 4 })
	for _, c := range []struct {
		key  wire.MessageKey
		want bool
	}{{keyOf(1, 1, 1), false}, {keyOf(1, 1, 2), true}, {keyOf(1, 1, 2), false}, {keyOf(4, 1, 1), false}, {keyOf(2, 1, 9), true}} {
		if got := keep(wire.MessageSum{Key: c.key}); got != c.want {
			t.Errorf("%v of %v: %v", c.key.Version(), c.key.Node(), got)
		}
	}
	if swap := p.nodes[1].Missing(0, []wire.MessageSum{{Key: keyOf(1, 1, 3)}, {Key: keyOf(2, 1, 9)}}); len(swap.Want) != 1 || len(swap.Have) != 1 {
		t.Errorf("%+v", swap)
	}
	p.nodes[1].dropOld(KeepMessages)
	if swap := p.nodes[1].Missing(KeepMessages, []wire.MessageSum{{Key: keyOf(1, 1, 1)}}); len(swap.Want) != 0 {
		t.Errorf("what was heard is asked for: %v", swap.Want)
	}
	p.nodes[1].Forget(func(id view.NodeID) bool { return id == 1 })
	if p.nodes[1].Len(p.now) != 0 || len(p.nodes[1].nodes) != 0 {
		t.Error("something is left of one that is gone")
	}
}
