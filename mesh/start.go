package mesh

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/detect"
	"github.com/skeinmesh/skein/internal/exchange"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// closePatience bounds how long Close waits for goroutines of memberlist that
// cannot be told to stop: of a probe under way. What they do has no effect any more,
// and they end by themselves within seconds.
const closePatience = time.Second

// maxRequest bounds a request or a reply, in bytes: room for an item with all
// its concurrent values.
const maxRequest = 36 << 20

// Node is a running node of a mesh. All methods may be used concurrently.
type Node struct {
	cfg      Config
	log      *slog.Logger
	pace     pace
	clock    *clock.Clock
	started  time.Time
	seams    seams
	id       view.NodeID
	mesh     view.MeshID
	subkey   func(purpose string) [32]byte
	instance uint64 // of this run

	dir         *directory
	book        *book
	exchanger   *exchange.Exchanger[view.NodeID, uint64, wire.Member]
	traits      *traits
	topics      *topics
	tells       tells
	link        *link.Link
	gossip      *gossip
	returns     chan struct{}    // full when several members came at once
	strange     chan view.NodeID // who spoke of a node that the roster does not hold
	inbox       *inbox
	questions   chan question
	probeSlots  chan struct{} // full when no more members may be probed for others
	views       *notify.Value[view.View]
	work        *lifecycle.Group
	calls       handlers
	wasAdmitted atomic.Bool // another node has admitted this run
	admits      admissions
	rivals      rivals
	hearsay     hearsay
	doubts      doubts
	beacon      beacon
	names       *names
	places      *places
	troubles    troubles
	meters      *meters

	ready     chan struct{} // closed by markReady
	readyOnce sync.Once

	leave   leaving
	ownAddr atomic.Pointer[netip.AddrPort] // where this node wants to be reached

	opened   chan struct{} // closed when all parts are there
	stopOnce sync.Once
	stopped  chan struct{} // closed when everything has ended
	done     chan struct{} // closed when the node begins to stop
	err      error         // why it stopped; valid once done is closed
}

// seams are where tests put their own.
type seams struct {
	fs     vfs.FS
	clock  *clock.Clock
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	addrs  func() (hostAddrs, error)
	mdns   func(n *Node) (discovery, error)
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
	n := &Node{
		cfg: cfg, log: cfg.Logger.With("node", dir.id.Node.String()), pace: cfg.Profile.watchPace(),
		clock: s.clock, started: time.Now(), seams: s,
		id: dir.id.Node, mesh: keys.Authority.Mesh, subkey: keys.Subkey, instance: random64(),
		dir: dir, inbox: newInbox(), returns: make(chan struct{}, 2), strange: make(chan view.NodeID, 1), views: &notify.Value[view.View]{},
		names: newNames(s.lookup), places: newPlaces(), meters: newMeters(dir.id.Node),
		questions: make(chan question), probeSlots: make(chan struct{}, maxProbes),
		work:  lifecycle.NewGroup(context.Background()),
		ready: make(chan struct{}), opened: make(chan struct{}), stopped: make(chan struct{}), done: make(chan struct{}),
	}
	if s.instance != 0 {
		n.instance = s.instance
	}
	if n.cfg.Name == "" {
		n.cfg.Name = n.id.String()
	}
	n.leave.turn = make(chan struct{}, 1)
	n.calls.byMethod = map[string]handler{methodView: n.answerView, methodEvict: n.answerEvict}
	n.calls.prompt, n.calls.idempotent = map[string]promptHandler{}, map[string]bool{}
	n.places.loadKept(dir.places, dir.roster)
	n.book = newBook(dir.roster, n.writeRoster, n.isAlive, n.log)
	n.book.fresh = n.places.hasUnwritten
	n.book.excess = n.toldOfTooMany
	n.exchanger = n.newExchanger()
	call := func(ctx context.Context, peer view.NodeID, method string, req []byte) ([]byte, error) {
		return n.link.Call(ctx, peer, method, req)
	}
	n.topics = newTopics(n.id, dir.id.Boot, n.clock.Boot, n.book.snapshot, call)
	n.traits = newTraits(n.id, dir.id.Boot, n.uptime, n.book.snapshot, call)
	n.traits.sayOwn(cfg.Tags, cfg.Capabilities)
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
		Self: n.id, Boot: n.dir.id.Boot, Instance: n.instance,
		Listen: n.cfg.Listen, Network: n.cfg.Network,
		Certificate: cert, Verify: keys.Authority.Verify, PacketKey: keys.PacketKey, KnockKey: keys.KnockKey,
		Resolve: n.resolveAddr, Floor: n.latestBoot, Admit: n.belongs, Member: n.isInRoster, OnStrange: n.noteStrange, Hello: n.makeHello, OnHello: n.onHello,
		Guest: isClient, HandleGuest: n.handleClient, Handle: n.handleRequest, Prompt: n.calls.isPrompt, HandlePrompt: n.handlePrompt, Fault: faultOf, Idempotent: n.calls.isIdempotent, OnBroken: n.onBroken, OnFound: n.onFound, OnStranger: n.onStranger, OnNarrow: n.onNarrow, Logger: n.log,
		Limits: link.Limits{HandshakeTimeout: n.pace.shake, DialTimeout: n.pace.hellos, Idle: 5 * time.Minute, MaxPayload: maxRequest},
	})
	if err != nil {
		if errors.Is(err, link.ErrPortTaken) {
			err = fmt.Errorf("%w: %w", ErrPortTaken, err)
		}
		return fmt.Errorf("mesh: listen on %q: %w", n.cfg.Listen, err)
	}
	// The node's own entry is on disk before anybody can hear of it.
	if err := n.writeSelf(ctx); err != nil {
		return fmt.Errorf("mesh: write roster: %w", err)
	}
	n.work.Go(n.book.performChanges)
	n.gossip, err = startGossip(gossipConfig{
		self: n.id, transport: n.link.Gossip(), pace: n.pace, log: n.log,
		belongs: n.belongs, told: func(e detect.Event) { n.inbox.putEvent(event{Event: e}) },
		met: func(id view.NodeID, rtt time.Duration) {
			n.inbox.putEvent(event{Event: detect.Event{Kind: detect.Tick, ID: id}, rtt: rtt})
		},
	})
	if err != nil {
		return err
	}
	n.log.Info("node is up", "name", n.cfg.Name, "mesh", n.mesh, "boot", n.dir.id.Boot, "addr", n.Addr())
	n.beacon.renewDiscovery(n)
	n.work.Go(newWatcher(n).watchMembers)
	n.work.Go(n.keepSpreading)
	n.work.Go(n.keepComparing)
	n.work.Go(n.keepTraitsCompared)
	n.work.Go(n.keepTraitsSpreading)
	n.work.Go(n.keepTellingNews)
	n.work.Go(n.keepTraitsShown)
	n.work.Go(n.keepAcquainted)
	n.work.Go(n.keepAddress)
	n.work.Go(n.keepReached)
	n.work.Go(n.keepWhole)
	n.work.Go(n.keepName)
	n.work.Go(n.keepPlaces)
	return nil
}

