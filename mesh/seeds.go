package mesh

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/mesh/view"
)

// seedHost returns host and port of a seed, and the address if host is one.
func seedHost(seed string) (host string, port uint16, literal netip.Addr, err error) {
	host, text, err := splitSeed(seed)
	if err != nil {
		return "", 0, literal, err
	}
	p, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, literal, err
	}
	if a, err := netip.ParseAddr(host); err == nil {
		literal = a.Unmap()
	}
	return host, uint16(p), literal, nil
}

// attempts are goroutines of a node that somebody waits for.
type attempts struct {
	node *Node
	all  sync.WaitGroup
}

func (a *attempts) runAttempt(fn func(ctx context.Context)) {
	a.all.Add(1)
	if !a.node.work.Go(func(ctx context.Context) { defer a.all.Done(); fn(ctx) }) {
		a.all.Done()
	}
}

// greetAll tries all addresses at once.
func (a *attempts) greetAll(port uint16, addrs ...netip.Addr) {
	for _, addr := range addrs {
		a.runAttempt(func(ctx context.Context) { a.node.greetAddr(ctx, netip.AddrPortFrom(addr, port)) })
	}
}

// seekSeeds tries the seeds, and what mDNS finds, that do not belong to the mesh
// as far as this node sees it. The detector says when.
func (n *Node) seekSeeds(ctx context.Context) {
	a := &attempts{node: n}
	for _, seed := range n.cfg.Seeds {
		host, port, literal, err := seedHost(seed)
		switch {
		case err != nil:
			n.log.Debug("seed not found", "seed", seed, "error", err)
		case literal.IsValid():
			a.greetAll(port, literal)
		default:
			a.runAttempt(func(ctx context.Context) { n.seekName(ctx, host, port) })
		}
	}
	if d := n.beacon.discoveryInUse(); d != nil {
		a.runAttempt(func(ctx context.Context) {
			finding, cancel := context.WithTimeout(ctx, n.pace.dial)
			defer cancel()
			for _, addr := range d.findNodes(finding) {
				a.greetAll(addr.Port(), addr.Addr())
			}
		})
	}
	a.all.Wait()
	n.judgeSeeds()
}

// troubleSeeds is the key of what judgeSeeds says.
const troubleSeeds = "seeds"

// judgeSeeds says so when this node has met nobody, ever, by the seeds that it was
// given.
func (n *Node) judgeSeeds() {
	if len(n.cfg.Seeds) == 0 || n.uptime() < seedPatience || n.wasAdmitted.Load() || n.book.snapshot().Len() > 1 || n.troubles.isNoted(troubleFull) {
		return
	}
	for _, seed := range n.cfg.Seeds {
		host, port, literal, _ := seedHost(seed)
		if own := n.ownAddr.Load(); literal == own.Addr() && port == own.Port() {
			return // others look for this node
		}
		if _, err := n.names.lastAnswer(host); err != nil && !literal.IsValid() {
			n.raiseTrouble(troubleSeeds, view.Problem{Kind: view.ProblemSeedUnknown, Where: []string{seed}, Text: err.Error()}, 0)
			return
		}
	}
	n.raiseTrouble(troubleSeeds, view.Problem{Kind: view.ProblemNobodyMet, Where: slices.Clone(n.cfg.Seeds)}, 0)
}

// strangerAt says that somebody at an address, or who dials from there, runs this
// program for another mesh.
func (n *Node) strangerAt(addr netip.Addr, kind view.ProblemKind) {
	n.raiseTrouble("stranger "+addr.String(), view.Problem{Kind: kind, Where: []string{addr.String()}}, strangerComesBack)
}

// onStranger is told by the link of one that dials us.
func (n *Node) onStranger(from netip.AddrPort) { n.strangerAt(from.Addr(), view.ProblemStranger) }

// seekName tries the addresses of a name: those known from the last answer at
// once, others when the answer is there. One that takes longer than an attempt
// at meeting is not waited for: the next turn has it.
func (n *Node) seekName(ctx context.Context, host string, port uint16) {
	turn := n.names.beginTurn(host)
	a := &attempts{node: n}
	a.greetAll(port, n.names.takeAddrs(host, turn)...)
	done := n.names.askDNS(n.work, host)
	patience := time.NewTimer(n.pace.dial)
	defer patience.Stop()
	select {
	case <-done:
		if _, err := n.names.lastAnswer(host); err != nil {
			n.log.Debug("seed not found", "seed", host, "error", err)
		}
		a.greetAll(port, n.names.takeAddrs(host, turn)...)
	case <-patience.C:
	case <-ctx.Done():
	}
	a.all.Wait()
}

// greetAddr meets whoever is at an address that the user gave, unless that is a
// member in contact, or this node itself.
func (n *Node) greetAddr(ctx context.Context, addr netip.AddrPort) {
	for _, m := range n.View().Members {
		if m.Addr == addr && (m.State == view.Alive || m.ID == n.id) {
			return
		}
	}
	err := n.meetAt(ctx, addr)
	switch {
	case err == nil:
		n.endTrouble("stranger " + addr.Addr().String())
	case errors.Is(err, link.ErrUntrusted):
		n.strangerAt(addr.Addr(), view.ProblemStrangeSeed)
	}
	if err != nil && !errors.Is(err, link.ErrSelf) {
		n.log.Debug("seed not met", "addr", addr, "error", err)
	}
}

// meetAt meets whoever is at an address.
func (n *Node) meetAt(ctx context.Context, addr netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, n.pace.dial)
	defer cancel()
	var peer link.Peer
	try := func() (err error) {
		if peer, err = n.link.Greet(ctx, addr); err == nil {
			err = n.meetNode(ctx, peer.ID)
		}
		return err
	}
	err := try()
	if n.heedRefusal(peer.ID, err) {
		err = try()
	}
	return err
}
