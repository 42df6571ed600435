package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"
)

// System is what a peer implements. All methods are called by many clients at
// once; client tells the caller's number, and client i belongs to node i mod 3.
type System interface {
	// Put stores value, which the caller never changes, and returns when the
	// system has acknowledged it.
	Put(ctx context.Context, client int, key string, value []byte) error
	// Get reads a value that was put before, at LevelOne or LevelQuorum.
	Get(ctx context.Context, client int, key string, level string) ([]byte, error)
	// Extra carries out a measurement of the system's own.
	Extra(ctx context.Context, cmd Command) (map[string]float64, error)
	// Children are processes the system runs beside this one; their CPU,
	// memory and disk writes count as the system's.
	Children() []int
	Close() error
}

// Batcher is a System that can write many keys at once.
type Batcher interface {
	// PutMany is Put for several keys, and fails if one of them does.
	PutMany(ctx context.Context, client int, keys []string, values [][]byte) error
}

// Lister is a System that can list its keys.
type Lister interface {
	// ListKeys returns how many keys there are, having got each of them by name.
	ListKeys(ctx context.Context, client int) (int, error)
}

// ErrUnsupported is returned by a System for an operation it does not have.
var ErrUnsupported = errors.New("load: the system does not have this operation")

const (
	phaseWarm int32 = iota
	phaseMeasured
	phaseOver
)

// client is one closed-loop caller: its next operation starts when the last
// one has been answered.
type client struct {
	latencies histogram
	ops       int64 // all that succeeded, the warm-up's included
	failed    int64
	failure   error
}

// runLoad drives one load against sys and measures it.
func runLoad(ctx context.Context, sys System, cmd Command) (Result, error) {
	operation, err := operationOf(sys, cmd)
	if err != nil {
		return Result{}, err
	}
	clients := make([]client, cmd.Clients)
	var phase atomic.Int32
	var group sync.WaitGroup

	started, err := readCost(sys.Children())
	if err != nil {
		return Result{}, err
	}
	for i := range clients {
		group.Go(func() { clients[i].callRepeatedly(ctx, &phase, i, operation) })
	}
	time.Sleep(cmd.Duration / 8)
	stopProfile, profileErr := startProfile(cmd.Profile)
	warm, warmErr := readCost(sys.Children())
	begin := time.Now()
	phase.Store(phaseMeasured)
	time.Sleep(cmd.Duration)
	phase.Store(phaseOver)
	elapsed := time.Since(begin)
	group.Wait()
	profileErr = errors.Join(profileErr, stopProfile())
	settleErr := settle(sys.Children(), 5*time.Second)
	quiet, quietErr := readCost(sys.Children())
	if err := errors.Join(warmErr, profileErr, settleErr, quietErr); err != nil {
		return Result{}, err
	}

	result := summary(clients, elapsed)
	if cmd.Op == OpBatch {
		result.Ops, result.WriteOps, result.OpsPerSecond = BatchSize*result.Ops, BatchSize*result.WriteOps, BatchSize*result.OpsPerSecond
	}
	if result.Ops == 0 && result.Failed > 0 {
		return Result{}, fmt.Errorf("load: no operation succeeded: %s", result.FirstFailure)
	}
	result.WriteBytes = quiet.subtract(started).written
	// Where the host gave no time for even one operation, Ops is 0.
	if result.Ops > 0 {
		result.CPUPerOp = float64(quiet.subtract(warm).cpu.Nanoseconds()) / 1e3 / float64(result.Ops)
	}
	return result, nil
}

