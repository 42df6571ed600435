package clocks

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
)

// pass lets virtual time go on, and all that is due then.
func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

// others are the stores that a node can ask.
type others struct {
	mu    sync.Mutex
	off   map[view.NodeID]time.Duration // by which the clock of each is off; missing: it does not answer
	asked map[view.NodeID]int
}

// withClocks runs f, in virtual time, at a storing node whose clock is off by skew, in
// contact with stores 2 and 3.
func withClocks(t *testing.T, skew time.Duration, off map[view.NodeID]time.Duration, f func(t *testing.T, c *Clocks, o *others, group *lifecycle.Group)) {
	synctest.Test(t, func(t *testing.T) {
		group, o := lifecycle.NewGroup(context.Background()), &others{off: off, asked: make(map[view.NodeID]int)}
		defer group.Close()
		var c *Clocks
		c = New(Options{
			Clock: clock.Simulated(skew), MaxSkew: 5 * time.Minute, Votes: true, Group: group,
			Silence: peering.NewSilence(time.Minute), Patience: replicate.Patience(time.Second),
			Peers: func() []view.NodeID { return []view.NodeID{2, 3} },
			Ask: func(ctx context.Context, id view.NodeID) error {
				o.mu.Lock()
				o.asked[id]++
				by, ok := o.off[id]
				o.mu.Unlock()
				if !ok {
					<-ctx.Done()
					return ctx.Err()
				}
				time.Sleep(100 * time.Millisecond)
				c.Learn(id, time.Now().Add(by).UnixMilli())
				return nil
			},
		})
		c.Follow(map[view.NodeID]bool{2: true, 3: true}, []view.NodeID{1, 2, 3})
		f(t, c, o, group)
	})
}

func wantOff(t *testing.T, c *Clocks, want time.Duration, wantKnown bool) {
	t.Helper()
	if off, known := c.Off(); (off-want).Abs() > time.Second || known != wantKnown {
		t.Errorf("off by %v, known %v, want %v, %v", off, known, want, wantKnown)
	}
	if dated := time.Until(time.UnixMilli(c.Now().Millis())); wantKnown && dated.Abs() > time.Second {
		t.Errorf("things are dated %v off", dated)
	}
}

// A hundred writes that need to know the time ask each peer once.
func TestManyWritesAskOnce(t *testing.T) {
	withClocks(t, 2*time.Hour, map[view.NodeID]time.Duration{2: 0, 3: 0}, func(t *testing.T, c *Clocks, o *others, _ *lifecycle.Group) {
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { c.AskMissing(t.Context()) })
		}
		all.Wait()
		if len(c.Missing()) != 0 || o.asked[2] != 1 || o.asked[3] != 1 {
			t.Errorf("missing %v, asked %v", c.Missing(), o.asked)
		}
		wantOff(t, c, 2*time.Hour, true)
		pass(2 * time.Hour)
		if _, ok := c.Ended(); ok {
			t.Error("a clock that is two hours off ends something for good")
		}
		if _, _, corrects := c.ForWrite(); !corrects {
			t.Error("what it has dated is not taken back")
		}
	})
}

// That the others are gone does not make a wrong clock a right one; that they are no
// members any more does.
func TestThoseAwayCount(t *testing.T) {
	withClocks(t, 2*time.Hour, map[view.NodeID]time.Duration{2: 0, 3: 0}, func(t *testing.T, c *Clocks, _ *others, _ *lifecycle.Group) {
		c.AskMissing(t.Context())
		c.Follow(map[view.NodeID]bool{2: false, 3: false}, []view.NodeID{1, 2, 3})
		wantOff(t, c, 2*time.Hour, true)
		pass(time.Hour)
		wantOff(t, c, 2*time.Hour, true)
		c.Follow(nil, nil)
		wantOff(t, c, 0, false)
	})
}

