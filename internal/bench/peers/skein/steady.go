package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/skeinmesh/skein/replica"
)

const steadyPause = 40 * time.Millisecond // between two puts of a client of the steady load

// steadyLoad is a number of clients of one node that each put one value every
// steadyPause.
type steadyLoad struct {
	cancel context.CancelFunc
	start  time.Time
	group  sync.WaitGroup

	mu      sync.Mutex
	took    []time.Duration // from when a put was due until it was acknowledged
	failed  int
	failure error
}

type steadyResult struct {
	took    []time.Duration // in rising order
	elapsed time.Duration
}

func (r steadyResult) mergeWith(other steadyResult) steadyResult {
	return steadyResult{slices.Sorted(slices.Values(slices.Concat(r.took, other.took))), r.elapsed + other.elapsed}
}

// micros is a quantile, in microseconds.
func (r steadyResult) micros(q float64) float64 {
	return float64(r.took[int(q*float64(len(r.took)))].Nanoseconds()) / 1e3
}

func startSteady(ctx context.Context, to *replica.Bucket, keys []string, stock stock, clients int) *steadyLoad {
	s := &steadyLoad{start: time.Now()}
	ctx, s.cancel = context.WithCancel(ctx)
	for n := range clients {
		s.group.Go(func() {
			chance := rand.New(rand.NewPCG(uint64(n), uint64(s.start.UnixNano())))
			due := s.start.Add(steadyPause * time.Duration(n) / time.Duration(clients))
			for {
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Until(due)):
				}
				i := chance.IntN(len(keys))
				_, err := to.Put(context.WithoutCancel(ctx), keys[i], stock.cutValue(chance.IntN(1<<16)), nil)
				s.notePut(time.Since(due), err)
				due = due.Add(steadyPause)
			}
		})
	}
	return s
}

func (s *steadyLoad) notePut(took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.took = append(s.took, took); err != nil {
		s.failed, s.failure = s.failed+1, err
	}
}

// endLoad ends the load. A load of which more than one put in a hundred failed is
// no measurement.
func (s *steadyLoad) endLoad() (steadyResult, error) {
	elapsed := time.Since(s.start)
	s.cancel()
	s.group.Wait()
	if s.failed*100 > len(s.took) || len(s.took) == 0 {
		return steadyResult{}, fmt.Errorf("%d of %d puts failed: %w", s.failed, len(s.took), cmp.Or(s.failure, errors.New("none was made")))
	}
	slices.Sort(s.took)
	return steadyResult{s.took, elapsed}, nil
}

// counts tells how many puts took how many microseconds, for another process.
func (r steadyResult) counts() map[string]float64 {
	out := map[string]float64{steadySeconds: r.elapsed.Seconds()}
	for _, d := range r.took {
		out[strconv.FormatInt(d.Microseconds(), 10)]++
	}
	return out
}

// steadySeconds is how long a load went on, among its counts.
const steadySeconds = "s"

func steadyCounted(counts map[string]float64) (r steadyResult, err error) {
	for micros, n := range counts {
		if micros == steadySeconds {
			r.elapsed = time.Duration(n * float64(time.Second))
			continue
		}
		us, err := strconv.ParseInt(micros, 10, 64)
		if err != nil {
			return r, err
		}
		r.took = append(r.took, slices.Repeat([]time.Duration{time.Duration(us) * time.Microsecond}, int(n))...)
	}
	slices.Sort(r.took)
	return r, nil
}

// stock is random bytes of which values are cut.
type stock struct {
	bytes []byte
	size  int // of a value
}

func newStock(size int) stock {
	s := stock{make([]byte, size+1<<16), size}
	chance := rand.New(rand.NewPCG(1, 2))
	for i := range s.bytes {
		s.bytes[i] = byte(chance.Uint32())
	}
	return s
}

func (s stock) cutValue(n int) []byte {
	at := n * 61 % (len(s.bytes) - s.size)
	return s.bytes[at : at+s.size]
}
