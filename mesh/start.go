package mesh

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/detect"
	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/view"
)

// closePatience bounds how long Close waits for goroutines of memberlist that
// cannot be told to stop: of a probe under way. What they do has no effect any more,
// and they end by themselves within seconds.
const closePatience = time.Second

// maxRequest bounds a request or a reply, in bytes: room for an item with all
// its concurrent values.
const maxRequest = 36 << 20

// seams are where tests put their own.
type seams struct {
	fs     vfs.FS
	clock  *clock.Clock
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	addrs  func() (hostAddrs, error)
	mdns   func(offer) (discovery, error)
	// hasty leaves memberlist's goroutines to themselves on Close.
	hasty bool
	// instance replaces the random one unless it is zero.
	instance uint64
}

// Start opens the data directory and joins the mesh, or waits for it. It needs no
// other node. One that was here before asks those that answer whether it still
// belongs to the mesh, for a second at most, or two or three by Profile; if it was
// evicted it sets its data aside and starts as a new member. ctx bounds Start alone.
// The errors are those listed in this package; a node whose identity others dispute
// is started, and stops as soon as it hears of it: see Ready and Err.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	return startNode(ctx, cfg, seams{fs: vfs.Default, clock: clock.System(), lookup: lookupHost, addrs: readHostAddrs, mdns: openMDNS})
}

// startOnce starts a node under the identity that its directory has.
func startOnce(ctx context.Context, cfg Config, s seams) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	keys, err := identity.Derive(cfg.Secret, cfg.MeshName, cfg.Shards)
	if err != nil {
		return nil, fmt.Errorf("mesh: %w", err)
	}
	clear(cfg.Secret) // of our copy: whoever prints a Node, or a core, does not find it
	cfg.Secret = nil
	dir, err := openDir(s.fs, cfg.Dir, keys.Authority.Mesh, cfg.Storing, cfg.Logger)
	if err != nil {
		return nil, err
	}
	n := newNode(cfg, s, keys, dir)
	if err := n.openParts(ctx, keys); err != nil {
		n.beginStop(err, wire.Running)
		<-n.stopped
		return nil, err
	}
	close(n.opened)
	return n, nil
}

// openParts brings up one part after the other.
func (n *Node) openParts(ctx context.Context, keys *identity.Keys) error {
	cert, err := keys.Issue(n.id, ed25519.NewKeyFromSeed(n.dir.id.Seed[:]))
	if err != nil {
		return err
	}
	n.link, err = link.Open(ctx, link.Config{
		Self: n.id, Boot: n.boot, Instance: n.instance,
		Listen: n.cfg.Listen, Network: n.cfg.Network,
		Certificate: cert, Verify: keys.Authority.Verify, PacketKey: keys.PacketKey, KnockKey: keys.KnockKey,
		Resolve: func(id view.NodeID) (netip.AddrPort, bool) { return n.places.resolveAddr(n.book, id) },
		Floor:   n.book.latestBoot, Admit: n.book.belongs, Member: n.book.isInRoster, OnStrange: n.spreading.noteStrange,
		Hello: n.reception.makeHello, OnHello: n.reception.onHello,
		Handle: n.calls.handleRequest, Guest: isClient, HandleGuest: n.calls.handleClient,
		Prompt: n.calls.isPrompt, HandlePrompt: n.calls.handlePrompt, Idempotent: n.calls.isIdempotent, Fault: faultOf,
		OnBroken: n.refusals.onBroken, OnFound: n.meetings.onFound, OnStranger: n.troubles.onStranger, OnNarrow: n.troubles.onNarrow, Logger: n.log,
		Limits: link.Limits{HandshakeTimeout: n.pace.shake, DialTimeout: n.pace.hellos, Idle: 5 * time.Minute, MaxPayload: maxRequest},
	})
	if err != nil {
		if errors.Is(err, link.ErrPortTaken) {
			err = fmt.Errorf("%w: %w", ErrPortTaken, err)
		}
		return fmt.Errorf("mesh: listen on %q: %w", n.cfg.Listen, err)
	}
	// The node's own entry is on disk before anybody can hear of it.
	if err := n.where.writeFirst(ctx); err != nil {
		return fmt.Errorf("mesh: write roster: %w", err)
	}
	n.work.Go(n.book.performChanges)
	n.gossip, err = startGossip(gossipConfig{
		self: n.id, transport: n.link.Gossip(), pace: n.pace, log: n.log,
		belongs: n.book.belongs, told: func(e detect.Event) { n.inbox.putEvent(event{Event: e}) },
		met: func(id view.NodeID, rtt time.Duration) {
			n.inbox.putEvent(event{Event: detect.Event{Kind: detect.Tick, ID: id}, rtt: rtt})
		},
	})
	if err != nil {
		return err
	}
	n.meetings.gossip = n.gossip
	n.log.Info("node is up", "name", n.cfg.Name, "mesh", n.mesh, "boot", n.boot, "addr", n.Addr())
	n.where.beacon.renewDiscovery()
	w := n.newWatcher()
	w.publishFirst()
	n.work.Go(w.watchMembers)
	n.work.Go(n.spreading.keepSpreading)
	n.work.Go(n.spreading.keepComparing)
	n.work.Go(n.spreading.keepTraitsCompared)
	n.work.Go(n.spreading.keepTraitsSpreading)
	n.work.Go(n.spreading.keepTellingNews)
	n.work.Go(func(ctx context.Context) { n.traits.keepShown(ctx, n.inbox) })
	n.work.Go(n.spreading.keepAcquainted)
	n.work.Go(n.where.keepAddress)
	n.work.Go(n.spreading.keepReached)
	n.work.Go(func(ctx context.Context) { n.gossip.keepWhole(ctx, n.ground) })
	n.work.Go(n.contest.keepName)
	n.work.Go(func(ctx context.Context) { n.places.keepPlaces(ctx, n.book) })
	return nil
}

