package mesh

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/detect"
	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/mesh/view"
)

// gossip is serf on memberlist on our transport, unmodified and kept to what
// it is good at: to notice that nodes come and go. Who belongs to the mesh is
// said by the roster, who lives by internal/detect.
type gossip struct {
	serf     *serf.Serf
	label    string // of all goroutines started by serf, see quiesce
	events   chan serf.Event
	drained  chan struct{}
	stop     context.CancelFunc
	joinTurn chan struct{} // capacity 1: held by the join under way
	exitTurn chan struct{} // capacity 1: held by leave and close
	returns  chan struct{} // full when several members came at once
	closed   atomic.Bool
	shut     sync.Once
}

type gossipConfig struct {
	self      view.NodeID
	transport memberlist.NodeAwareTransport
	pace      pace
	log       *slog.Logger
	belongs   func(view.NodeID) bool // false: gone for good
	told      func(detect.Event)     // must not block
	met       func(view.NodeID, time.Duration)
}

// gossipIP returns the address under which the link makes a node known to
// memberlist: made of its NodeID, never dialled. The transport goes by names
// and looks addresses up in the roster, so a node that moves changes nothing
// for memberlist, which would take it for an impostor.
func gossipIP(id view.NodeID) netip.Addr {
	ip := [16]byte{0xfd, 's', 'k', 'e', 'i', 'n'}
	binary.BigEndian.PutUint64(ip[8:], uint64(id))
	return netip.AddrFrom16(ip)
}

func startGossip(cfg gossipConfig) (*gossip, error) {
	ctx, stop := context.WithCancel(context.Background())
	g := &gossip{
		label:    fmt.Sprintf("%v-%016x", cfg.self, random64()),
		events:   make(chan serf.Event, 256),
		drained:  make(chan struct{}),
		stop:     stop,
		returns:  make(chan struct{}, 2),
		joinTurn: make(chan struct{}, 1),
		exitTurn: make(chan struct{}, 1),
	}
	// Serf sends events while it holds locks: something must always receive.
	go func() {
		defer close(g.drained)
		g.forwardEvents(ctx, cfg.told)
	}()
	var err error
	runLabelled(g.label, func() { g.serf, err = serf.Create(cfg.serfConfig(g.events)) })
	if err != nil {
		stop()
		<-g.drained
		return nil, fmt.Errorf("mesh: start gossip: %w", err)
	}
	return g, nil
}

func (cfg *gossipConfig) serfConfig(events chan<- serf.Event) *serf.Config {
	logger := log.New(&logBridge{log: cfg.log}, "", 0)
	ml := memberlist.DefaultLANConfig()
	cfg.pace.gossip(ml)
	ml.Transport = cfg.transport
	ml.Alive = aliveFilter(cfg.belongs)
	ml.Ping = pingMeter(cfg.met)
	ml.Logger = logger
	ml.UDPBufferSize = link.GossipRoom
	ml.EnableCompression = false // sealed, screened and small as it is
	ml.RequireNodeNames = true
	ml.BindAddr, ml.AdvertiseAddr = "", ""
	return &serf.Config{
		NodeName:                     cfg.self.String(),
		EventCh:                      events,
		ProtocolVersion:              4,
		BroadcastTimeout:             2 * time.Second,
		LeavePropagateDelay:          time.Second,
		ReapInterval:                 time.Minute,
		RecentIntentTimeout:          5 * time.Minute,
		ReconnectInterval:            time.Hour, // we redial, by the roster and for ever
		ReconnectTimeout:             time.Hour,
		TombstoneTimeout:             time.Hour, // the roster remembers for ever
		FlapTimeout:                  time.Minute,
		QueueCheckInterval:           30 * time.Second,
		QueueDepthWarning:            1024,
		MinQueueDepth:                4096,
		EventBuffer:                  1, // no events and no queries: the transport turns them away
		QueryBuffer:                  1, // and the buffers travel with every push and pull
		QueryTimeoutMult:             16,
		QueryResponseSizeLimit:       1024,
		QuerySizeLimit:               1024,
		UserEventSizeLimit:           512,
		DisableCoordinates:           true,  // they would cost a third of the idle traffic; see pingMeter
		EnableNameConflictResolution: false, // it shuts nodes down; see contact.go
		MemberlistConfig:             ml,
		Logger:                       logger,
	}
}

