package link

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// budget is an amount that may be taken up to a limit.
type budget struct {
	limit   int64
	used    atomic.Int64
	refused atomic.Uint64 // how often takeForPayload did not
}

// tryTake takes n or nothing.
func (b *budget) tryTake(n int) bool {
	if b.used.Add(int64(n)) <= b.limit {
		return true
	}
	b.used.Add(-int64(n))
	return false
}

func (b *budget) giveBack(n int) { b.used.Add(-int64(n)) }

// isTight tells that little is left: what is not begun needs not be given up.
func (b *budget) isTight() bool { return b.used.Load() >= b.limit/4*3 }

// keyLimiter counts what is under way, in all and for each key.
type keyLimiter[K comparable] struct {
	total, perKey int

	mu sync.Mutex
	n  int
	of map[K]int
}

func newKeyLimiter[K comparable](total, each int) *keyLimiter[K] {
	return &keyLimiter[K]{total: total, perKey: each, of: map[K]int{}}
}

// acquireSlot lets one more in, or reports false. Who enters must leave.
func (g *keyLimiter[K]) acquireSlot(key K) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n >= g.total || g.of[key] >= g.perKey {
		return false
	}
	g.n++
	g.of[key]++
	return true
}

func (g *keyLimiter[K]) releaseSlot(key K) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	if g.of[key]--; g.of[key] == 0 {
		delete(g.of, key)
	}
}

// addrPort reads the address of a connection's other end. IPv4 in IPv6 is
// unwrapped, so that one node has one address whatever socket it came by.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	default:
		if a != nil {
			ap, _ = netip.ParseAddrPort(a.String())
		}
	}
	return unmapAddr(ap)
}

func unmapAddr(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
