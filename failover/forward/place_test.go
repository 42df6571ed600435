package forward

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/failover/route"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

func routeTo(node view.NodeID, address string) route.Route {
	return route.Route{Service: "press", Node: node, Address: address, Token: token.Token{Term: 1, Node: node}}
}

// change is what a route is from some time on.
type change struct {
	after time.Duration
	to    route.Route
}

// dialled is what dialling an address does: it takes so long, and works from some time on.
type dialled struct {
	takes time.Duration
	works time.Duration // -1: never
}

func TestAClientWaitsForTheService(t *testing.T) {
	ms := time.Millisecond
	for name, c := range map[string]struct {
		changes []change
		dials   map[string]dialled
		at      string        // where the client is connected; empty: it is not
		after   time.Duration // when it is, or is closed
		tries   []string
	}{
		"it is there":      {[]change{{0, routeTo(1, "a:1")}}, map[string]dialled{"a:1": {10 * ms, 0}}, "a:1", 10 * ms, []string{"a:1"}},
		"it is nowhere":    {nil, nil, "", 2000 * ms, nil},
		"it comes in time": {[]change{{1500 * ms, routeTo(1, "a:1")}}, map[string]dialled{"a:1": {10 * ms, 0}}, "a:1", 1510 * ms, []string{"a:1"}},
		"it comes late":    {[]change{{2500 * ms, routeTo(1, "a:1")}}, map[string]dialled{"a:1": {}}, "", 2000 * ms, nil},
		"it answers late":  {[]change{{0, routeTo(1, "a:1")}}, map[string]dialled{"a:1": {10 * ms, 200 * ms}}, "a:1", 230 * ms, []string{"a:1", "a:1", "a:1"}},
		"its host has died": {[]change{{0, routeTo(1, "a:1")}, {700 * ms, routeTo(2, "b:1")}},
			map[string]dialled{"a:1": {time.Hour, -1}, "b:1": {10 * ms, 0}}, "b:1", 710 * ms, []string{"a:1", "b:1"}},
		"its host says nothing": {[]change{{0, routeTo(1, "a:1")}}, map[string]dialled{"a:1": {time.Hour, -1}}, "", 2000 * ms, []string{"a:1", "a:1"}},
		"it has no port":        {[]change{{0, routeTo(1, "a")}}, nil, "", 2000 * ms, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newForwarder(Config{Service: "press"}.withDefaults())
				begin := time.Now()
				var tries []string
				f.dial = func(ctx context.Context, address string) (*net.TCPConn, error) {
					tries = append(tries, address)
					d := c.dials[address]
					select {
					case <-ctx.Done():
						return nil, ctx.Err()
					case <-time.After(d.takes):
					}
					if d.works < 0 || time.Since(begin) < d.works {
						return nil, errors.New("refused")
					}
					return &net.TCPConn{}, nil
				}
				routes, end := make(chan route.Route, 1), make(chan struct{})
				f.works.Go(func(context.Context) { f.followRoute(routes) })
				f.works.Go(func(context.Context) {
					defer close(routes)
					for _, ch := range c.changes {
						time.Sleep(ch.after - time.Since(begin))
						routes <- ch.to
					}
					<-end
				})
				p, server := f.reachService(t.Context())
				if took := time.Since(begin); (server != nil) != (c.at != "") || took != c.after || !slices.Equal(tries, c.tries) {
					t.Errorf("connected: %v after %v by %v, want %q after %v by %v", server != nil, took, tries, c.at, c.after, c.tries)
				}
				if server != nil && (p.address != c.at || p.ctx.Err() != nil) {
					t.Errorf("connected to %s, %v, want %s", p.address, p.ctx.Err(), c.at)
				}
				time.Sleep(time.Second)
				close(end)
				f.works.Close()
				if p != nil && p.ctx.Err() == nil {
					t.Error("the place is still one")
				}
			})
		})
	}
}

