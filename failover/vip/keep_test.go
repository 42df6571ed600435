package vip

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

const (
	lanLease = 1780 * time.Millisecond // what is left of a lease at LAN's pace when it was renewed
	lanGuard = 220 * time.Millisecond  // after which others may lead
	late     = 250 * time.Millisecond  // by how much the system is, at most
)

// kernel is a system in virtual time. It drops an address as late as a real one does.
type kernel struct {
	mu      sync.Mutex
	there   bool
	expires time.Time
	foreign []presence
	fault   error
	spans   [][2]time.Time // when the address was there
	sets    int
	removes int
	tells   []time.Duration // since began
	began   time.Time
	views   meshOf
	stall   func() // if not nil: called when an address is to be set, before it is
}

func (s *kernel) findAddress() ([]presence, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	if s.there {
		return append(s.foreign, presence{1, time.Until(s.expires).Truncate(time.Second)}), s.fault
	}
	return s.foreign, s.fault
}

// expire drops what has expired meanwhile.
func (s *kernel) expire() {
	if gone := s.expires.Add(late); s.there && !time.Now().Before(gone) {
		s.end(gone)
	}
}

func (s *kernel) end(at time.Time) {
	if s.there {
		s.there = false
		s.spans[len(s.spans)-1][1] = at
	}
}

func (s *kernel) setAddress(lifetime time.Duration, isNew bool) error {
	s.mu.Lock()
	stall := s.stall
	s.mu.Unlock()
	if stall != nil {
		stall()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	if s.fault != nil {
		return s.fault
	}
	if isNew && s.there {
		return errLeftover
	}
	if lifetime < time.Second || lifetime%time.Second != 0 {
		return errors.New("no lifetime of whole seconds")
	}
	s.sets++
	if !s.there {
		s.there, s.spans = true, append(s.spans, [2]time.Time{time.Now()})
	}
	s.expires = time.Now().Add(lifetime)
	return nil
}

func (s *kernel) removeAddress() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	if s.fault != nil {
		return s.fault
	}
	s.end(time.Now())
	s.removes++
	return nil
}

func (s *kernel) tellNeighbours() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tells = append(s.tells, time.Since(s.began))
	return s.fault
}

func (s *kernel) Close() error { return nil }

// change has a test change what the system does.
func (s *kernel) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// countTells returns how often the network was told.
func (s *kernel) countTells() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tells)
}

// allSpans returns when the address was there.
func (s *kernel) allSpans() [][2]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.spans)
}

// countSets returns how often the address was set.
func (s *kernel) countSets() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sets
}

func (s *kernel) isThere() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	return s.there
}

// lease is a Lease that tests set.
type lease struct {
	mu   sync.Mutex
	ends time.Time
	log  [][2]time.Time // of each renewal: when it was made, and until when it goes
}

func newLease(left time.Duration) *lease { l := &lease{}; l.renew(left); return l }

func (l *lease) Left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(time.Until(l.ends), 0)
}

func (l *lease) renew(left time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends = time.Now().Add(left)
	l.log = append(l.log, [2]time.Time{time.Now(), l.ends})
}

// covered tells whether somebody who takes the lease for over is right at a time.
func (l *lease) covered(at time.Time) bool {
	for _, r := range l.log {
		if !at.Before(r[0]) && !at.After(r[1]) {
			return true
		}
	}
	return false
}

// meshOf is a Mesh that carries the views of a channel.
type meshOf chan view.View

func (m meshOf) Watch(context.Context) <-chan view.View { return m }

var testConfig = Config{
	Election:  token.Election{Name: "service/press", Scope: token.ScopeMajority},
	Interface: "eth0", Address: netip.MustParsePrefix("10.0.0.100/32"),
}

// inVirtualTime runs a test of an Address on a kernel.
func inVirtualTime(t *testing.T, cfg Config, test func(t *testing.T, a *Address, s *kernel)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &kernel{began: time.Now(), views: make(meshOf)}
		cfg.Mesh = s.views
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
		a := newAddress(cfg, s)
		test(t, a, s)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if s.there {
			t.Error("the address is there behind Close")
		}
		if err := a.Hold(t.Context(), newLease(lanLease)); !errors.Is(err, ErrClosed) {
			t.Errorf("held when closed: %v", err)
		}
	})
}

