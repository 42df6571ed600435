package mesh

import (
	"net/netip"
	"slices"
	"sync"

	"github.com/skeinmesh/skein/mesh/view"
)

// maxPlaces is how many addresses of one member are remembered beside that of
// the roster.
const maxPlaces = 4

// places remembers where else members were, or were said to be: one that moves
// to and fro, that has two ways into the network, or that makes another address
// known than it has, is looked for there when it does not answer where the
// roster says.
type places struct {
	mu sync.Mutex
	by map[view.NodeID]*place
}

type place struct {
	listed netip.AddrPort   // what the roster says
	proved netip.AddrPort   // where it answered, while the roster says what it said then
	others []netip.AddrPort // the latest first
}

func newPlaces() *places { return &places{by: map[view.NodeID]*place{}} }

func (s *places) placeLocked(id view.NodeID) *place {
	p := s.by[id]
	if p == nil {
		p = &place{}
		s.by[id] = p
	}
	return p
}

// list notes what the roster says of a member; a later word there counts for
// more than where it was found before.
func (s *places) list(id view.NodeID, addr netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.placeLocked(id)
	if p.listed == addr {
		return
	}
	p.remember(p.proved)
	p.remember(p.listed)
	p.listed, p.proved = addr, netip.AddrPort{}
}

// suggest notes where a member may be.
func (s *places) suggest(id view.NodeID, addr netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.placeLocked(id).remember(addr)
}

// prove notes where a member answered.
func (s *places) prove(id view.NodeID, addr netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.placeLocked(id)
	if p.remember(p.proved); addr == p.listed {
		p.proved = netip.AddrPort{}
		return
	}
	p.proved = addr
	p.remember(addr)
}

// forget forgets a member that is gone.
func (s *places) forget(id view.NodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.by, id)
}

func (p *place) remember(addr netip.AddrPort) {
	if a := addr.Addr(); !addr.IsValid() || addr.Port() == 0 || a.IsUnspecified() || a.IsMulticast() {
		return
	}
	p.others = slices.DeleteFunc(p.others, func(o netip.AddrPort) bool { return o == addr })
	p.others = slices.Insert(p.others, 0, addr)
	p.others = p.others[:min(len(p.others), maxPlaces)]
}

// find returns where to reach a member, given what the roster says.
func (s *places) find(id view.NodeID, listed netip.AddrPort) netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.by[id]; p != nil && p.listed == listed && p.proved.IsValid() {
		return p.proved
	}
	return listed
}

// elsewhere returns where a member may be that does not answer where find says.
func (s *places) elsewhere(id view.NodeID) []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.by[id]
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
