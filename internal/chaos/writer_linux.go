package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Writer puts values, each under a key of its own, through some nodes in turn,
// and notes in a ledger what was acknowledged.
type Writer struct {
	name   string
	ledger *Ledger
	stop   context.CancelFunc
	lanes  sync.WaitGroup

	mu      sync.Mutex
	acked   int
	failed  int
	slowest time.Duration
}

const (
	writerLanes = 4
	writesEvery = 200 * time.Millisecond // in each lane
	replyIn     = 5 * time.Second
)

// Write begins to write, until Stop or the end of the test. The name tells the
// writer's keys from those of others.
func (c *Cluster) Write(l *Ledger, name string, nodes []*Node) *Writer {
	ctx, stop := context.WithCancel(context.Background())
	w := &Writer{name: name, ledger: l, stop: stop}
	c.t.Cleanup(func() { w.Stop() })
	for lane := range writerLanes {
		w.lanes.Go(func() {
			tick := time.NewTicker(writesEvery)
			defer tick.Stop()
			for i := 0; ; i++ {
				w.writeKey(nodes[(lane+i)%len(nodes)], fmt.Sprintf("%s/%d/%d", name, lane, i))
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	return w
}

// Stop ends the writing, waits for what is under way, and says how it went.
func (w *Writer) Stop() string {
	w.stop()
	w.lanes.Wait()
	return fmt.Sprintf("writer %s: %d writes acknowledged, within %v, and %d not", w.name, w.acked, w.slowest.Round(time.Millisecond), w.failed)
}

// Acked returns how many writes were acknowledged so far.
func (w *Writer) Acked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acked
}

func (w *Writer) writeKey(n *Node, key string) {
	ctx, cancel := context.WithTimeout(context.Background(), replyIn)
	defer cancel()
	begin := time.Now()
	err := n.Put(ctx, key, "of "+key)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.failed++
		return
	}
	w.acked++
	w.slowest = max(w.slowest, time.Since(begin))
	w.ledger.Acked(key, "of "+key)
}

// Readable waits until every acknowledged write is read through every node, and
// returns after what time nothing was missing any more.
func (c *Cluster) Readable(l *Ledger, limit time.Duration) (took time.Duration) {
	c.t.Helper()
	begin := time.Now()
	for _, n := range c.Nodes {
		for keys := range slices.Chunk(l.Keys(), 100) {
			var wrong string
			for !c.readsAll(n, l, keys, &wrong) {
				if took = time.Since(begin); took > limit {
					c.t.Fatalf("not within %v: %s reads all that was acknowledged: %s", limit, n.Name, wrong)
				}
				c.Pass(100 * time.Millisecond)
			}
		}
	}
	return took
}

func (c *Cluster) readsAll(n *Node, l *Ledger, keys []string, wrong *string) bool {
	ctx, cancel := context.WithTimeout(c.t.Context(), replyIn)
	defer cancel()
	values, err := n.Get(ctx, keys)
	if err != nil {
		*wrong = err.Error()
		return false
	}
	missing := l.Missing(keys, values)
	*wrong = strings.Join(missing, "; ")
	return len(missing) == 0
}