// ID returns the NodeID. It belongs to the data directory.
func (n *Node) ID() view.NodeID { return n.id }

// Mesh returns the id of the mesh.
func (n *Node) Mesh() view.MeshID { return n.mesh }

// Subkey returns a key that the mesh's secret yields for one purpose, equal on all
// its nodes. Who holds it learns neither the secret nor the key for another purpose.
func (n *Node) Subkey(purpose string) [32]byte { return n.subkey(purpose) }

// Name returns the name: the one configured or, if there was none, the NodeID.
func (n *Node) Name() string { return n.cfg.Name }

// Dir returns the data directory.
func (n *Node) Dir() string { return n.cfg.Dir }

// Shards returns the number of slices of the key space.
func (n *Node) Shards() int { return n.cfg.Shards }

// Logger returns the logger of the Config; it is never nil. What the node says goes
// there with its id under "node", and so does what a store or a partition on it says.
func (n *Node) Logger() *slog.Logger { return n.cfg.Logger }

// Addr returns the address under which the node makes itself known.
func (n *Node) Addr() netip.AddrPort {
	e, _ := n.book.snapshot().Get(n.id)
	return e.Addr
}

// Ready waits until the node has met another one, or has tried all that it
// knows of and found nobody in reach. Then it is as ready as it can be. The
// error is that of ctx, or why the node stopped.
func (n *Node) Ready(ctx context.Context) error {
	select {
	case <-n.done:
		return n.stopError()
	default:
	}
	select {
	case <-n.ready:
		return nil
	case <-n.done:
		return n.stopError()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Done returns a channel that is closed when the node stops, by Close, Leave
// or by itself; see Err.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err returns nil while the node runs and after Close or Leave, and the
// reason after it stopped by itself: ErrIdentityConflict, ErrRolledBack or
// ErrEvicted.
func (n *Node) Err() error {
	select {
	case <-n.done:
		return n.err
	default:
		return nil
	}
}

// Close stops the node and waits for all that it started. Calls and whatever else
// goes on end with ErrClosed. It returns within two seconds beyond what handlers and
// the disk take, whoever is silent; a hook of Leave that runs is not waited for. The
// mesh keeps the node's place: it is one that went down, and may be started again.
// Close may be called more than once; it must not be called by a handler or a hook.
func (n *Node) Close() error {
	n.beginStop(nil, wire.Running)
	<-n.stopped
	return nil
}

// shutDownAll ends everything in the reverse order of open.
func (n *Node) shutDownAll() {
	n.work.Cancel()
	n.warnOnError("mDNS did not stop cleanly", n.where.beacon.endDiscovery())
	if n.gossip != nil {
		patience := closePatience
		if n.seams.hasty {
			patience = 0
		}
		n.warnOnError("gossip did not stop cleanly", n.gossip.closeWithin(patience))
	}
	if n.link != nil {
		n.warnOnError("link did not close cleanly", n.link.Close())
	}
	n.work.Close()
	n.views.Close()
	n.warnOnError("data directory was not unlocked", n.dir.unlockDir())
}