// startProfile writes a CPU profile to path until it is stopped; it does
// nothing for an empty path.
func startProfile(path string) (stop func() error, err error) {
	idle := func() error { return nil }
	if path == "" {
		return idle, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return idle, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return f.Close, err
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// operationOf returns one operation of the load as a function of the client's
// number and its source of chance.
func operationOf(sys System, cmd Command) (func(context.Context, int, *rand.Rand) error, error) {
	if cmd.Clients < 1 || cmd.Keys < 1 || cmd.Size < 1 || cmd.Duration <= 0 {
		return nil, fmt.Errorf("load: clients, keys, size and duration must be positive: %+v", cmd)
	}
	keys := Keys(cmd.Keys)
	switch cmd.Op {
	case OpPut:
		noise := newNoise(cmd.Size)
		return func(ctx context.Context, n int, chance *rand.Rand) error {
			return sys.Put(ctx, n, keys[chance.IntN(len(keys))], noise.cutValue(chance))
		}, nil
	case OpBatch:
		batcher, ok := sys.(Batcher)
		if !ok {
			return nil, ErrUnsupported
		}
		noise := newNoise(cmd.Size)
		return func(ctx context.Context, n int, chance *rand.Rand) error {
			names, values := make([]string, BatchSize), make([][]byte, BatchSize)
			for i := range names {
				names[i], values[i] = keys[chance.IntN(len(keys))], noise.cutValue(chance)
			}
			return batcher.PutMany(ctx, n, names, values)
		}, nil
	case OpGet:
		return func(ctx context.Context, n int, chance *rand.Rand) error {
			value, err := sys.Get(ctx, n, keys[chance.IntN(len(keys))], cmd.Level)
			if err == nil && len(value) != cmd.Size {
				return fmt.Errorf("load: a value of %d bytes came back as %d", cmd.Size, len(value))
			}
			return err
		}, nil
	case OpList:
		lister, ok := sys.(Lister)
		if !ok {
			return nil, ErrUnsupported
		}
		return func(ctx context.Context, n int, _ *rand.Rand) error {
			found, err := lister.ListKeys(ctx, n)
			if err == nil && found != len(keys) {
				return fmt.Errorf("load: %d keys of %d were listed", found, len(keys))
			}
			return err
		}, nil
	}
	return nil, fmt.Errorf("load: no such operation: %q", cmd.Op)
}

func (c *client) callRepeatedly(ctx context.Context, phase *atomic.Int32, n int, operation func(context.Context, int, *rand.Rand) error) {
	chance := rand.New(rand.NewPCG(uint64(n), uint64(time.Now().UnixNano())))
	last := time.Now()
	for {
		err := operation(ctx, n, chance)
		now := time.Now()
		switch at := phase.Load(); {
		case err != nil:
			c.failed++
			c.failure = err
			// A system that refuses at once must not be hammered.
			time.Sleep(time.Millisecond)
			now = time.Now()
			if at == phaseOver {
				return
			}
		case at == phaseOver:
			c.ops++
			return
		case at == phaseMeasured:
			c.latencies.addLatency(now.Sub(last))
			c.ops++
		default:
			c.ops++
		}
		last = now
	}
}

func summary(clients []client, elapsed time.Duration) Result {
	var all histogram
	var result Result
	for i := range clients {
		c := &clients[i]
		all.mergeWith(&c.latencies)
		result.WriteOps += c.ops
		result.Failed += c.failed
		if c.failure != nil && result.FirstFailure == "" {
			result.FirstFailure = c.failure.Error()
		}
	}
	result.Ops = all.count
	result.OpsPerSecond = float64(all.count) / elapsed.Seconds()
	result.P50 = all.quantile(0.50)
	result.P99 = all.quantile(0.99)
	return result
}

// fillKeys puts every key once, all clients sharing the keys.
func fillKeys(ctx context.Context, sys System, cmd Command) (Result, error) {
	if cmd.Clients < 1 || cmd.Keys < 1 || cmd.Size < 1 {
		return Result{}, fmt.Errorf("load: clients, keys and size must be positive: %+v", cmd)
	}
	keys, noise := Keys(cmd.Keys), newNoise(cmd.Size)
	var next, done atomic.Int64
	var group sync.WaitGroup
	failures := make([]error, cmd.Clients)
	for n := range cmd.Clients {
		group.Go(func() {
			chance := rand.New(rand.NewPCG(uint64(n), 0))
			for failures[n] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(keys) {
					return
				}
				if failures[n] = fillOne(ctx, sys, n, keys[i], noise.cutValue(chance)); failures[n] == nil {
					done.Add(1)
				}
			}
		})
	}
	group.Wait()
	for _, err := range failures {
		if err != nil {
			return Result{}, fmt.Errorf("load: fill: %w", err)
		}
	}
	return Result{Ops: done.Load()}, settle(sys.Children(), 5*time.Second)
}

// fillOne puts one key as a patient caller would: filling is no measurement,
// and the host may be busy with starting everything.
func fillOne(ctx context.Context, sys System, client int, key string, value []byte) (err error) {
	for range 10 {
		if err = sys.Put(ctx, client, key, value); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// verifyCopies reads a thousand of the keys through as many nodes as there are
// clients, each answering for itself, and requires them to agree: puts that do
// not reach all copies show here. Copies may still be on their way, so a key
// that differs is read again for a while.
func verifyCopies(ctx context.Context, sys System, cmd Command) (Result, error) {
	var result Result
	keys := Keys(cmd.Keys)
	for i := 0; i < len(keys); i += max(1, len(keys)/1000) {
		deadline := time.Now().Add(5 * time.Second)
		for {
			err := checkAgreement(ctx, sys, keys[i], cmd.Clients)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return Result{}, err
			}
			time.Sleep(20 * time.Millisecond)
		}
		result.Ops++
	}
	return result, nil
}

func checkAgreement(ctx context.Context, sys System, key string, clients int) error {
	var first []byte
	for n := range clients {
		value, err := sys.Get(ctx, n, key, LevelOne)
		if err != nil {
			return fmt.Errorf("load: verify %s at node %d: %w", key, n, err)
		}
		if n == 0 {
			first = value
		} else if !bytes.Equal(value, first) {
			return fmt.Errorf("load: verify: nodes 0 and %d differ in %s", n, key)
		}
	}
	return nil
}

// Keys are the names of the n keys of a load.
func Keys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("bench-key-%06d", i)
	}
	return keys
}

// liveBytes is one copy of what a load of this shape leaves behind.
func liveBytes(cmd Command) int64 {
	return int64(cmd.Keys) * int64(len("bench-key-000000")+cmd.Size)
}

// noise is a stock of random bytes: values cut from it differ and do not
// compress, so that no system wins by compression.
type noise struct {
	bytes []byte
	size  int
}

func newNoise(size int) noise {
	n := noise{bytes: make([]byte, size+1<<16), size: size}
	chance := rand.New(rand.NewPCG(1, 2))
	for i := range n.bytes {
		n.bytes[i] = byte(chance.Uint32())
	}
	return n
}

func (n noise) cutValue(chance *rand.Rand) []byte {
	at := chance.IntN(len(n.bytes) - n.size)
	return n.bytes[at : at+n.size : at+n.size]
}