// TestTheAddressEndsBeforeTheLease lets renewals come late or never, and the process stall at any
// place: the address is nowhere without a lease.
func TestTheAddressEndsBeforeTheLease(t *testing.T) {
	for seed := range uint64(300) {
		inVirtualTime(t, testConfig, func(t *testing.T, a *Address, s *kernel) {
			rng := rand.New(rand.NewPCG(seed, 1))
			random := func(most time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(most))) }
			whole, every := lanLease, 500*time.Millisecond
			if seed%3 == 0 {
				whole, every = 16*time.Second, 3*time.Second
			}
			l := newLease(whole)
			var mu sync.Mutex
			stall := func() {
				mu.Lock()
				var d time.Duration
				if rng.IntN(10) == 0 {
					d = random(2 * whole)
				}
				mu.Unlock()
				time.Sleep(d)
			}
			s.change(func() { s.stall = stall })
			if err := a.Hold(t.Context(), l); err != nil && !errors.Is(err, ErrLease) {
				t.Fatal(err)
			}
			var held time.Duration
			for range 100 {
				mu.Lock()
				wait := every + random(every/4)
				if rng.IntN(8) == 0 {
					wait += random(whole)
				}
				mu.Unlock()
				time.Sleep(wait)
				if l.Left() == 0 {
					break
				}
				l.renew(whole)
			}
			time.Sleep(3 * whole)
			if s.isThere() {
				t.Errorf("seed %d: it is there long after the lease", seed)
			}
			for _, span := range s.allSpans() {
				held += span[1].Sub(span[0])
				if span[1].After(span[0]) && !(l.covered(span[0]) && l.covered(span[1])) {
					t.Errorf("seed %d: it was there from %v to %v, and the lease ended after %v", seed, span[0].Sub(s.began), span[1].Sub(s.began), l.ends.Sub(s.began))
				}
			}
			if held == 0 && len(s.allSpans()) > 0 && seed%3 == 1 && s.countSets() > 20 {
				t.Errorf("seed %d: it was never there", seed)
			}
		})
	}
}

// TestASteadyLeadKeepsTheAddress renews a lease as LAN's pace does, also late at times.
func TestASteadyLeadKeepsTheAddress(t *testing.T) {
	inVirtualTime(t, testConfig, func(t *testing.T, a *Address, s *kernel) {
		l := newLease(lanLease)
		if err := a.Hold(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			time.Sleep(500 * time.Millisecond)
			if i%10 == 0 { // a renewal is lost
				time.Sleep(500 * time.Millisecond)
			}
			if !s.isThere() || a.Check(t.Context()) != nil {
				t.Fatalf("it is gone after %v", time.Since(s.began))
			}
			l.renew(lanLease)
		}
		if len(s.allSpans()) != 1 {
			t.Errorf("it was there %d times", len(s.spans))
		}
		if err := a.Release(t.Context()); err != nil || s.isThere() {
			t.Errorf("released: %v, and there: %v", err, s.isThere())
		}
		if err := a.Check(t.Context()); !errors.Is(err, ErrNotHeld) {
			t.Errorf("released: %v", err)
		}
		sets := s.countSets()
		if time.Sleep(5 * time.Second); s.countSets() != sets {
			t.Error("it is set anew after its release")
		}
	})
}

// TestChecksDoNotHoldUpRenewals asks more often than the address is set anew.
func TestChecksDoNotHoldUpRenewals(t *testing.T) {
	inVirtualTime(t, testConfig, func(t *testing.T, a *Address, s *kernel) {
		if err := a.Hold(t.Context(), newLease(time.Hour)); err != nil {
			t.Fatal(err)
		}
		for range 2000 {
			time.Sleep(50 * time.Millisecond)
			if err := a.Check(t.Context()); err != nil {
				t.Fatalf("after %v: %v", time.Since(s.began), err)
			}
		}
	})
}

