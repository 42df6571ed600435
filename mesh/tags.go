package mesh

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/epidemic"
	"github.com/skeinmesh/skein/internal/exchange"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Methods by which traits travel: see internal/exchange. Releases without tags do not
// know them.
const (
	methodTraitSums = "mesh/trait-sums"
	methodTraits    = "mesh/traits"
	methodTraitBulk = "mesh/trait-bulk"
)

const (
	maxTraitReads = 2                // messages with traits that are read at a time
	traitPatience = 30 * time.Second // for each of them to be answered: 64 KiB on a slow link
	traitTurn     = 2 * time.Minute  // for all of a comparison; then it is the turn of another peer
)

// traits keep what each node says of itself, this one too: its tags and capabilities.
// They lie beside the roster and not in it, for the roster is written to every disk
// whenever it changes. They are compared whenever rosters are, and behind them: of a life
// of a node that the roster does not know nothing is believed.
type traits struct {
	*exchange.Table[view.NodeID, wire.NoticeVersion, wire.Traits]
	exchanger exchange.Exchanger[view.NodeID, wire.NoticeVersion, wire.Traits]
	self      view.NodeID
	boot      uint64

	mu   sync.Mutex
	due  []view.NodeID // to be compared with, each once; guarded by mu
	some notify.Bell   // there are such
}

type callPeer = func(ctx context.Context, peer view.NodeID, method string, req []byte) ([]byte, error)

func newTraits(self view.NodeID, boot uint64, now func() time.Duration, latest func() *snapshot, call callPeer) *traits {
	rule := epidemic.RuleOfOwnWords(self, wire.Traits.Sum, func(_ time.Duration, held, told wire.Traits) wire.Traits {
		return wire.Traits{Node: self, Boot: boot, Seq: told.Seq}.SayNext(held.Said)
	})
	believe := func() func(wire.NoticeSum) bool {
		r := latest()
		return func(s wire.NoticeSum) bool { return r.MaySay(s.Key, s.Version) }
	}
	t := &traits{Table: exchange.NewTable(rule, now, believe), self: self, boot: boot, some: notify.NewBell()}
	patient := func(ctx context.Context, peer view.NodeID, method string, req []byte) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, traitPatience)
		defer cancel()
		return call(ctx, peer, method, req)
	}
	t.exchanger = exchange.Exchanger[view.NodeID, wire.NoticeVersion, wire.Traits]{
		Set: t.Table,
		Words: exchange.Words[view.NodeID, wire.NoticeVersion, wire.Traits]{
			AppendQuery: wire.AppendNoticeSums, DecodeQuery: wire.DecodeNoticeSums,
			AppendSums: wire.AppendNoticeSums, DecodeSums: wire.DecodeNoticeSums,
			AppendSwap: wire.AppendTraitsSwap, DecodeSwap: wire.DecodeTraitsSwap,
		},
		SumsMethod: methodTraitSums, SwapMethod: methodTraits, Call: patient, Reads: make(chan struct{}, maxTraitReads),
		Size: func(e wire.Traits) int { return len(e.Said) }, Bulk: t.Bulk(), BulkMethod: methodTraitBulk,
	}
	return t
}

// sayOwn has this node say from now on that it has these tags and capabilities, which
// were found without fault.
func (t *traits) sayOwn(tags map[string]string, capabilities []string) {
	said := wire.EncodeTraits(tags, slices.Sorted(slices.Values(capabilities)))
	t.Change(t.self, func(_ time.Duration, held wire.Traits) (wire.Traits, bool) {
		return wire.Traits{Node: t.self, Boot: t.boot, Seq: held.Seq}.SayNext(said), said != held.Said
	})
}

// forgetGone drops what those said that are gone for good.
func (t *traits) forgetGone(r roster.Roster) {
	t.Forget(func(id view.NodeID) bool {
		e, ok := r.Get(id)
		return !ok || e.Status.Gone()
	})
}

// shownTraits are the tags and capabilities of members as Views show them: read once for
// each word of a member, for what the table holds is in no hands but its own.
type shownTraits map[view.NodeID]readTraits

// readTraits is what a node said, and what that is for programs.
type readTraits struct {
	said         string
	tags         map[string]string
	capabilities []string
}

// readHeld reads what is held now, as far as it is new.
func (s shownTraits) readHeld(held map[view.NodeID]epidemic.Held[wire.Traits]) {
	maps.DeleteFunc(s, func(id view.NodeID, _ readTraits) bool { _, ok := held[id]; return !ok })
	for id, h := range held {
		if r, ok := s[id]; !ok || r.said != h.Entry.Said {
			r.said = h.Entry.Said
			r.tags, r.capabilities = roster.ReadTraits(r.said)
			s[id] = r
		}
	}
}

// withOwnTraits returns the view with tags and capabilities that nobody else has: those of
// a View are in the hands of programs, and what they should not change they may change.
func (t *traits) withOwnTraits(v view.View) view.View {
	held := t.All()
	v.Members = slices.Clone(v.Members)
	for i := range v.Members {
		m := &v.Members[i]
		m.Tags, m.Capabilities = roster.ReadTraits(held[m.ID].Entry.Said)
	}
	return v
}

// compareSoon has traits compared with a peer, behind those that wait for it. Where members
// are many that may take minutes, and so is not a part of comparing rosters.
func (t *traits) compareSoon(peer view.NodeID) {
	t.mu.Lock()
	if !slices.Contains(t.due, peer) {
		t.due = append(t.due, peer)
	}
	t.mu.Unlock()
	t.some.Ring()
}

// takeDue returns whom to compare with next.
func (t *traits) takeDue() (peer view.NodeID, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.due) == 0 {
		return 0, false
	}
	peer, t.due = t.due[0], t.due[1:]
	return peer, true
}

// compareWith makes what this node and peer know of traits equal.
func (t *traits) compareWith(ctx context.Context, peer view.NodeID) error {
	ctx, cancel := context.WithTimeout(ctx, traitTurn)
	defer cancel()
	if err := t.exchanger.With(ctx, peer); !errors.Is(callError(err), ErrNoHandler) {
		return err
	}
	return nil
}

// SetTags replaces the tags and the capabilities of this node, within the bounds of
// Config.Tags. It returns at once: Views show them within a second here, and as they
// spread at the others. Of several calls the last one counts everywhere, on all sides of
// a cut once it has healed. Nothing is kept on disk: from the next Start on those of its
// Config hold.
//
// The error is ErrConfig with all faults, and nothing has changed then, or ErrClosed.
func (n *Node) SetTags(tags map[string]string, capabilities []string) error {
	if faults := roster.CheckTraits(tags, capabilities); len(faults) > 0 {
		return fmt.Errorf("%w: %w", ErrConfig, errors.Join(faults...))
	}
	if n.hasStopped() {
		return n.closedError()
	}
	n.traits.sayOwn(tags, capabilities)
	n.inbox.putEvent(event{tagsChanged: true})
	return nil
}

// keepShown has views show what was heard of traits.
func (t *traits) keepShown(ctx context.Context, in *inbox) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.Heard:
			in.putEvent(event{tagsChanged: true})
		}
	}
}
