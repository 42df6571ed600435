package antientropy

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/mesh/view"
)

// pass lets virtual time go on, and all that is due then.
func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

// mates are the peers of a store.
type mates struct {
	mu      sync.Mutex
	peers   []view.NodeID
	silent  map[view.NodeID]bool
	fails   map[view.NodeID]error
	hangs   bool // comparisons do not end by themselves
	strays  error
	begun   time.Time
	at      map[view.NodeID][]time.Duration // when each was compared with
	asked   map[view.NodeID]int
	brought []time.Duration // when strays were looked for
}

func (m *mates) Peers() []view.NodeID { m.mu.Lock(); defer m.mu.Unlock(); return slices.Clone(m.peers) }

func (m *mates) IsPeer(id view.NodeID) bool { return slices.Contains(m.Peers(), id) }

func (m *mates) Answers(_ context.Context, id view.NodeID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked[id]++
	return !m.silent[id]
}

func (m *mates) Compare(ctx context.Context, id view.NodeID) error {
	m.mu.Lock()
	m.at[id] = append(m.at[id], time.Since(m.begun))
	hangs, err := m.hangs, m.fails[id]
	m.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (m *mates) HandOver(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.brought = append(m.brought, time.Since(m.begun))
	return m.strays
}

// do changes what the peers are like.
func (m *mates) do(f func()) { m.mu.Lock(); defer m.mu.Unlock(); f() }

func withMates(t *testing.T, every time.Duration, f func(t *testing.T, c *Comparisons, m *mates)) {
	synctest.Test(t, func(t *testing.T) {
		m := &mates{
			peers: []view.NodeID{2, 3}, begun: time.Now(), silent: make(map[view.NodeID]bool),
			fails: make(map[view.NodeID]error), at: make(map[view.NodeID][]time.Duration), asked: make(map[view.NodeID]int),
		}
		c := New(Options{Work: m, Every: every, Now: func() time.Duration { return time.Since(m.begun) }, Log: slog.New(slog.DiscardHandler)})
		group := lifecycle.NewGroup(context.Background())
		defer group.Close()
		group.Go(c.KeepEqual)
		f(t, c, m)
	})
}

// A peer in doubt is compared with at once and until it is equal, one that fails less
// and less often; nothing is done without a doubt.
func TestDoubtLastsUntilEqual(t *testing.T) {
	withMates(t, -1, func(t *testing.T, c *Comparisons, m *mates) {
		m.do(func() { m.fails[2] = errors.New("no") })
		pass(time.Hour)
		if len(m.at) > 0 {
			t.Fatalf("compared without a doubt: %v", m.at)
		}
		c.DoubtAll()
		pass(10 * time.Minute)
		n := len(m.at[2])
		if n < 8 || n > 20 || m.at[2][0] != time.Hour || len(m.at[3]) != 1 || m.at[3][0] != time.Hour {
			t.Errorf("compared with 2 at %v and with 3 at %v", m.at[2], m.at[3])
		}
		if left := c.Doubted(m.IsPeer); len(left) != 1 || left[0] != 2 {
			t.Errorf("in doubt: %v", left)
		}
		m.do(func() { m.fails[2] = nil })
		pass(lastRetry + time.Second)
		if left := c.Doubted(m.IsPeer); len(left) != 0 {
			t.Errorf("in doubt: %v", left)
		}
		n = len(m.at[2])
		pass(time.Hour)
		if len(m.at[2]) != n {
			t.Error("equal ones are compared again and again")
		}
	})
}

// One that does not answer is asked often, for that costs little, and not compared
// with until it does.
func TestSilentPeerIsAskedOften(t *testing.T) {
	withMates(t, -1, func(t *testing.T, c *Comparisons, m *mates) {
		m.do(func() { m.silent[2] = true })
		c.Doubt(2)
		pass(10 * time.Minute)
		if m.asked[2] < 100 || len(m.at[2]) > 0 {
			t.Errorf("asked %d times, compared %d times", m.asked[2], len(m.at[2]))
		}
		m.do(func() { m.silent[2] = false })
		pass(silentRetry)
		if len(m.at[2]) != 1 {
			t.Errorf("compared at %v", m.at[2])
		}
	})
}

// A peer that goes out of contact holds nobody else up.
func TestComparisonEndsWithContact(t *testing.T) {
	withMates(t, -1, func(t *testing.T, c *Comparisons, m *mates) {
		m.do(func() { m.hangs = true })
		c.Doubt(2)
		pass(time.Minute)
		m.do(func() { m.hangs, m.peers = false, []view.NodeID{3} })
		c.Doubt(3)
		synctest.Wait()
		if len(m.at[3]) > 0 {
			t.Fatal("two comparisons at a time")
		}
		c.EndWith([]view.NodeID{2})
		synctest.Wait()
		if len(m.at[3]) != 1 {
			t.Errorf("compared with 3 at %v", m.at[3])
		}
	})
}

// What belongs elsewhere is brought there in a while, again when that has failed, and
// no more once it is there.
func TestStraysAreBrought(t *testing.T) {
	withMates(t, -1, func(t *testing.T, c *Comparisons, m *mates) {
		m.do(func() { m.strays = errors.New("no home in contact") })
		c.LookLater()
		if !c.MayHoldStrays() {
			t.Error("nothing is here")
		}
		pass(5 * time.Minute)
		if n := len(m.brought); n < 5 || n > 12 || m.brought[0] != firstRetry {
			t.Errorf("tried at %v", m.brought)
		}
		m.do(func() { m.strays = nil })
		pass(lastRetry + time.Second)
		n := len(m.brought)
		pass(time.Hour)
		if len(m.brought) != n || c.MayHoldStrays() {
			t.Errorf("tried at %v", m.brought)
		}
	})
}

// Now and then a random peer is compared with, and strays are looked for: seldom where
// the last look found none.
func TestComparedByChance(t *testing.T) {
	withMates(t, time.Minute, func(t *testing.T, c *Comparisons, m *mates) {
		c.NoteStrays(false)
		pass(10 * time.Hour)
		both := len(m.at[2]) + len(m.at[3])
		if both < 540 || both > 660 || len(m.at[2]) < 200 || len(m.at[3]) < 200 {
			t.Errorf("in 600 minutes %d with 2 and %d with 3", len(m.at[2]), len(m.at[3]))
		}
		if n := len(m.brought); n < both/seldomLook-1 || n > both/seldomLook+1 {
			t.Errorf("looked for strays %d times", n)
		}
		c.NoteStrays(true)
		m.do(func() { m.brought = nil })
		pass(time.Hour)
		if n := len(m.brought); n < 50 || n > 70 {
			t.Errorf("looked for strays %d times in an hour", n)
		}
	})
}
