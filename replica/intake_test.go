package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/mesh/view"
)

// pipe lets so many bytes a second pass, one after another.
type pipe struct {
	rate float64
	mu   sync.Mutex
	free time.Time
}

func (p *pipe) pass(n int) {
	p.mu.Lock()
	if now := time.Now(); p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
	free := p.free
	p.mu.Unlock()
	time.Sleep(time.Until(free))
}

// slowFS is a disk that writes so many bytes a second.
type slowFS struct {
	vfs.FS
	pipe *pipe
}

type slowFile struct {
	vfs.File
	pipe *pipe
}

func (f slowFile) Write(b []byte) (int, error) {
	f.pipe.pass(len(b))
	return f.File.Write(b)
}

func (s slowFS) Unwrap() vfs.FS { return s.FS }

func (s slowFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.Create(name, c)
	return slowFile{f, s.pipe}, err
}

func (s slowFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := s.FS.OpenReadWrite(name, c, o...)
	return slowFile{f, s.pipe}, err
}

// largeLoad is what became of large values that clients put for some time, each
// the next one when the last one was answered.
type largeLoad struct {
	acked, degraded, refused int
	slowest                  time.Duration // answer
}

func putLarge(t *testing.T, buckets []*Bucket, clients, size int, lasts time.Duration) (l largeLoad) {
	value := bytes.Repeat([]byte("v"), size)
	var mu sync.Mutex
	var all sync.WaitGroup
	settled, end := time.Now().Add(2*time.Second), time.Now().Add(2*time.Second+lasts)
	for i := range clients {
		all.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				begun := time.Now()
				_, err := buckets[i%len(buckets)].Put(context.Background(), fmt.Sprintf("k%d-%d", i%7, n%5), value, nil)
				if now := time.Now(); now.After(settled) && now.Before(end) {
					mu.Lock()
					l.slowest = max(l.slowest, now.Sub(begun))
					switch {
					case err == nil:
						l.acked++
					case errors.Is(err, ErrDegraded):
						l.degraded++
					case errors.Is(err, ErrOverloaded):
						l.refused++
					default:
						t.Errorf("put: %v", err)
					}
					mu.Unlock()
				}
				if wait := RetryAfter(err); wait > 0 {
					time.Sleep(wait)
				}
			}
		})
	}
	all.Wait()
	return l
}

// More large values than disks or links carry: as many are acknowledged as when
// few are put, the rest is refused at once, none waits until a home that lives
// counts as silent, and nothing is kept as a hint for it.
func TestLargeValuesDoNotCollapse(t *testing.T) {
	const size = 256 << 10
	t.Run("slow disks", func(t *testing.T) {
		largeValues(t, size, func(_ int, _ *fakeNode, c *Config) { c.fs = slowFS{c.fs, &pipe{rate: 8e6}} })
	})
	t.Run("slow links", func(t *testing.T) {
		links := map[view.NodeID]*pipe{}
		var mu sync.Mutex
		largeValues(t, size, func(_ int, n *fakeNode, c *Config) {
			n.net.lose(func(from, _ view.NodeID, _ string, req []byte) bool {
				mu.Lock()
				if links[from] == nil {
					links[from] = &pipe{rate: 8e6}
				}
				link := links[from]
				mu.Unlock()
				link.pass(len(req))
				return false
			})
		})
	})
}

func largeValues(t *testing.T, size int, change func(int, *fakeNode, *Config)) {
	bubbleOn(t, 3, BucketConfig{MaxValue: size}, change, func(t *testing.T, _ *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		var best int
		for _, clients := range []int{3, 48, 150} {
			l := putLarge(t, buckets, clients, size, 8*time.Second) // long enough that chance is small beside the limits
			t.Logf("%d clients: %+v", clients, l)
			best = max(best, l.acked)
			if l.acked*10 < best*8 {
				t.Errorf("%d clients: %d values were acknowledged, %d with fewer", clients, l.acked, best)
			}
			if l.degraded*20 > l.acked {
				t.Errorf("%d clients: %d values were on fewer stores than asked for, beside %d", clients, l.degraded, l.acked)
			}
			if limit := 3 * nodes[0].store.cfg.AckTimeout; l.slowest > limit {
				t.Errorf("%d clients: one waited for %v", clients, l.slowest)
			}
			if clients > 100 && l.refused == 0 {
				t.Error("nothing was refused")
			}
		}
		time.Sleep(time.Minute)
		wantEqualHomes(t, stores(nodes)...)
	})
}