// TestWhatMovesAService tells changes of the route that end connections from others.
func TestWhatMovesAService(t *testing.T) {
	first := routeTo(1, "10.0.0.1:80")
	later := first
	later.Token.Term++
	other := routeTo(2, "10.0.0.1:80") // a floating address
	for name, c := range map[string]struct {
		next route.Route
		ends bool
	}{
		"the same":         {first, false},
		"a later token":    {later, false},
		"another node":     {other, true},
		"another address":  {routeTo(1, "10.0.0.2:80"), true},
		"another port":     {routeTo(1, "10.0.0.1:81"), true},
		"nowhere":          {route.Route{}, true},
		"no place for TCP": {routeTo(1, "http://press/"), true},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newForwarder(Config{Service: "press"}.withDefaults())
			defer f.works.Close()
			routes := make(chan route.Route)
			defer close(routes)
			f.works.Go(func(context.Context) { f.followRoute(routes) })
			routes <- first
			synctest.Wait()
			p := f.now.Get()
			if p.address != first.Address || p.ctx.Err() != nil {
				t.Fatalf("it is at %q", p.address)
			}
			routes <- c.next
			if time.Sleep(goneFor / 2); c.next == (route.Route{}) && p.ctx.Err() != nil {
				t.Errorf("%s: it is nowhere for a moment, and connections have ended", name)
			}
			time.Sleep(goneFor)
			if ends := p.ctx.Err() != nil; ends != c.ends {
				t.Errorf("%s: connections end: %v", name, ends)
			}
		})
	}
}

// TestARouteThatIsGoneForAMoment is that of a service whose node has got another token: what it
// says under that comes behind the word that there is one.
func TestARouteThatIsGoneForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newForwarder(Config{Service: "press"}.withDefaults())
		defer f.works.Close()
		routes := make(chan route.Route)
		defer close(routes)
		f.works.Go(func(context.Context) { f.followRoute(routes) })
		first := routeTo(1, "10.0.0.1:80")
		routes <- first
		synctest.Wait()
		p := f.now.Get()
		for range 5 {
			routes <- route.Route{}
			time.Sleep(goneFor / 2)
			first.Token.Term++
			routes <- first
			time.Sleep(2 * goneFor)
		}
		if p.address != first.Address || p.ctx.Err() != nil {
			t.Errorf("it was at %q, %v", p.address, p.ctx.Err())
		}
	})
}

func TestTheForwarderKnowsItself(t *testing.T) {
	own := func() ([]net.Addr, error) {
		return []net.Addr{&net.IPNet{IP: net.IPv4(10, 0, 0, 1)}, &net.IPNet{IP: net.ParseIP("2001:db8::1")}, &net.IPNet{IP: net.ParseIP("fe80::1")}}, nil
	}
	for _, c := range []struct {
		listener, to string
		itself       bool
	}{
		{"10.0.0.1:80", "10.0.0.1:80", true},
		{"10.0.0.1:80", "[::ffff:10.0.0.1]:80", true},
		{"10.0.0.1:80", "10.0.0.1:81", false},
		{"10.0.0.1:80", "10.0.0.2:80", false},
		{"10.0.0.1:80", "127.0.0.1:80", false},
		{"127.0.0.1:80", "0.0.0.0:80", true},
		{"0.0.0.0:80", "0.0.0.0:80", true},
		{"0.0.0.0:80", "[::]:80", true},
		{"0.0.0.0:80", "10.0.0.1:80", true},
		{"0.0.0.0:80", "10.0.0.2:80", false},
		{"0.0.0.0:80", "127.3.2.1:80", true},
		{"0.0.0.0:80", "10.0.0.1:81", false},
		{"[::]:80", "[2001:db8::1]:80", true},
		{"[::]:80", "[fe80::1%eth0]:80", true},
		{"[::]:80", "10.0.0.1:80", true},
		{"[::]:80", "[2001:db8::2]:80", false},
	} {
		if got := leadsTo(netip.MustParseAddrPort(c.to), netip.MustParseAddrPort(c.listener), own); got != c.itself {
			t.Errorf("listening at %s, %s leads to itself: %v", c.listener, c.to, got)
		}
	}
}
