package link

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// newSerf runs serf over a link as package mesh does.
func newSerf(t testing.TB, l *Link, id view.NodeID, out io.Writer) *serf.Serf {
	t.Helper()
	conf := serf.DefaultConfig()
	conf.Init()
	conf.NodeName = id.String()
	conf.EnableNameConflictResolution = false
	conf.LogOutput = out
	conf.Logger = nil
	conf.Tags = map[string]string{"z": "hall 3"}
	m := conf.MemberlistConfig
	m.Transport = l.Gossip()
	m.RequireNodeNames = true
	m.EnableCompression = false
	m.UDPBufferSize = GossipRoom
	m.GossipInterval, m.ProbeInterval, m.PushPullInterval = 20*time.Millisecond, 100*time.Millisecond, 200*time.Millisecond
	m.LogOutput = out
	conf.BroadcastTimeout, conf.LeavePropagateDelay = 100*time.Millisecond, 50*time.Millisecond
	s, err := serf.Create(conf)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func stopSerf(t testing.TB, s *serf.Serf) {
	t.Helper()
	if err := s.Shutdown(); err != nil {
		t.Error(err)
	}
}

func TestSerfFormsOverLinks(t *testing.T) {
	w := newWorld(t)
	var logs syncBuffer
	const n = 5
	var links []*Link
	var serfs []*serf.Serf
	for id := view.NodeID(1); id <= n; id++ {
		l := w.start(id)
		links = append(links, l)
		serfs = append(serfs, newSerf(t, l, id, &logs))
	}
	for i, s := range serfs[1:] {
		if _, err := s.Join([]string{view.NodeID(1).String() + "/10.9.9.9:1"}, true); err != nil {
			t.Fatalf("join of %d: %v", i+2, err)
		}
	}
	alive := func(s *serf.Serf) (k int) {
		for _, m := range s.Members() {
			if m.Status == serf.StatusAlive && m.Tags["z"] == "hall 3" {
				k++
			}
		}
		return k
	}
	eventually(t, "all see all", func() bool {
		for _, s := range serfs {
			if alive(s) != n {
				return false
			}
		}
		return true
	})
	eventually(t, "coordinates travel in acks", func() bool {
		_, ok := serfs[1].GetCachedCoordinate(view.NodeID(3).String())
		return ok
	})
	if err := serfs[4].Leave(); err != nil {
		t.Errorf("leave: %v", err)
	}
	stopSerf(t, serfs[4])
	eventually(t, "the leave is seen", func() bool {
		for _, m := range serfs[0].Members() {
			if m.Name == view.NodeID(5).String() {
				return m.Status == serf.StatusLeft
			}
		}
		return false
	})
	// A force-leave and a refuted one are honest traffic, too.
	stopSerf(t, serfs[3])
	links[3].Close()
	eventually(t, "a crash is seen", func() bool { return serfs[0].NumNodes() > 0 && alive(serfs[0]) == 3 })
	if err := serfs[0].RemoveFailedNode(view.NodeID(4).String()); err != nil {
		t.Errorf("force-leave: %v", err)
	}
	eventually(t, "exchanges after that", func() bool { return links[1].Stats().GossipBytesIn > 0 })
	for i, l := range links {
		if s := l.Stats(); s.GossipRefused > 0 {
			t.Errorf("link %d screened out %d honest messages", i+1, s.GossipRefused)
		}
	}
	for _, s := range serfs[:3] {
		stopSerf(t, s)
	}
	if text := logs.String(); strings.Contains(text, "[ERR]") && strings.Contains(text, "decode") {
		t.Errorf("memberlist could not read something:\n%s", text)
	}
}

func TestGossipAddressing(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(1), w.start(2)
	g := a.Gossip()
	if _, err := g.WriteTo([]byte("x"), b.Addr().String()); !errors.Is(err, errNoName) {
		t.Errorf("nameless: %v", err)
	}
	if _, err := g.DialTimeout(b.Addr().String(), time.Second); !errors.Is(err, errNoName) {
		t.Errorf("nameless: %v", err)
	}
	if _, err := g.WriteToAddress([]byte("x"), memberlist.Address{Addr: b.Addr().String(), Name: view.NodeID(9).String()}); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("a peer's word was enough: %v", err)
	}
	var op *net.OpError
	if _, err := g.WriteToAddress([]byte("x"), address(9)); errors.As(err, &op) {
		t.Errorf("memberlist would take %v for a death", err)
	}
	if _, err := a.Greet(ctxFor(t, time.Second), b.Addr()); err != nil {
		t.Fatal(err)
	}
	if _, err := g.WriteTo(pingOf(1, 2), b.Addr().String()); err != nil {
		t.Errorf("after Greet: %v", err)
	}
	select {
	case p := <-b.Gossip().PacketCh():
		if !bytes.Equal(p.Buf, pingOf(1, 2)) || p.From == nil {
			t.Errorf("b got %q from %v", p.Buf, p.From)
		}
	case <-time.After(5 * time.Second):
		t.Error("the packet did not come")
	}
	bad := hostilePackets()
	for _, p := range bad {
		if _, err := g.WriteToAddress(p, address(2)); err != nil {
			t.Errorf("sending: %v", err)
		}
	}
	eventually(t, "all that is hostile is turned away", func() bool { return b.Stats().GossipRefused == uint64(len(bad)) })
	if n := len(b.Gossip().PacketCh()); n != 0 {
		t.Errorf("memberlist would get %d hostile packets", n)
	}
	if _, err := g.WriteToAddress(make([]byte, packetRoom+1), address(2)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("oversized: %v", err)
	}
	ip, port, err := g.FinalAdvertiseAddr("", 0)
	if err != nil || len(ip) != 16 || port == 0 || !ip.IsPrivate() {
		t.Errorf("advertised %v:%d, %v", ip, port, err)
	}
}

