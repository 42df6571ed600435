package mesh

import (
	"context"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/view"
)

// Node is a running node of a mesh. All methods may be used concurrently.
type Node struct {
	*ground
	cfg    Config
	seams  seams
	mesh   view.MeshID
	subkey func(purpose string) [32]byte
	dir    *directory
	inbox  *inbox
	meters *meters
	leave  leaving

	// Each conversation knows those above it alone, and none the node.
	names     *names
	places    *places
	own       *ownEntry
	troubles  *troubles
	where     *whereabouts
	calls     *handlers
	rosters   *rosters
	refusals  *refusals
	caller    *caller
	evictions *evictions
	prober    *prober
	contest   *nameContest
	reception *reception
	meetings  *meetings
	seeker    *seeker
	topics    *topics
	desk      *desk
	traits    *traits
	spreading *spreading
	gossip    *gossip // nil until the link is open
}

// newNode returns a node that has all its parts but those that speak with others: see
// openParts.
func newNode(cfg Config, s seams, keys *identity.Keys, dir *directory) *Node {
	id := dir.id.Node
	if cfg.Name == "" {
		cfg.Name = id.String()
	}
	g := &ground{
		life: newLife(cfg.Logger.With("node", id.String()), dir.endIdentity),
		id:   id, boot: dir.id.Boot, instance: s.instance, pace: cfg.Profile.watchPace(),
		clock: s.clock, started: time.Now(), views: &notify.Value[view.View]{}, work: lifecycle.NewGroup(context.Background()),
	}
	if g.instance == 0 {
		g.instance = random64()
	}
	n := &Node{
		ground: g, cfg: cfg, seams: s, mesh: keys.Authority.Mesh, subkey: keys.Subkey, dir: dir,
		inbox: newInbox(), meters: newMeters(id), leave: leaving{turn: make(chan struct{}, 1)},
		names: newNames(s.lookup), places: newPlaces(), calls: newHandlers(g, cfg.AllowAdmin),
		own: &ownEntry{ground: g, name: cfg.Name, zone: cfg.Zone, weight: cfg.Weight, storing: cfg.Storing},
	}
	n.shut = n.shutDownAll
	n.troubles = &troubles{log: g.log, inbox: n.inbox, views: g.views}
	n.where = newWhereabouts(n.own, cfg, n.mesh, n.names, s)
	n.places.loadKept(dir.places, dir.roster)
	g.book = newBook(dir.roster, func(r roster.Roster) error {
		return n.places.writeAll(func(all []wire.Places) error { return dir.writeRoster(r, all) })
	}, g.isAlive, g.log)
	g.book.fresh, g.book.excess = n.places.hasUnwritten, n.troubles.toldOfTooMany
	n.addConversations()
	return n
}

// addConversations adds what speaks with other nodes.
func (n *Node) addConversations() {
	g := n.ground
	call := func(ctx context.Context, peer view.NodeID, method string, req []byte) ([]byte, error) {
		return g.link.Call(ctx, peer, method, req)
	}
	n.rosters = newRosters(g, call)
	n.rosters.examine = (&hearsay{ground: g, rosters: n.rosters}).examineClaim
	n.refusals = &refusals{ground: g, own: n.own, rosters: n.rosters, troubles: n.troubles, inbox: n.inbox, leaving: n.leave.hasBegun}
	n.caller = &caller{ground: g, handlers: n.calls, refusals: n.refusals, inbox: n.inbox, meters: n.meters}
	n.evictions = &evictions{ground: g, call: call}
	n.prober = &prober{
		ground: g, inbox: n.inbox, refusals: n.refusals, call: n.caller.callNode,
		questions: make(chan question), slots: make(chan struct{}, maxProbes),
	}
	n.contest = &nameContest{ground: g, own: n.own, prober: n.prober}
	n.reception = &reception{ground: g, own: n.own, inbox: n.inbox, places: n.places, refusals: n.refusals, admin: n.cfg.AllowAdmin}
	n.meetings = &meetings{ground: g, inbox: n.inbox, rosters: n.rosters, refusals: n.refusals, places: n.places, troubles: n.troubles}
	n.seeker = &seeker{
		ground: g, seeds: n.cfg.Seeds, own: n.own, names: n.names, beacon: &n.where.beacon,
		meetings: n.meetings, troubles: n.troubles,
	}
	n.topics = newTopics(g.id, g.boot, g.clock.Boot, g.book.snapshot, call)
	n.traits = newTraits(g.id, g.boot, g.uptime, g.book.snapshot, call)
	n.traits.sayOwn(n.cfg.Tags, n.cfg.Capabilities)
	n.spreading = &spreading{
		ground: g, rosters: n.rosters, traits: n.traits, topics: n.topics, refusals: n.refusals, troubles: n.troubles,
		strange: make(chan view.NodeID, 1),
	}
	n.desk = &desk{ground: g, topics: n.topics, publish: n.Publish, next: n.nextMessage, all: map[uint64]*deskSubscription{}}
	n.calls.byMethod[wire.MethodAdminPublish], n.calls.byMethod[wire.MethodAdminSubscribe] = n.desk.answerPublish, n.desk.answerSubscribe
	n.calls.byMethod[methodView], n.calls.byMethod[methodEvict] = n.answerView, n.answerEvict
	n.calls.inner = map[string]handler{
		methodSums: n.rosters.exchanger.ServeSums, methodSwap: n.rosters.exchanger.ServeSwap, methodRelics: n.rosters.answerRelics,
		methodTraitSums: n.traits.exchanger.ServeSums, methodTraits: n.traits.exchanger.ServeSwap, methodTraitBulk: n.traits.exchanger.ServeBulk,
		methodMessageSums: n.topics.exchanger.ServeSums, methodMessages: n.topics.exchanger.ServeSwap,
		methodGiveUp: n.evictions.answerGiveUp, methodReach: n.prober.answerReach,
	}
}

// newWatcher returns what watches who lives.
func (n *Node) newWatcher() *watcher {
	return &watcher{
		ground: n.ground, mesh: n.mesh, inbox: n.inbox, questions: n.prober.questions, own: n.own, said: n.traits, topics: n.topics,
		places: n.places, troubles: n.troubles, leaving: n.leave.hasBegun,
		efforts: efforts{probe: n.prober.probeMember, redial: n.meetings.redialMember, seek: n.seeker.seekSeeds, returned: n.gossip.noteReturn},
	}
}
