package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	sampleEvery = 200 * time.Millisecond
	keepHistory = 6 * time.Second // older samples are deleted
	lanes       = 8               // writes in flight; a key always takes the same lane
	answerIn    = 5 * time.Second
	slow        = 300 * time.Millisecond // below the time after which a node turns to another
)

// sample is a value as stored: what was read on this host, and when.
type sample struct {
	Write  uint64  `json:"write"` // ties the stored value to the writer's journal
	Metric string  `json:"metric"`
	Value  float64 `json:"value"`
	At     int64   `json:"at"` // milliseconds since 1970
}

// writer reads this host's telemetry at every interval and puts it through
// random nodes of its side: the latest reading of each metric is overwritten,
// a history is appended, and old history is deleted.
type writer struct {
	name    string // in the keys of its history, which nobody else writes
	journal *journal
	nodes   func() []*proc // the nodes in reach of this writer

	ids      *atomic.Uint64 // of writes; shared by all writers
	degraded atomic.Int64   // acknowledged by fewer nodes than wished
	unknown  atomic.Int64   // never answered

	mu   sync.Mutex
	took []time.Duration // from the question to the acknowledgement
}

type job struct {
	key    string
	metric string
	value  float64
	delete bool
}

// writeSamples writes until ctx ends, then waits for what is in flight.
func (w *writer) writeSamples(ctx context.Context) error {
	var lane [lanes]chan job
	var wg sync.WaitGroup
	errs := make(chan error, lanes)
	for i := range lane {
		lane[i] = make(chan job, 256)
		wg.Go(func() {
			for j := range lane[i] {
				if err := w.writeJob(j); err != nil {
					select {
					case errs <- err:
					default:
					}
				}
			}
		})
	}
	err := w.sample(ctx, func(j job) {
		h := fnv.New32a()
		h.Write([]byte(j.key))
		lane[h.Sum32()%lanes] <- j
	})
	for i := range lane {
		close(lane[i])
	}
	wg.Wait()
	select {
	case e := <-errs:
		err = errors.Join(err, e)
	default:
	}
	return err
}

func (w *writer) sample(ctx context.Context, put func(job)) error {
	type past struct {
		at   time.Time
		keys []string
	}
	var history []past
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		now := time.Now()
		readings, err := readHost(os.DirFS("/proc"))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		p := past{at: now}
		for _, r := range readings {
			key := fmt.Sprintf("log/%s/%d/%s", w.name, now.UnixMilli(), r.Metric)
			p.keys = append(p.keys, key)
			put(job{key: "now/" + r.Metric, metric: r.Metric, value: r.Value})
			put(job{key: key, metric: r.Metric, value: r.Value})
		}
		history = append(history, p)
		for len(history) > 0 && now.Sub(history[0].at) > keepHistory {
			for _, key := range history[0].keys {
				put(job{key: key, delete: true})
			}
			history = history[1:]
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (w *writer) noteLatency(took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.took = append(w.took, took)
}

// writeJob makes one write durable: through another node if one refuses or dies.
// Whatever happened is in the journal when it returns.
func (w *writer) writeJob(j job) error {
	var last error
	for range 20 {
		nodes := w.nodes()
		if len(nodes) == 0 {
			return errors.New("no node is in reach of the writer")
		}
		node := nodes[rand.IntN(len(nodes))]
		id := w.ids.Add(1)
		e := entry{Key: j.key, Delete: j.delete, Write: id}
		r := request{Op: "delete", Key: j.key}
		if !j.delete {
			value, err := json.Marshal(sample{Write: id, Metric: j.metric, Value: j.value, At: time.Now().UnixMilli()})
			if err != nil {
				return err
			}
			r = request{Op: "put", Key: j.key, Value: value}
		}
		asked := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), answerIn)
		a, err := node.Ask(ctx, r)
		cancel()
		took := time.Since(asked)
		e.Slow = took > slow
		if err == nil {
			if a.Write.Degraded {
				w.degraded.Add(1)
			}
			w.noteLatency(took)
			e.Dot, e.Covered, e.By = a.Write.Dot, a.Write.Covered, node.Role.Name
			return w.journal.addEntry(e)
		}
		last = err
		e.Unknown = true
		w.unknown.Add(1)
		if err := w.journal.addEntry(e); err != nil {
			return err
		}
	}
	return fmt.Errorf("write %s: given up after 20 tries: %w", j.key, last)
}
