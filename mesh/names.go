package mesh

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
)

const (
	// maxSeedAddrs is how many addresses of one seed are tried at once.
	maxSeedAddrs = 8
	// maxKnownAddrs is how many addresses of one name are looked at.
	maxKnownAddrs = 1024
	// lookupPatience is how long an answer of DNS is waited for. Where the first
	// server is dead it takes 5 to 20 s until the next one was asked.
	lookupPatience = time.Minute
)

// lookupHost asks the host's resolver.
func lookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// names asks DNS apart from dialling, and remembers the last answers. A name is
// asked about once at a time.
type names struct {
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	mu     sync.Mutex
	byHost map[string]*nameRecord
}

// nameRecord is what is known of one name.
type nameRecord struct {
	asking chan struct{} // closed when the question under way has ended; nil: none is
	addrs  []netip.Addr  // of the last answer that was one
	err    error         // of the last question
	turn   uint64
	tried  map[netip.Addr]uint64 // in which turn
}

func newNames(lookup func(context.Context, string) ([]netip.Addr, error)) *names {
	return &names{lookup: lookup, byHost: map[string]*nameRecord{}}
}

func (s *names) nameLocked(host string) *nameRecord {
	n := s.byHost[host]
	if n == nil {
		n = &nameRecord{tried: map[netip.Addr]uint64{}}
		s.byHost[host] = n
	}
	return n
}

// askDNS asks about a name, unless that is under way. The channel is closed when the
// question has ended.
func (s *names) askDNS(group *lifecycle.Group, host string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nameLocked(host)
	if n.asking != nil {
		return n.asking
	}
	asking := make(chan struct{})
	n.asking = asking
	if !group.Go(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, lookupPatience)
		defer cancel()
		addrs, err := s.lookup(ctx, host)
		s.noteAnswer(n, addrs, err)
	}) {
		n.asking = nil
		close(asking)
	}
	return asking
}

// noteAnswer takes in the end of a question.
func (s *names) noteAnswer(n *nameRecord, addrs []netip.Addr, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(n.asking)
	n.asking, n.err = nil, err
	if err != nil {
		return // the answer before may still be right
	}
	n.addrs = nil
	for _, a := range addrs[:min(len(addrs), maxKnownAddrs)] {
		if a = a.Unmap(); !slices.Contains(n.addrs, a) {
			n.addrs = append(n.addrs, a)
		}
	}
	for a := range n.tried {
		if !slices.Contains(n.addrs, a) {
			delete(n.tried, a)
		}
	}
}

// lastAnswer returns the last answer about a name, and how the last question ended.
func (s *names) lastAnswer(host string) ([]netip.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nameLocked(host)
	return slices.Clone(n.addrs), n.err
}

// beginTurn begins a turn of trying the addresses of a name.
func (s *names) beginTurn(host string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nameLocked(host)
	n.turn++
	return n.turn
}

// takeAddrs returns the addresses of a name to try in a turn: those that were not
// tried for longest, so that each has its turn, however many do not answer.
func (s *names) takeAddrs(host string, turn uint64) []netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nameLocked(host)
	var out []netip.Addr
	for _, a := range n.addrs {
		if n.tried[a] < turn {
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, func(a, b netip.Addr) int { return int(int64(n.tried[a]) - int64(n.tried[b])) })
	out = out[:min(len(out), maxSeedAddrs)]
	for _, a := range out {
		n.tried[a] = turn
	}
	return out
}
