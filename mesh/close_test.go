package mesh

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// closeBound is how long Close may take, and within which all that runs ends.
const closeBound = 2 * time.Second

// hangingDiscovery finds nobody until it is told to end.
type hangingDiscovery struct{}

func (hangingDiscovery) findNodes(ctx context.Context) []netip.AddrPort { <-ctx.Done(); return nil }
func (hangingDiscovery) shutDown() error                                { return nil }

// waitFailed waits until a node has given a peer up.
func waitFailed(b *box, peer view.NodeID) {
	b.w.eventually(3*time.Minute, "it is failed", func() bool {
		m, _ := b.node.View().Member(peer)
		return m.State == view.Failed
	})
}

// hangingLookup is DNS that does not answer.
func hangingLookup(ctx context.Context, _ string) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// patient is something that may take long when others are silent.
type patient struct {
	setUp  func(b *box)
	before func(b *box, peer view.NodeID) // when the others are silent
	lively bool                           // they are not
	done   bool                           // it may be done by then
	run    func(b *box, peer view.NodeID) error
}

var patients = map[string]patient{
	"call": {run: func(b *box, peer view.NodeID) error {
		_, err := b.node.Call(context.Background(), peer, "hang", nil)
		return err
	}},
	"idempotent call": {run: func(b *box, peer view.NodeID) error {
		_, err := b.node.CallIdempotent(context.Background(), peer, "hang", nil)
		return err
	}},
	"call that dials": {before: waitFailed, run: func(b *box, peer view.NodeID) error {
		_, err := b.node.Call(context.Background(), peer, "hang", nil)
		return err
	}},
	"leave":                    {done: true, run: func(b *box, _ view.NodeID) error { return b.node.Leave(context.Background()) }},
	"leave that is being told": {lively: true, done: true, run: func(b *box, _ view.NodeID) error { return b.node.Leave(context.Background()) }},
	"leave whose hook hangs": {run: func(b *box, _ view.NodeID) error {
		b.node.OnLeave(func(ctx context.Context) error { <-b.node.Done(); return ErrClosed })
		return b.node.Leave(context.Background())
	}},
	"evict": {before: waitFailed, done: true, run: func(b *box, peer view.NodeID) error { return b.node.Evict(context.Background(), peer) }},
	"confirm": {run: func(b *box, peer view.NodeID) error {
		_, err := b.node.Confirm(context.Background(), peer)
		return err
	}},
	"seed that is silent": {setUp: func(b *box) { b.cfg.Seeds = append(b.cfg.Seeds, "10.0.0.99:7800") }},
	"name that is not answered": {setUp: func(b *box) {
		b.cfg.Seeds, b.lookup = append(b.cfg.Seeds, "gateways.plant.local"), hangingLookup
	}},
	"mDNS that finds nobody": {setUp: func(b *box) {
		b.cfg.MDNS, b.mdns = true, func(offer) (discovery, error) { return hangingDiscovery{}, nil }
	}},
}

// TestCloseIsBounded begins what may take long while all others are silent, and closes
// the node: that returns within its bound, and so does what was begun, with ErrClosed.
func TestCloseIsBounded(t *testing.T) {
	for name, c := range patients {
		for _, profile := range []Profile{LAN, WAN} {
			for _, after := range []time.Duration{0, 500 * time.Millisecond, 3 * time.Second} {
				t.Run(fmt.Sprint(name, "/", profile, " after ", after), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { c.closeAfter(t, profile, after) })
				})
			}
		}
	}
}

func (c *patient) closeAfter(t *testing.T, profile Profile, after time.Duration) {
	w := newWorld(t, 3)
	defer w.close()
	for _, b := range w.boxes {
		b.cfg.Profile = profile
	}
	b := w.boxes[2]
	if c.setUp != nil {
		c.setUp(b)
	}
	w.form(3 * time.Minute)
	time.Sleep(10 * time.Second)
	peer := w.boxes[1].node.ID()
	if !c.lively {
		w.net.Silence(w.boxes[1].addr)
		if c.before != nil {
			c.before(b, peer)
		}
		w.net.Silence(w.boxes[0].addr)
	}
	ended := make(chan error, 1)
	if c.run == nil {
		ended <- ErrClosed
	} else {
		go func() { ended <- c.run(b, peer) }()
	}
	time.Sleep(after)
	synctest.Wait() // what ends at this very instant has ended before Close
	if len(ended) > 0 && c.run != nil {
		return // before it could be asked for
	}
	begun := time.Now()
	_ = b.node.Close()
	if took := time.Since(begun); took > closeBound {
		t.Errorf("closing took %v", took)
	}
	if err := <-ended; !errors.Is(err, ErrClosed) && (err != nil || !c.done) {
		t.Errorf("it ended with %v", err)
	}
	if took := time.Since(begun); took > closeBound {
		t.Errorf("it ended %v after Close was called", took)
	}
}

// A client that waits for a node that is silent is closed at once.
func TestClosedClientEndsItsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.close()
		w.boxes[0].cfg.AllowAdmin = true
		w.form(time.Minute)
		cfg := w.boxes[0].cfg
		c, err := Dial(t.Context(), ClientConfig{
			Addr: cfg.Listen, Secret: cfg.Secret, MeshName: cfg.MeshName, Network: w.net.Host(netip.MustParseAddr("10.0.0.50")),
		})
		if err != nil {
			t.Fatal(err)
		}
		w.net.Silence(w.boxes[0].addr)
		ended := make(chan error, 1)
		go func() {
			_, err := c.View(context.Background())
			ended <- err
		}()
		time.Sleep(time.Second)
		begun := time.Now()
		_ = c.Close()
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("the call ended with %v", err)
		}
		if took := time.Since(begun); took > closeBound {
			t.Errorf("closing took %v", took)
		}
	})
}