func (g *gossip) forwardEvents(ctx context.Context, told func(detect.Event)) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-g.events:
			m, ok := e.(serf.MemberEvent)
			if !ok {
				continue
			}
			kind := detect.GossipFailed
			switch m.Type {
			case serf.EventMemberJoin:
				kind = detect.GossipAlive
			case serf.EventMemberLeave:
				kind = detect.GossipLeft
			case serf.EventMemberUpdate:
				continue
			}
			for i := range m.Members {
				if id, err := view.ParseNodeID(m.Members[i].Name); err == nil {
					told(detect.Event{Kind: kind, ID: id})
				}
			}
		}
	}
}

// joinNode exchanges states with a node by which ours becomes known to all that
// it knows, and the reverse. Serf would make one join wait for another under
// a lock.
func (g *gossip) joinNode(ctx context.Context, id view.NodeID) error {
	select {
	case g.joinTurn <- struct{}{}:
		defer func() { <-g.joinTurn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	addr := netip.AddrPortFrom(gossipIP(id), DefaultPort)
	_, err := g.serf.Join([]string{id.String() + "/" + addr.String()}, true)
	return err
}

// leaveSerf tells the others that we go on purpose, which spares them a failure that is
// none. That takes up to five seconds, and serf cannot be broken off: once abandon is
// closed leave returns, and its goroutine belongs to close. After close it does nothing:
// memberlist would panic.
func (g *gossip) leaveSerf(abandon <-chan struct{}) error {
	select {
	case g.exitTurn <- struct{}{}: // held until serf has left, so that close finds it
	case <-abandon:
		return nil
	}
	if g.closed.Load() {
		<-g.exitTurn
		return nil
	}
	told := make(chan error, 1)
	go func() {
		err := g.serf.Leave()
		<-g.exitTurn
		if g.closed.Load() { // meanwhile, and that may not have waited
			_ = g.shutDown(0)
		}
		told <- err
	}()
	select {
	case err := <-told:
		return err
	case <-abandon:
		return nil
	}
}

// closeWithin shuts serf down, which closes the transport, and waits for its goroutines, that
// of leave among them, as long as patience allows. A leave that takes longer shuts serf
// down when it is done: memberlist must not be while it leaves.
func (g *gossip) closeWithin(patience time.Duration) error {
	over := time.Now().Add(patience)
	g.closed.Store(true)
	select {
	case g.exitTurn <- struct{}{}:
	default:
		select {
		case g.exitTurn <- struct{}{}:
		case <-time.After(patience):
			return nil
		}
	}
	defer func() { <-g.exitTurn }()
	return g.shutDown(time.Until(over))
}

func (g *gossip) shutDown(patience time.Duration) (err error) {
	g.shut.Do(func() {
		err = g.serf.Shutdown()
		awaitLabelledEnd(g.label, patience)
		g.stop()
		<-g.drained
	})
	return err
}

// aliveFilter keeps memberlist from taking in nodes that are gone for good,
// however often an old state of somebody else names them.
type aliveFilter func(view.NodeID) bool

var errShutOut = errors.New("not a member of this mesh")

// NotifyAlive is called under memberlist's lock.
func (f aliveFilter) NotifyAlive(n *memberlist.Node) error {
	id, err := view.ParseNodeID(n.Name)
	if err != nil {
		return err
	}
	if addr, _ := netip.AddrFromSlice(n.Addr); addr != gossipIP(id) || !f(id) {
		return errShutOut
	}
	return nil
}

// pingMeter takes round trips from memberlist's pings.
type pingMeter func(view.NodeID, time.Duration)

// AckPayload returns what acknowledgements carry: nothing.
func (pingMeter) AckPayload() []byte { return nil }

// NotifyPingComplete is called without any lock.
func (f pingMeter) NotifyPingComplete(n *memberlist.Node, rtt time.Duration, _ []byte) {
	if id, err := view.ParseNodeID(n.Name); err == nil {
		f(id, rtt)
	}
}

// noteReturn notes that a member came or came back.
func (g *gossip) noteReturn() {
	select {
	case g.returns <- struct{}{}:
	default:
	}
}

// keepWhole exchanges gossip's state with one more node when several members
// came at once, as after a cut. So much is gossiped then that a few nodes
// miss a few of the others, and would until the next regular exchange.
func (g *gossip) keepWhole(ctx context.Context, on *ground) {
	for {
		for range cap(g.returns) {
			select {
			case <-g.returns:
			case <-ctx.Done():
				return
			}
		}
		if !clock.Sleep(ctx, time.Second+rand.N(3*time.Second)) {
			return
		}
		for len(g.returns) > 0 {
			<-g.returns
		}
		if p := roster.Partners(on.views.Get()); len(p) > 0 {
			if err := g.joinNode(ctx, p[rand.IntN(len(p))]); err != nil {
				on.log.Debug("gossip exchange failed", "error", err)
			}
		}
	}
}