// TestAStallBeforeItIsSet freezes the process between its look at the lease and what it does by
// it: the address is not there for a moment longer than it takes to see that.
func TestAStallBeforeItIsSet(t *testing.T) {
	inVirtualTime(t, testConfig, func(t *testing.T, a *Address, s *kernel) {
		l := newLease(lanLease)
		if err := a.Hold(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		frozen := make(chan struct{})
		s.change(func() { s.stall = sync.OnceFunc(func() { close(frozen); time.Sleep(10 * time.Second) }) })
		<-frozen
		time.Sleep(lanLease)
		if s.isThere() {
			t.Error("it is there, and its holder is frozen")
		}
		told := s.countTells()
		time.Sleep(10 * time.Second)
		for i, span := range s.allSpans()[1:] {
			if span[1] != span[0] {
				t.Errorf("span %d: it was there for %v when its holder had gone on", i, span[1].Sub(span[0]))
			}
		}
		if s.countTells() != told {
			t.Error("the network was told of an address that is not here")
		}
	})
}

func TestHoldNeedsALease(t *testing.T) {
	for name, c := range map[string]struct {
		left, renewed, after time.Duration
		err                  error
	}{
		"a whole one":       {left: lanLease},
		"none":              {err: ErrLease},
		"a short one":       {left: 1200 * time.Millisecond, err: ErrLease, after: time.Second},
		"renewed in time":   {left: 1200 * time.Millisecond, renewed: lanLease, after: 400 * time.Millisecond},
		"a second, and all": {left: time.Second + lateness + settingTime},
	} {
		inVirtualTime(t, testConfig, func(t *testing.T, a *Address, s *kernel) {
			l := newLease(c.left)
			go func() {
				for range 30 {
					if time.Sleep(390 * time.Millisecond); c.renewed > 0 {
						l.renew(c.renewed)
					} else if c.left > 0 {
						l.renew(c.left)
					}
				}
			}()
			err := a.Hold(t.Context(), l)
			if took := time.Since(s.began); !errors.Is(err, c.err) || took != c.after || s.isThere() != (err == nil) {
				t.Errorf("%s: %v after %v, there: %v", name, err, took, s.isThere())
			}
			time.Sleep(15 * time.Second)
		})
	}
}

// TestWhatIsThereIsNotTouched has the address be there already.
func TestWhatIsThereIsNotTouched(t *testing.T) {
	for _, foreign := range []presence{{2, -1}, {1, time.Hour}} {
		inVirtualTime(t, testConfig, func(t *testing.T, a *Address, s *kernel) {
			s.foreign = []presence{foreign}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := a.Hold(ctx, newLease(lanLease)); !errors.Is(err, ErrTaken) {
				t.Errorf("%+v: %v", foreign, err)
			}
			if err := a.Release(t.Context()); err != nil || s.sets+s.removes+len(s.tells) > 0 {
				t.Errorf("%+v: set %d times, removed %d times, told %d times: %v", foreign, s.sets, s.removes, len(s.tells), err)
			}
		})
	}
	inVirtualTime(t, testConfig, func(t *testing.T, a *Address, s *kernel) {
		if err := s.setAddress(2*time.Second, true); err != nil { // by a process that was killed
			t.Fatal(err)
		}
		if err := a.Hold(t.Context(), newLease(lanLease+time.Second*2)); err != nil || len(s.allSpans()) != 2 {
			t.Errorf("what a former process has left: %v, %d times", err, len(s.spans))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = a.Release(t.Context())
		_ = s.setAddress(5*time.Second, true)
		if err := a.Hold(ctx, newLease(time.Minute)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nobody waits any more: %v", err)
		}
		s.end(time.Now())
	})
}

// TestTheNetworkIsTold counts what neighbours hear.
func TestTheNetworkIsTold(t *testing.T) {
	inVirtualTime(t, testConfig, func(t *testing.T, a *Address, s *kernel) {
		seen := func(states ...view.State) {
			v := view.View{}
			for i, st := range states {
				v.Members = append(v.Members, view.Member{ID: view.NodeID(i + 1), State: st})
			}
			s.views <- v
		}
		heard := func(during time.Duration) int {
			before := s.countTells()
			time.Sleep(during)
			return s.countTells() - before
		}
		seen(view.Alive, view.Alive, view.Failed)
		if n := heard(20 * time.Second); n != 0 {
			t.Errorf("told %d times, and not held", n)
		}
		if err := a.Hold(t.Context(), newLease(time.Hour)); err != nil || len(s.tells) != 1 {
			t.Fatalf("told %d times: %v", len(s.tells), err)
		}
		if n := heard(1500 * time.Millisecond); n != tellings-1 {
			t.Errorf("told %d times more after a takeover", n)
		}
		if n := heard(time.Minute); n < 5 || n > 6 {
			t.Errorf("told %d times in a minute", n)
		}
		seen(view.Alive, view.Failed, view.Failed)
		if n := heard(time.Second); n > 1 {
			t.Errorf("told %d times of what is gone", n)
		}
		seen(view.Alive, view.Alive, view.Failed)
		if n := heard(1500 * time.Millisecond); n < tellings || s.tells[len(s.tells)-1]-s.tells[len(s.tells)-tellings] > time.Second {
			t.Errorf("told %d times after a heal: %v", n, s.tells)
		}
		s.change(func() { s.stall = sync.OnceFunc(func() { time.Sleep(2 * time.Minute) }) })
		time.Sleep(2*time.Minute + time.Second/2)
		if n := heard(1500 * time.Millisecond); n < tellings-3 {
			t.Errorf("told %d times after a stall", n)
		}
		close(s.views)
		if n := heard(time.Minute); n < 5 || n > 6 {
			t.Errorf("told %d times in a minute without a mesh", n)
		}
	})
}

// TestFaultsOfTheSystem has the system refuse for a while.
func TestFaultsOfTheSystem(t *testing.T) {
	inVirtualTime(t, testConfig, func(t *testing.T, a *Address, s *kernel) {
		refused := errors.New("not permitted")
		s.change(func() { s.fault = refused })
		if err := a.Hold(t.Context(), newLease(time.Hour)); !errors.Is(err, refused) {
			t.Errorf("held: %v", err)
		}
		s.change(func() { s.fault = nil })
		l := newLease(lanLease)
		if err := a.Hold(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		l.renew(time.Hour)
		s.change(func() { s.fault = refused })
		time.Sleep(3 * time.Second)
		if err := a.Check(t.Context()); !errors.Is(err, ErrNotHeld) {
			t.Errorf("it is lost: %v", err)
		}
		s.change(func() { s.fault = nil })
		time.Sleep(time.Second)
		if err := a.Check(t.Context()); err != nil || !s.isThere() {
			t.Errorf("it is back: %v", err)
		}
		l.renew(0)
		time.Sleep(maxRenewal + time.Second)
		if s.isThere() {
			t.Error("it is there without a lead")
		}
	})
}

func TestAllFaultsAreNamed(t *testing.T) {
	_, err := New(Config{Election: token.Election{Name: "service/press", Scope: token.ScopeComponent}, Address: netip.MustParsePrefix("224.0.0.1/32")})
	for _, want := range []string{"Exclusive", "Interface", "224.0.0.1"} {
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named: %v", want, err)
		}
	}
	for _, a := range []netip.Prefix{{}, netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::ffff:10.0.0.1/128")} {
		cfg := testConfig
		if cfg.Address = a; !errors.Is(cfg.Validate(), ErrConfig) {
			t.Errorf("address %v", a)
		}
	}
}

// TestAnAddressThatIsNotRemoved stays until the system has it end: Release says so, and returns
// nil when it is gone, for another node may have it then.
func TestAnAddressThatIsNotRemoved(t *testing.T) {
	inVirtualTime(t, testConfig, func(t *testing.T, a *Address, s *kernel) {
		if err := a.Hold(t.Context(), newLease(time.Hour)); err != nil {
			t.Fatal(err)
		}
		broken := errors.New("no buffers")
		s.mu.Lock()
		s.fault = broken
		s.mu.Unlock()
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := a.Release(short); !errors.Is(err, broken) {
			t.Errorf("while it is there: %v", err)
		}
		begin := time.Now()
		if err := a.Release(t.Context()); err != nil {
			t.Errorf("in the end: %v", err)
		}
		s.mu.Lock()
		s.fault = nil
		s.expire()
		there := s.there
		s.mu.Unlock()
		if took := time.Since(begin); there || took > maxLifetime+time.Second {
			t.Errorf("released after %v, and it is there: %v", took, there)
		}
	})
}