// Two stores of a cut site whose clocks are both two hours ahead do not make that the time,
// nor do they end anything for good.
func TestSideThatIsAhead(t *testing.T) {
	withClocks(t, 2*time.Hour, map[view.NodeID]time.Duration{2: 2 * time.Hour, 3: 2 * time.Hour, 4: 0, 5: 0, 6: 0, 7: 0}, func(t *testing.T, c *Clocks, _ *others, _ *lifecycle.Group) {
		stores := []view.NodeID{1, 2, 3, 4, 5, 6, 7}
		inMesh := map[view.NodeID]bool{2: true, 3: true}
		c.Follow(inMesh, stores)
		c.AskMissing(t.Context())
		pass(48 * time.Hour)
		if _, ok := c.Ended(); ok {
			t.Error("a side that has come up by itself ends things for good")
		}
		for id := view.NodeID(4); id <= 7; id++ {
			inMesh[id] = true
			c.Learn(id, time.Now().UnixMilli())
		}
		c.Follow(inMesh, stores)
		wantOff(t, c, 2*time.Hour, true)
		for id := range inMesh {
			inMesh[id] = id < 4
		}
		c.Follow(inMesh, stores)
		wantOff(t, c, 2*time.Hour, true)
		if early := time.Until(time.UnixMilli(c.Early().Millis())); early > time.Second {
			t.Errorf("readers judge by a clock that is %v ahead", early)
		}
		if _, ok := c.Ended(); ok {
			t.Error("after the cut it does")
		}
	})
}

// What nodes show that are no stores does not count.
func TestOnlyStoresKeepTime(t *testing.T) {
	withClocks(t, 0, nil, func(t *testing.T, c *Clocks, _ *others, _ *lifecycle.Group) {
		c.Follow(map[view.NodeID]bool{2: true, 8: true, 9: true}, []view.NodeID{1, 2, 3})
		c.Learn(8, time.Now().UnixMilli())
		c.Learn(9, time.Now().UnixMilli())
		pass(2 * time.Hour)
		if _, ok := c.Ended(); ok {
			t.Error("things end for good by clocks of nodes that are no stores")
		}
		c.Learn(2, time.Now().UnixMilli())
		if _, ok := c.Ended(); !ok {
			t.Error("nothing ends where two of three stores agree")
		}
	})
}

func TestClampMillis(t *testing.T) {
	for _, ms := range []int64{1 << 50, -1 << 50} {
		if d := clampMillis(ms); (d > 0) != (ms > 0) || d.Abs() < 290*365*24*time.Hour {
			t.Errorf("%d ms are %v", ms, d)
		}
	}
}

// One that does not answer is silent, and is not waited for again.
func TestSilentPeerIsAskedOnce(t *testing.T) {
	withClocks(t, 0, map[view.NodeID]time.Duration{2: 0}, func(t *testing.T, c *Clocks, o *others, _ *lifecycle.Group) {
		begun := time.Now()
		for range 3 {
			c.AskMissing(t.Context())
		}
		if took := time.Since(begun); took > time.Second || o.asked[3] != 1 {
			t.Errorf("took %v, asked %v", took, o.asked)
		}
	})
}

// A clock that is set in the running is seen when a peer is asked again.
func TestClockThatIsSet(t *testing.T) {
	withClocks(t, 0, map[view.NodeID]time.Duration{2: 0, 3: 0}, func(t *testing.T, c *Clocks, o *others, group *lifecycle.Group) {
		c.AskMissing(t.Context())
		wantOff(t, c, 0, true)
		c.opts.Clock.SetSkew(-time.Hour)
		wantOff(t, c, -time.Hour, true)
		o.mu.Lock()
		o.off[2], o.off[3] = -time.Hour, -time.Hour // theirs was wrong
		o.mu.Unlock()
		for range 20 {
			c.AskOne()
			pass(time.Second)
		}
		if off, _ := c.Off(); off != 0 {
			t.Errorf("off by %v although all agree", off)
		}
	})
}

// Who waits for clocks is let go of when the store closes.
func TestAskingEndsWithItsOwner(t *testing.T) {
	withClocks(t, 0, nil, func(t *testing.T, c *Clocks, _ *others, group *lifecycle.Group) {
		ended := make(chan struct{})
		go func() { defer close(ended); c.AskMissing(context.Background()) }()
		synctest.Wait()
		begun := time.Now()
		group.Close()
		<-ended
		if took := time.Since(begun); took > 0 {
			t.Errorf("took %v", took)
		}
	})
}