// writeSelf makes the roster say of this node what it is now, before the
// book runs.
func (n *Node) writeSelf(ctx context.Context) error {
	r := n.book.snapshot().Roster
	e, known := r.Get(n.id)
	ctx, cancel := context.WithTimeout(ctx, n.pace.dial)
	at, err := n.findOwnAddr(ctx, e.Addr)
	cancel()
	if err != nil && e.Addr.IsValid() {
		at, err = e.Addr, nil // a name that is not found yet has its last address
	}
	if err != nil {
		return err
	}
	n.ownAddr.Store(&at)
	if !known {
		// A new disk under an old name replaces the node that had it.
		e.Predecessor, _ = r.Predecessor(n.id, n.cfg.Name)
	}
	if r, err = r.Write(n.ownEntry(e, at), n.wallDate()); err != nil {
		return err
	}
	return n.book.adoptRoster(r)
}

// wallDate returns the wall clock as a date of attributes. Whatever it says, dates
// only grow: roster.Write goes above the last one.
func (n *Node) wallDate() version.HLC {
	return version.HLC(max(n.clock.Wall().UnixMilli(), 0)) << 16
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

func (n *Node) markReady() { n.readyOnce.Do(func() { close(n.ready) }) }

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

func (n *Node) stopError() error {
	if n.err != nil {
		return n.err
	}
	return ErrClosed
}

// closedError is ErrClosed, with the reason if the node stopped by itself.
func (n *Node) closedError() error {
	if n.err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, n.err)
	}
	return ErrClosed
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

// stopWithError stops the node because it must not go on. Unless end is Running the
// directory is marked, so that the next Start takes a new NodeID.
func (n *Node) stopWithError(err error, end wire.End) {
	n.log.Error("node must not go on", "error", err)
	n.beginStop(err, end)
}

// beginStop begins to stop the node and does not wait for that. That its identity may
// not be used again is on disk before anybody hears that the node has stopped: the
// program may end at once.
func (n *Node) beginStop(err error, end wire.End) {
	n.stopOnce.Do(func() {
		n.err = err
		if end != wire.Running {
			n.warnOnError("data directory could not be marked as "+end.String(), n.dir.endIdentity(end))
		}
		close(n.done)
		go n.shutDownAll()
	})
}

// shutDownAll ends everything in the reverse order of open.
func (n *Node) shutDownAll() {
	defer close(n.stopped)
	n.work.Cancel()
	n.warnOnError("mDNS did not stop cleanly", n.beacon.endDiscovery())
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

func (n *Node) warnOnError(what string, err error) {
	if err != nil {
		n.log.Warn(what, "error", err)
	}
}
