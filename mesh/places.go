package mesh

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// maxPlaces is how many addresses of one member are remembered beside that of
// the roster.
const maxPlaces = 4

// places remembers where else members were, or were said to be: one that moves
// to and fro, that has two ways into the network, or that makes another address
// known than it has, is looked for there when it does not answer where the
// roster says.
//
// They are kept on disk with the roster: what was learnt of others before a power cut
// is all that a node has to find them by when their addresses were dealt anew meanwhile.
type places struct {
	mu       sync.Mutex
	byMember map[view.NodeID]*place
	changes  uint64 // so many, of what is kept on disk
	kept     uint64 // of them are on disk
}

// placesPause is the least time between two writes of the roster for the sake of
// places alone.
const placesPause = time.Minute

type place struct {
	listed netip.AddrPort   // what the roster says
	proved netip.AddrPort   // where it answered, while the roster says what it said then
	others []netip.AddrPort // the latest first
}

func newPlaces() *places { return &places{byMember: map[view.NodeID]*place{}} }

func (s *places) placeLocked(id view.NodeID) *place {
	p := s.byMember[id]
	if p == nil {
		p = &place{}
		s.byMember[id] = p
	}
	return p
}

// noteListed notes what the roster says of a member, and tells whether that is another
// address than before; a later word there counts for more than where it was found
// before.
func (s *places) noteListed(id view.NodeID, addr netip.AddrPort) (moved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.placeLocked(id)
	if p.listed == addr {
		return false
	}
	moved = p.listed.IsValid()
	s.rememberLocked(p, p.proved)
	s.rememberLocked(p, p.listed)
	p.listed, p.proved = addr, netip.AddrPort{}
	return moved
}

// noteSuggested notes where a member may be.
func (s *places) noteSuggested(id view.NodeID, addr netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rememberLocked(s.placeLocked(id), addr)
}

// noteProved notes where a member answered.
func (s *places) noteProved(id view.NodeID, addr netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.placeLocked(id)
	if s.rememberLocked(p, p.proved); addr == p.listed {
		p.proved = netip.AddrPort{}
		return
	}
	p.proved = addr
	s.rememberLocked(p, addr)
}

// forgetMember forgets a member that is gone.
func (s *places) forgetMember(id view.NodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byMember, id)
}

// rememberLocked puts an address first. Only a new one is worth a write.
func (s *places) rememberLocked(p *place, addr netip.AddrPort) {
	if a := addr.Addr(); !addr.IsValid() || addr.Port() == 0 || a.IsUnspecified() || a.IsMulticast() {
		return
	}
	if i := slices.Index(p.others, addr); i >= 0 {
		p.others = slices.Delete(p.others, i, i+1)
	} else {
		s.changes++
	}
	p.others = slices.Insert(p.others, 0, addr)
	p.others = p.others[:min(len(p.others), maxPlaces)]
}

// loadKept takes in what was kept of members that belong to the mesh still.
func (s *places) loadKept(kept []wire.Places, r roster.Roster) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range kept {
		if e, ok := r.Get(m.ID); !ok || e.Status.Gone() {
			continue
		}
		for _, addr := range slices.Backward(m.Addrs) {
			s.rememberLocked(s.placeLocked(m.ID), addr)
		}
	}
	s.kept = s.changes
}

// hasUnwritten tells whether there is something that is not on disk.
func (s *places) hasUnwritten() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes != s.kept
}

// writeAll has all of them written, in order of their ids.
func (s *places) writeAll(write func([]wire.Places) error) error {
	s.mu.Lock()
	changes := s.changes
	var all []wire.Places
	for _, id := range slices.Sorted(maps.Keys(s.byMember)) {
		if others := s.byMember[id].others; len(others) > 0 {
			all = append(all, wire.Places{ID: id, Addrs: slices.Clone(others)})
		}
	}
	s.mu.Unlock()
	if err := write(all); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = changes
	return nil
}

// keepPlaces has the places written that no change of the roster takes along.
func (s *places) keepPlaces(ctx context.Context, b *book) {
	for clock.Sleep(ctx, placesPause) {
		if s.hasUnwritten() {
			_ = b.updateRoster(ctx, func(r roster.Roster) (roster.Roster, error) { return r, nil }) // which logs it
		}
	}
}

// addrOf returns where to reach a member, given what the roster says.
func (s *places) addrOf(id view.NodeID, listed netip.AddrPort) netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.byMember[id]; p != nil && p.listed == listed && p.proved.IsValid() {
		return p.proved
	}
	return listed
}

// otherAddrs returns where a member may be that does not answer where find says.
func (s *places) otherAddrs(id view.NodeID) []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.byMember[id]
	if p == nil {
		return nil
	}
	var out []netip.AddrPort
	for _, a := range append([]netip.AddrPort{p.listed}, p.others...) {
		if a.IsValid() && a != p.proved && (p.proved.IsValid() || a != p.listed) {
			out = append(out, a)
		}
	}
	return out
}

// resolveAddr is the only source of addresses that are sent to.
func (s *places) resolveAddr(b *book, id view.NodeID) (netip.AddrPort, bool) {
	e, ok := b.snapshot().Get(id)
	return s.addrOf(id, e.Addr), ok && e.Status != view.Evicted
}
