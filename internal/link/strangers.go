package link

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// strangers holds the connections that have not proved yet who they are. It
// is bounded in all and for each site. A newcomer that does not fit takes the
// place of the oldest of the largest site, so that whoever floods pushes out
// its own and a peer from elsewhere gets through; but nobody is pushed out
// within the grace, or many peers that come at once would only push each
// other out.
type strangers struct {
	total, perSite int
	grace          time.Duration

	mu    sync.Mutex
	n     int
	sites map[netip.Prefix][]stranger // oldest first
}

type stranger struct {
	conn  net.Conn
	since time.Time
}

func newStrangers(total, perSite int, grace time.Duration) *strangers {
	return &strangers{total: total, perSite: perSite, grace: grace, sites: map[netip.Prefix][]stranger{}}
}

// siteOf is what a stranger can be held to: an IPv4 address or an IPv6 /64.
func siteOf(addr netip.Addr) netip.Prefix {
	bits := 32
	if addr = addr.Unmap().WithZone(""); addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits)
	return p
}

// admitConn takes a connection in, if it may stay. It returns the one that has to
// go for it, if any; the caller closes that.
func (s *strangers) admitConn(c net.Conn) (out net.Conn, ok bool) {
	site, now := siteOf(addrPort(c.RemoteAddr()).Addr()), time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	from, full := site, len(s.sites[site]) >= s.perSite
	if !full && s.n >= s.total {
		full = true
		for other, conns := range s.sites {
			if len(conns) > len(s.sites[from]) {
				from = other
			}
		}
	}
	if full {
		oldest := s.sites[from][0]
		if now.Sub(oldest.since) < s.grace {
			return nil, false
		}
		out = oldest.conn
		s.removeLocked(from, 0)
	}
	s.sites[site] = append(s.sites[site], stranger{c, now})
	s.n++
	return out, true
}

// removeConn forgets a connection, if it was not pushed out already.
func (s *strangers) removeConn(c net.Conn) {
	site := siteOf(addrPort(c.RemoteAddr()).Addr())
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.sites[site] {
		if other.conn == c {
			s.removeLocked(site, i)
			return
		}
	}
}

func (s *strangers) removeLocked(site netip.Prefix, i int) {
	conns := s.sites[site]
	if len(conns) == 1 {
		delete(s.sites, site)
	} else {
		copy(conns[i:], conns[i+1:])
		conns[len(conns)-1] = stranger{}
		s.sites[site] = conns[:len(conns)-1]
	}
	s.n--
}
