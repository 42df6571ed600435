package mesh

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/view"
)

// intruder opens a link with the secret of the mesh, as anyone may who has it.
func (w *world) intruder(hello wire.Hello, onHello func(link.Peer, []byte) error) *link.Link {
	w.t.Helper()
	keys, err := identity.Derive(testSecret, "test", defaultShards)
	if err != nil {
		w.t.Fatal(err)
	}
	cert, err := keys.Issue(hello.Self.ID, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		w.t.Fatal(err)
	}
	addr := netip.MustParseAddr("10.9.9.9")
	l, err := link.Open(w.t.Context(), link.Config{
		Self: hello.Self.ID, Boot: 1, Instance: 1, Network: w.net.Host(addr),
		Listen:      netip.AddrPortFrom(addr, testPort).String(),
		Certificate: cert, Verify: keys.Authority.Verify, PacketKey: keys.PacketKey, KnockKey: keys.KnockKey,
		Resolve: func(id view.NodeID) (netip.AddrPort, bool) {
			for _, b := range w.boxes {
				if b.node != nil && b.node.ID() == id {
					return b.node.Addr(), true
				}
			}
			return netip.AddrPort{}, false
		},
		Hello: func() []byte { return wire.AppendHello(nil, &hello) }, OnHello: onHello,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// undisturbedBy checks that a node runs on, and would under the same id again.
func (w *world) undisturbedBy(what string, b *box) {
	w.t.Helper()
	time.Sleep(30 * time.Second)
	if b.node.hasStopped() || b.node.dir.id.End != wire.Running {
		w.t.Errorf("%s ended a node: %v", what, b.node.Err())
	}
}

// A client, or anyone with the secret, accepts a connection and then refuses the
// node's hello.
func TestRefusalOfAClientDoesNotCount(t *testing.T) {
	for _, why := range []error{roster.ErrGone, roster.ErrOldBoot, roster.ErrClone, errNameInUse} {
		bubble(t, 2, func(t *testing.T, w *world) {
			b := w.boxes[0]
			b.cfg.AllowAdmin = true
			w.form(10 * time.Second)
			l := w.intruder(wire.Hello{Self: wire.Member{ID: 77}, Client: true}, func(link.Peer, []byte) error {
				return refuseHello(why, "stop")
			})
			defer l.Close()
			if _, err := l.Greet(t.Context(), b.node.Addr()); !errors.Is(err, link.ErrNotAccepted) {
				t.Fatalf("greeting: %v", err)
			}
			w.undisturbedBy("a client that says "+why.Error(), b)
			w.boxes[1].kill() // nobody is there to say otherwise
			b.node.refusals.onRefused(77, refuseHello(why, "stop"))
			w.undisturbedBy("one that is no member and says "+why.Error(), b)
		})
	}
}

// One member refuses, the others do not.
func TestRefusalIsAHint(t *testing.T) {
	bubble(t, 3, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		b, by := w.boxes[1], w.boxes[2].node.ID()
		for _, why := range []error{roster.ErrGone, roster.ErrOldBoot, roster.ErrClone, errNameInUse} {
			b.node.refusals.onRefused(by, refuseHello(why, "stop"))
			w.undisturbedBy("one member that says "+why.Error(), b)
		}
		w.boxes[0].kill()
		b.node.refusals.onRefused(by, refuseHello(roster.ErrGone, "stop"))
		w.stopsWith(b.node, ErrEvicted) // nobody is there to say otherwise
	})
}

// A newcomer says that others have admitted it, under the name of a node that runs
// and with a lower id.
func TestNameOfARunningNodeIsNotTaken(t *testing.T) {
	bubble(t, 3, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		b := w.boxes[1]
		e, _ := b.node.book.snapshot().Get(b.node.ID())
		e.ID, e.Addr, e.Boot, e.Instance = 1, netip.MustParseAddrPort("10.9.9.9:7800"), 1, 1
		l := w.intruder(wire.Hello{Self: wire.Member(e), Met: true}, nil)
		defer l.Close()
		for _, o := range w.boxes {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if _, err := l.Greet(ctx, o.node.Addr()); err == nil {
				t.Errorf("box %d let it in", o.n)
			}
			cancel()
		}
		w.undisturbedBy("a newcomer under its name", b)
	})
}

// A program may end, or start anew, as soon as it hears that the node has stopped.
// Whoever calls the node then is told why it stopped.
func TestDoneComesAfterTheMark(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		b := w.boxes[0]
		n := b.start()
		marked := make(chan wire.End, 1)
		go func() {
			<-n.Done()
			_, err := b.fs.Stat("/data/identity")
			d := &directory{fs: b.fs, path: "/data", log: w.log}
			f, lookErr := d.inspectDir()
			if err = errors.Join(err, lookErr); err != nil {
				t.Error(err)
			}
			marked <- f.id.End
		}()
		n.stopWithError(ErrEvicted, wire.EndEvicted)
		if end := <-marked; end != wire.EndEvicted {
			t.Errorf("the directory says %v when the node is done", end)
		}
		if err := n.Handle("x", echo); !errors.Is(err, ErrClosed) || !errors.Is(err, ErrEvicted) {
			t.Errorf("Handle: %v", err)
		}
		if _, err := n.Call(t.Context(), n.ID(), "x", nil); !errors.Is(err, ErrClosed) || !errors.Is(err, ErrEvicted) {
			t.Errorf("Call: %v", err)
		}
	})
}

// One that was evicted and does not care finds nobody who answers its packets or
// takes its gossip. A connection tells it why.
func TestTheEvictedAreNotHeard(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		b := w.boxes[0]
		gone := someEntry(77, view.Evicted)
		gone.Instance = 1
		if err := b.node.rosters.learnRoster(t.Context(), w.boxes[1].node.ID(), said(t, gone)); err != nil {
			t.Fatal(err)
		}
		l := w.intruder(wire.Hello{Self: wire.Member(gone), Met: true}, nil)
		defer l.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var refused *link.RefusedError
		if r, err := l.Probe(ctx, b.node.ID()); err == nil {
			t.Errorf("a probe is answered: %+v", r)
		} else if !errors.As(err, &refused) || !errors.Is(faults.FromWord(refused.Code, refused.Text), roster.ErrGone) {
			t.Errorf("it is told %v", err)
		}
	})
}
