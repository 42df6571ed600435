package mesh

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/memberlist"

	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// packed encodes values as memberlist and serf do, after the types given.
func packed(t testing.TB, types []byte, values ...any) []byte {
	b := bytes.NewBuffer(types)
	for _, v := range values {
		if err := codec.NewEncoder(b, &codec.MsgpackHandle{}).Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func gossipTo(n *Node) memberlist.Address { return memberlist.Address{Name: n.ID().String()} }

// lieOfMany makes one node tell another of nodes that are not.
func lieOfMany(t *testing.T, liar, victim *Node, many int) {
	t.Helper()
	values := []any{map[string]any{"Nodes": many, "UserStateLen": 0, "Join": false}}
	for i := range many {
		id := view.NodeID(1<<40) + view.NodeID(i)
		ip := gossipIP(id).As16()
		values = append(values, map[string]any{
			"Name": id.String(), "Addr": ip[:], "Port": DefaultPort, "Meta": []byte{}, "Incarnation": 1, "State": 0,
			"Vsn": []byte{1, 5, 2, 2, 5, 4},
		})
	}
	c, err := liar.link.Gossip().DialAddressTimeout(gossipTo(victim), 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write(packed(t, []byte{6}, values...)); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(3 * time.Second))
	_, _ = c.Read(make([]byte, 1)) // it answers when it has taken them in
}

// Nodes that only gossip names change nothing: silent nodes are given up as soon as
// ever, by a node that was restarted meanwhile, too.
func TestGossipOfUnknownNodes(t *testing.T) {
	bubble(t, 5, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		lieOfMany(t, w.boxes[4].node, w.boxes[0].node, 10_000)
		time.Sleep(2 * time.Second)
		if n := len(w.boxes[0].node.gossip.serf.Members()); n != 5 {
			t.Errorf("gossip knows %d members of five", n)
		}
		w.boxes[1].kill()
		time.Sleep(time.Second)
		w.boxes[1].start()
		w.eventually(15*time.Second, "whole again", w.whole)
		id := w.boxes[3].silence()
		w.eventually(9*time.Second, "the silent node is failed by all", func() bool { return w.everySees(id, view.Failed) })
		if w.boxes[0].node.link.Stats().GossipStrange == 0 {
			t.Error("the lie was not told")
		}
	})
}

// A time far ahead, told by one member, does not make the others turn each other's
// gossip away.
func TestGossipFromTheEndOfTime(t *testing.T) {
	bubble(t, 4, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		liar, a, b, c := w.boxes[0].node, w.boxes[1].node, w.boxes[2].node, w.boxes[3].node
		intent := packed(t, []byte{8, 1}, map[string]any{"LTime": uint64(1 << 62), "Node": liar.ID().String()})
		if _, err := liar.link.Gossip().WriteToAddress(intent, gossipTo(a)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		for _, n := range []*Node{a, b, c} {
			for _, o := range []*Node{a, b, c} {
				if o == n {
					continue
				}
				if err := n.gossip.joinNode(t.Context(), o.ID()); err != nil {
					t.Errorf("%v exchanges with %v: %v", n.ID(), o.ID(), err)
				}
			}
		}
		time.Sleep(5 * time.Second)
		for _, n := range []*Node{a, b, c} {
			if s := n.link.Stats(); s.GossipRefused > 0 {
				t.Errorf("%v turned %d honest messages away", n.ID(), s.GossipRefused)
			}
		}
		if err := c.Leave(t.Context()); err != nil {
			t.Error(err)
		}
		w.eventually(5*time.Second, "the one that leaves is seen to leave", func() bool { return w.everySees(c.ID(), view.Departed) })
	})
}

// A member that makes up tens of thousands of nodes that are gone fills nobody's
// roster for good: each takes a share of them, and says so.
func TestMadeUpRelicsFillNoRoster(t *testing.T) {
	bubble(t, 4, func(t *testing.T, w *world) {
		late := w.boxes[3]
		w.boxes = w.boxes[:3]
		w.form(10 * time.Second)
		liar := w.boxes[2].node
		time.Sleep(2 * time.Minute)
		for round := range 2 {
			for i := range 42 {
				relics := wire.RelicSwap{}
				for id := range view.NodeID(5_000) {
					relics.Have = append(relics.Have, wire.Relic{ID: view.NodeID(100_000+5_000*i) + id})
				}
				req := wire.AppendRelicSwap(nil, relics)
				for _, b := range w.boxes[:2] {
					if _, err := liar.link.Call(t.Context(), b.node.ID(), methodRelics, req); err != nil {
						t.Fatal(err)
					}
				}
			}
			time.Sleep(time.Duration(round) * 10 * time.Second)
		}
		late.start()
		w.boxes = append(w.boxes, late)
		w.eventually(30*time.Second, "a new node gets in", w.whole)
		for _, b := range w.boxes[:2] {
			if r := b.node.book.snapshot(); len(r.Relics()) > roster.MaxGone/8 || r.Full() != nil {
				t.Errorf("%d relics, full: %v", len(r.Relics()), r.Full())
			}
			if !slices.ContainsFunc(wordsOf(b.node.View().Problems), func(p string) bool { return strings.Contains(p, "tens of thousands") }) {
				t.Errorf("problems %q", b.node.View().Problems)
			}
		}
	})
}
