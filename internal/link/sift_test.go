package link

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"github.com/skeinmesh/skein/mesh/view"
)

const strangerID = view.NodeID(0xc3)

func newTestSift() *sift {
	return newSift(func(id view.NodeID) bool { return id == peerID || id == selfID })
}

// What is said of nodes of the roster gets through as it is, alone or together.
func TestSiftKeepsWhatIsKnown(t *testing.T) {
	s := newTestSift()
	s.lamport.Store(1 << 41)
	for name, b := range honestPackets() {
		kept, strange, err := s.siftPacket(peerID, bytes.Clone(b))
		want := b
		if b[0] == mlChecksum {
			want = b[5:]
		}
		if err != nil || strange || !bytes.Equal(kept, want) {
			t.Errorf("packet %s: %q, %v, %v", name, kept, strange, err)
		}
	}
	for name, b := range honestStreams() {
		kept, strange, err := s.siftStream(peerID, bytes.Clone(b))
		if err != nil || strange || !bytes.Equal(kept, b) {
			t.Errorf("stream %s: %q, %v, %v", name, kept, strange, err)
		}
	}
	for name, b := range hostilePackets() {
		if _, _, err := s.siftPacket(peerID, bytes.Clone(b)); !errors.Is(err, errScreened) {
			t.Errorf("hostile packet %s: %v", name, err)
		}
	}
	for name, b := range hostileStreams() {
		if _, _, err := s.siftStream(peerID, bytes.Clone(b)); !errors.Is(err, errScreened) {
			t.Errorf("hostile stream %s: %v", name, err)
		}
	}
}

// What is said of others does not get through, nor what others are said to say; the
// rest of the packet does.
func TestSiftPackets(t *testing.T) {
	other := strangerID.String()
	ping := pack(mlPing, pingMsg{1, selfName, []byte{127, 0, 0, 1}, 7946, peerName})
	alive := func() []byte { m := goodAlive(); m.Node = other; return pack(mlAlive, m) }()
	for name, b := range map[string][]byte{
		"alive":   alive,
		"suspect": pack(mlSuspect, accuseMsg{1, other, peerName}),
		"accuser": pack(mlSuspect, accuseMsg{1, selfName, other}),
		"dead":    pack(mlDead, accuseMsg{1, other, other}),
		"join":    user(pack(serfJoin, joinMsg{3, other})),
		"leave":   user(pack(serfLeave, intentMsg{3, other, false})),
	} {
		s := newTestSift()
		if kept, strange, err := s.siftPacket(peerID, bytes.Clone(b)); kept != nil || !strange || err != nil {
			t.Errorf("%s: %q, %v, %v", name, kept, strange, err)
		}
		if kept, strange, err := s.siftPacket(peerID, compound(b, b)); kept != nil || !strange || err != nil {
			t.Errorf("%s, twice: %q, %v, %v", name, kept, strange, err)
		}
		kept, strange, err := s.siftPacket(peerID, checksummed(compound(ping, b, ping)))
		if !bytes.Equal(kept, compound(ping, ping)) || !strange || err != nil {
			t.Errorf("%s between others: %q, %v, %v", name, kept, strange, err)
		}
		held := s.releaseAlive(strangerID)
		if (held != nil) != (name == "alive") || held != nil && !bytes.Equal(held, alive) {
			t.Errorf("%s: held back %q", name, held)
		}
	}
}

// An exchange loses the nodes that the roster does not hold, and is whole without
// them. That one of them lives is held back until the roster holds it.
func TestSiftExchanges(t *testing.T) {
	s := newTestSift()
	node := func(id view.NodeID, state int) stateMsg {
		n := goodNode()
		n.Name, n.State = id.String(), state
		return n
	}
	state := pack(serfPushPull, serfStateMsg{
		LTime: 9, StatusLTimes: map[string]uint64{peerName: 4, strangerID.String(): 5},
		LeftMembers: []string{strangerID.String(), selfName}, EventLTime: 1, QueryLTime: 1, Events: make([]*struct{ LTime uint64 }, 3),
	})
	dead := strangerID + 1
	b := pushPull(state, node(strangerID, 0), node(peerID, 0), node(dead, 2), node(selfID, 0))
	kept, strange, err := s.siftStream(peerID, b)
	if err != nil || !strange {
		t.Fatalf("strange %v, %v", strange, err)
	}
	if err := screenStream(peerID, kept); err != nil {
		t.Fatalf("what is left is no exchange: %v", err)
	}
	dec := codec.NewDecoder(bytes.NewReader(kept[1:]), &codec.MsgpackHandle{})
	var head headerMsg
	var nodes [2]stateMsg
	if err := errors.Join(dec.Decode(&head), dec.Decode(&nodes[0]), dec.Decode(&nodes[1])); err != nil {
		t.Fatal(err)
	}
	if head.Nodes != 2 || !head.Join || nodes[0].Name != peerName || nodes[1].Name != selfName {
		t.Errorf("left are %+v, %+v", head, nodes)
	}
	var rest serfStateMsg
	left := kept[len(kept)-head.UserStateLen:]
	if err := codec.NewDecoder(bytes.NewReader(left[1:]), &codec.MsgpackHandle{}).Decode(&rest); err != nil {
		t.Fatal(err)
	}
	if len(rest.StatusLTimes) != 1 || rest.StatusLTimes[peerName] != 4 || len(rest.LeftMembers) != 1 || rest.LeftMembers[0] != selfName ||
		rest.LTime != 9 || len(rest.Events) != 3 {
		t.Errorf("left of serf's state is %+v", rest)
	}
	var alive aliveMsg
	held := s.releaseAlive(strangerID)
	if len(held) == 0 || held[0] != mlAlive || s.releaseAlive(dead) != nil || screenPacket(peerID, held) != nil {
		t.Fatalf("held back: %q", held)
	}
	if err := codec.NewDecoder(bytes.NewReader(held[1:]), &codec.MsgpackHandle{}).Decode(&alive); err != nil || alive.Node != strangerID.String() ||
		alive.Incarnation != 3 || !bytes.Equal(alive.Vsn, goodVsn) {
		t.Errorf("held back: %+v, %v", alive, err)
	}
	var many []stateMsg
	for i := range view.NodeID(maxStrange + 1) {
		many = append(many, node(1000+i, 0))
	}
	if _, _, err := s.siftStream(peerID, pushPull(goodState(), many[1:]...)); err != nil || len(s.held) != maxHeld {
		t.Errorf("%d strangers: %v, %d held back", maxStrange, err, len(s.held))
	}
	if _, _, err := s.siftStream(peerID, pushPull(goodState(), many...)); !errors.Is(err, errScreened) {
		t.Errorf("%d strangers: %v", len(many), err)
	}
}