// TestGossipStreams: one frame each way, and nothing of a bad one gets
// through.
func TestGossipStreams(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(1), w.start(2)
	exchange := func(message []byte) ([]byte, error) {
		c, err := a.Gossip().DialAddressTimeout(address(2), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(message); err != nil {
			return nil, err
		}
		var in net.Conn
		select {
		case in = <-b.Gossip().StreamCh():
		case <-time.After(5 * time.Second):
			t.Fatal("no stream came")
		}
		defer in.Close()
		_ = in.SetDeadline(time.Now().Add(5 * time.Second))
		return io.ReadAll(in)
	}
	if got, err := exchange(pingOf(1, 2)); err != nil || !bytes.Equal(got, pingOf(1, 2)) {
		t.Errorf("honest: %q, %v", got, err)
	}
	for name, bad := range map[string][]byte{
		"empty": {}, "user message": {mlUser, 0x81}, "compressed": {9, 1, 2}, "other's ping": pingOf(3, 2),
		"announces too much": {mlPushPull, 0x83},
	} {
		if got, err := exchange(bad); err == nil || len(got) > 0 {
			t.Errorf("%s: memberlist got %q", name, got)
		}
	}
	if _, err := exchange(make([]byte, maxGossipFrame+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("oversized: %v", err)
	}
	if got := b.Stats().GossipRefused; got != 4 {
		t.Errorf("%d refused", got)
	}
	eventually(t, "budget and places are given back", func() bool {
		b.gossip.mu.Lock()
		defer b.gossip.mu.Unlock()
		b.gossip.open.mu.Lock()
		defer b.gossip.open.mu.Unlock()
		return b.gossip.bytes.used.Load() == 0 && len(b.gossip.conns) == 0 && b.gossip.open.n == 0
	})
}

func TestPacketsAreBoundToSenderReceiverAndCounter(t *testing.T) {
	w := newWorld(t)
	one, two := w.config(1), w.config(2)
	two.Resolve = w.book.resolve
	admitted := uint64(1)
	two.Floor = func(view.NodeID) uint64 { return admitted }
	s := newSealer(&one)
	var sc sealScratch
	seal := func(to view.NodeID) []byte {
		p, err := s.sealPacket(&sc, wire.PacketGossip, to, []byte("hello"))
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(p)
	}
	o := newOpener(&two)
	first := seal(2)
	if h, got, err := o.openPacket(bytes.Clone(first)); err != nil || string(got) != "hello" || h.From != 1 || h.Boot != 1 {
		t.Fatalf("%+v %q %v", h, got, err)
	}
	if _, _, err := o.openPacket(first); !errors.Is(err, errReplayed) {
		t.Errorf("replayed: %v", err)
	}
	if _, _, err := o.openPacket(seal(3)); !errors.Is(err, errForged) {
		t.Errorf("meant for another: %v", err)
	}
	for i := range first {
		p := seal(2)
		p[i] ^= 0x40
		if _, _, err := o.openPacket(p); err == nil {
			t.Errorf("byte %d changed, and it opens", i)
		}
	}
	for n := range len(first) {
		if _, _, err := o.openPacket(seal(2)[:n]); err == nil {
			t.Errorf("cut to %d bytes, and it opens", n)
		}
	}
	if len(o.senders) != 1 || len(o.senders[1].processes) != 1 {
		t.Errorf("forgeries left %d senders, %d processes behind", len(o.senders), len(o.senders[1].processes))
	}
	next := one
	next.Boot = 2
	later, err := newSealer(&next).sealPacket(&sc, wire.PacketGossip, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := o.openPacket(bytes.Clone(later)); err != nil {
		t.Errorf("next boot: %v", err)
	}
	// That may be a copy of its disk: until it is admitted both are heard.
	if _, _, err := o.openPacket(seal(2)); err != nil {
		t.Errorf("the boot that was admitted, after a packet of a later one: %v", err)
	}
	admitted = 2
	if _, _, err := o.openPacket(seal(2)); !errors.Is(err, errOldBoot) {
		t.Errorf("earlier boot: %v", err)
	}
	for i := range uint64(2 * maxInstances) { // a disk rolled back again and again
		next.Instance = 1000 + i
		p, err := newSealer(&next).sealPacket(&sc, wire.PacketGossip, 2, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := o.openPacket(bytes.Clone(p)); (err == nil) != (i < maxInstances-1) {
			t.Errorf("instance %d: %v", i, err)
		}
	}
	if n := len(o.senders[1].processes); n > maxInstances {
		t.Errorf("%d processes of one node are remembered", n)
	}
}

func TestSendersAreForgotten(t *testing.T) {
	w := newWorld(t)
	two := w.config(2)
	two.Floor = func(view.NodeID) uint64 { return 0 }
	w.book.set(1, netip.MustParseAddrPort("127.0.0.1:9"))
	o := newOpener(&two)
	for id := range view.NodeID(maxSenders) {
		o.senders[id+1000] = &sender{}
	}
	var sc sealScratch
	for id := view.NodeID(1); id <= 100; id++ {
		if id == 2 {
			continue
		}
		cfg := two
		cfg.Self = id
		p, err := newSealer(&cfg).sealPacket(&sc, wire.PacketGossip, 2, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := o.openPacket(p); err != nil {
			t.Fatal(err)
		}
	}
	if len(o.senders) > maxSenders {
		t.Errorf("%d senders remembered", len(o.senders))
	}
	if o.senders[1] == nil {
		t.Error("one that the roster knows was forgotten for strangers' sake")
	}
}

func TestWindowAgainstModel(t *testing.T) {
	var w replayWindow
	seen := map[uint64]bool{0: true}
	n := uint64(0)
	r := newRand(t)
	for range 200_000 {
		switch r.IntN(20) {
		case 0:
			n += uint64(r.IntN(3 * windowSize))
		case 1:
			n += uint64(r.IntN(64))
		default:
			n++
		}
		k := n - min(n, uint64(r.IntN(windowSize+200)))
		want := seen[k] || (w.top >= windowSize && k <= w.top-windowSize)
		if got := w.hasSeen(k); got != want {
			t.Fatalf("counter %d, top %d: seen=%v, want %v", k, w.top, got, want)
		}
		if !want {
			w.markSeen(k)
			seen[k] = true
		}
	}
}