// A Lamport time far ahead moves nobody's clock further than a leap, and whoever was
// moved to the end of time is still heard.
func TestSiftBoundsLamportTime(t *testing.T) {
	s := newTestSift()
	timeOf := func(b []byte) uint64 {
		t.Helper()
		kept, _, err := s.siftPacket(peerID, b)
		if err != nil {
			t.Fatal(err)
		}
		var m joinMsg
		if err := codec.NewDecoder(bytes.NewReader(kept[2:]), &codec.MsgpackHandle{}).Decode(&m); err != nil || m.Node != peerName {
			t.Fatal(m, err)
		}
		return m.LTime
	}
	join := func(at uint64) []byte { return user(pack(serfJoin, joinMsg{at, peerName})) }
	for _, c := range []struct{ at, want uint64 }{
		{300, 300}, {5, 5}, {maxLamport, 300 + lamportLeap}, {300 + lamportLeap + 1, 300 + lamportLeap + 1},
	} {
		if got := timeOf(join(c.at)); got != c.want {
			t.Errorf("%d is taken as %d, want %d", c.at, got, c.want)
		}
	}
	s.lamport.Store(lamportEnd - 1)
	for _, at := range []uint64{lamportEnd, lamportEnd + 7, maxLamport} {
		if got := timeOf(join(at)); got != lamportEnd {
			t.Errorf("%d is taken as %d", at, got)
		}
	}
	b := pushPull(pack(serfPushPull, serfStateMsg{LTime: maxLamport, StatusLTimes: map[string]uint64{peerName: maxLamport}, EventLTime: 1, QueryLTime: maxLamport}), goodNode())
	kept, _, err := newTestSift().siftStream(peerID, b)
	if err != nil {
		t.Fatal(err)
	}
	c := &cursor{rest: kept}
	c.takeByte()
	e := c.readPushPull()
	var rest serfStateMsg
	if err := codec.NewDecoder(bytes.NewReader(e.state[1:]), &codec.MsgpackHandle{}).Decode(&rest); err != nil {
		t.Fatal(err)
	}
	if rest.LTime != lamportLeap || rest.StatusLTimes[peerName] != lamportLeap || rest.QueryLTime != lamportLeap {
		t.Errorf("taken as %+v", rest)
	}
}

// A node that the roster does not hold gets no stream; what it says by packet is
// heard only as a question.
func TestStrangersGetNoGossipStream(t *testing.T) {
	w := newWorld(t)
	told := make(chan view.NodeID, 10)
	a := w.start(1)
	b := w.start(2, func(c *Config) {
		c.Member = func(id view.NodeID) bool { return id == 2 }
		c.OnStrange = func(from view.NodeID) { told <- from }
	})
	c, err := a.Gossip().DialAddressTimeout(address(2), 5*time.Second)
	if err == nil {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err = c.Read(make([]byte, 1)); err == nil {
			t.Error("it was heard")
		}
		c.Close()
	}
	select {
	case from := <-told:
		if from != 1 {
			t.Errorf("told of %v", from)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("told of nobody")
	}
	if _, err := a.Gossip().WriteToAddress(pingOf(1, 2), address(2)); err != nil {
		t.Fatal(err)
	}
	<-told
	if p := <-b.Gossip().PacketCh(); !bytes.Equal(p.Buf, pingOf(1, 2)) {
		t.Errorf("got %q", p.Buf)
	}
}

// What gossip says of a node before the roster holds it is not lost: gossip does not
// say it again for long.
func TestGossipAheadOfTheRoster(t *testing.T) {
	w := newWorld(t)
	a := w.start(1)
	told := make(chan view.NodeID, 10)
	b := w.start(2, func(c *Config) { c.OnStrange = func(from view.NodeID) { told <- from } })
	m := goodAlive()
	m.Node = view.NodeID(3).String()
	alive := pack(mlAlive, m)
	if _, err := a.Gossip().WriteToAddress(alive, address(2)); err != nil {
		t.Fatal(err)
	}
	if from := <-told; from != 1 || len(b.Gossip().PacketCh()) != 0 {
		t.Errorf("told of %v", from)
	}
	for range 2 {
		b.Meet(3)
	}
	if p := <-b.Gossip().PacketCh(); !bytes.Equal(p.Buf, alive) || len(b.Gossip().PacketCh()) != 0 {
		t.Errorf("got %q", p.Buf)
	}
}
