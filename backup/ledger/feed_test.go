package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/skeinmesh/skein/internal/ledger"
	"github.com/skeinmesh/skein/internal/memnet"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/replica"
	"github.com/skeinmesh/skein/replica/version"
)

var _ Writes = (*replica.Writes)(nil)

// keeper is a storing node whose ledger is fed from a bucket "b".
type keeper struct {
	*box
	store  *replica.Store
	bucket *replica.Bucket
	feed   *Feed
	cancel context.CancelFunc
	done   chan error
}

func openStore(t *testing.T, b *box) *keeper {
	t.Helper()
	k := &keeper{box: b}
	var err error
	if k.store, err = replica.Open(context.Background(), replica.Config{Mesh: b.node}); err != nil {
		t.Fatal(err)
	}
	if k.bucket, err = k.store.Bucket(context.Background(), "b", replica.BucketConfig{}); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *keeper) runFeed(bucket Writes) {
	ctx, cancel := context.WithCancel(context.Background())
	k.feed, k.cancel, k.done = k.NewFeed(bucket), cancel, make(chan error, 1)
	go func() { k.done <- k.feed.Run(ctx) }()
}

func (k *keeper) stopFeed(t *testing.T) {
	t.Helper()
	if k.cancel(); k.done != nil {
		if err := <-k.done; err != nil {
			t.Error(err)
		}
	}
	k.done = nil
}

func (k *keeper) put(t *testing.T, key, value string) {
	t.Helper()
	if _, err := k.bucket.Put(context.Background(), key, []byte(value), nil); err != nil && !errors.Is(err, replica.ErrDegraded) {
		t.Fatal(err)
	}
}

func (k *keeper) delete(t *testing.T, key string) {
	t.Helper()
	if _, err := k.bucket.Delete(context.Background(), key, nil); err != nil && !errors.Is(err, replica.ErrDegraded) {
		t.Fatal(err)
	}
}

// lacks returns a key whose write is not in the log of the store that has coordinated it.
func lacks(t *testing.T, all []*keeper, keys ...string) string {
	t.Helper()
	for _, key := range keys {
		sibs, err := all[0].bucket.Writes().Read(context.Background(), key)
		if err != nil || len(sibs) == 0 {
			return fmt.Sprint(key, err)
		}
		for i := range sibs {
			for _, k := range all {
				if _, err := k.Find(context.Background(), leafOf("b", key, &sibs[i])); uint64(k.id) == sibs[i].Dot.A.Store && err != nil {
					return key
				}
			}
		}
	}
	return ""
}

// wantOnce wants each write in the log once, and none of another store.
func wantOnce(t *testing.T, l *Ledger) map[version.Dot]bool {
	t.Helper()
	seen := map[version.Dot]bool{}
	for n := int64(0); n*ledger.Width < l.own.countLeaves(); n++ {
		entries, err := l.own.viewLog(context.Background()).readBundle(n)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			leaf, err := ledger.ParseLeaf(e)
			if err != nil || seen[leaf.Dot] || leaf.Dot.A.Store != uint64(l.id) {
				t.Fatalf("leaf of %v: %v, there already %v", leaf.Dot, err, seen[leaf.Dot])
			}
			seen[leaf.Dot] = true
		}
	}
	return seen
}

func (k *keeper) close(t *testing.T) {
	t.Helper()
	k.stopFeed(t)
	if err := k.store.Close(); err != nil {
		t.Error(err)
	}
}

// Writes of all nodes are in the logs of those that have coordinated them: puts, overwrites and deletes,
// those from before the feed, and those made while it was stopped.
func TestFeedEntersWhatItsStoreCoordinates(t *testing.T) {
	inWorld(t, 3, 0, func(w *world) {
		var all []*keeper
		for _, b := range w.boxes {
			k := openStore(t, b)
			defer k.close(t)
			all = append(all, k)
		}
		time.Sleep(time.Minute)
		keys := []string{}
		for i := range 40 {
			keys = append(keys, fmt.Sprint("k", i))
			all[i%3].put(t, keys[i], "before")
		}
		for _, k := range all {
			k.runFeed(k.bucket.Writes())
		}
		w.until("what was there is entered", func() bool { return lacks(t, all, keys...) == "" })
		for i := range 20 {
			all[(i+1)%3].put(t, keys[i], "again")
		}
		all[0].delete(t, keys[3])
		w.until("changes are entered", func() bool { return lacks(t, all, keys...) == "" })
		time.Sleep(time.Second)
		for _, k := range all {
			k.stopFeed(t)
		}
		for i := range 10 {
			all[i%3].put(t, keys[i], "while it is stopped")
		}
		all[1].delete(t, keys[20])
		for _, k := range all {
			k.runFeed(k.bucket.Writes())
		}
		w.until("what was missed is entered", func() bool { return lacks(t, all, keys...) == "" })
		sum := 0
		for _, k := range all {
			sum += len(wantOnce(t, k.Ledger))
			if s := k.feed.Status(); s.Error != "" {
				t.Error(s)
			}
		}
		if sum < 60 {
			t.Errorf("%d leaves", sum)
		}
	})
}

// The power is cut between writes and their leaves: puts, overwrites, deletes. They are entered after the
// restart, each once, and so is what was on its way.
func TestPowerIsCutBetweenWriteAndLeaf(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		net, fs := memnet.New(1), vfs.NewCrashableMem()
		start := func() *keeper {
			addr := netip.MustParseAddr("10.0.0.1")
			node, err := mesh.Start(context.Background(), mesh.Config{
				Dir: dir, Secret: bytes.Repeat([]byte{5}, identity.SecretSize), MeshName: "ledger", Storing: true, Profile: mesh.LAN, Name: "n",
				Listen: netip.AddrPortFrom(addr, 7800).String(), Network: net.Host(addr),
			})
			if err != nil {
				t.Fatal(err)
			}
			b := &box{addr: addr, fs: fs, node: node}
			if b.Ledger, err = Open(context.Background(), Config{Mesh: node, Dir: "ledger", fs: fs}); err != nil {
				t.Fatal(err)
			}
			return openStore(t, b)
		}
		end := func(k *keeper) {
			k.close(t)
			_, _ = k.Ledger.Close(), k.node.Close()
		}
		keys := []string{"a", "b", "c", "d"}
		wait := func(k *keeper, keys ...string) {
			t.Helper()
			for i := 0; lacks(t, []*keeper{k}, keys...) != ""; i++ {
				if time.Sleep(50 * time.Millisecond); i == 1000 {
					t.Fatalf("%s is not entered: %+v", lacks(t, []*keeper{k}, keys...), k.feed.Status())
				}
			}
		}
		k := start()
		for _, key := range keys {
			k.put(t, key, "1")
		}
		k.runFeed(k.bucket.Writes())
		wait(k, keys...)
		time.Sleep(time.Second)
		k.put(t, "a", "2")
		k.delete(t, "b")
		k.put(t, "e", "1")
		fs = fs.CrashClone(vfs.CrashCloneCfg{})
		end(k)
		k = start()
		before := len(wantOnce(t, k.Ledger))
		k.runFeed(k.bucket.Writes())
		wait(k, append(keys, "e")...)
		if now := len(wantOnce(t, k.Ledger)); before != 4 || now != 7 {
			t.Errorf("%d leaves, then %d", before, now)
		}
		end(k)
		_ = net.Close()
		time.Sleep(30 * time.Second)
	})
}

// bucketModel is a bucket of random writes by a few stores. It tells some states in between, and some
// twice.
type bucketModel struct {
	mu    sync.Mutex
	rand  *rand.Rand
	keys  map[string][]version.Sibling
	last  map[version.Actor]uint64
	order []string // as they have changed
	bell  chan struct{}
	fails int // that many more calls of Follow end soon
}

func (m *bucketModel) Name() string { return "model" }

func (m *bucketModel) Read(_ context.Context, key string) ([]version.Sibling, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.keys[key], nil
}

func (m *bucketModel) write(store uint64) version.Dot {
	m.mu.Lock()
	defer m.mu.Unlock()
	number := m.rand.IntN(30)
	key := fmt.Sprint("k", number)
	old := m.keys[key]
	d := version.Dot{A: version.Actor{Store: store, Session: 1, Seq: uint32(number)}}
	m.last[d.A]++
	d.N = m.last[d.A]
	s := version.Sibling{Dot: d, Value: fmt.Append(nil, m.rand.Uint64())}
	if m.rand.IntN(5) == 0 {
		s.Flags, s.Value = version.Tomb, nil
	}
	m.keys[key] = []version.Sibling{s}
	if m.rand.IntN(4) == 0 && len(old) == 1 && old[0].Dot.A != d.A { // concurrent
		m.keys[key] = []version.Sibling{old[0], s}
	}
	m.order = append(m.order, key)
	select {
	case m.bell <- struct{}{}:
	default:
	}
	return d
}

func (m *bucketModel) Follow(ctx context.Context, from string, told func(string, []version.Sibling) error, current func(string) error) error {
	at := 0
	_, _ = fmt.Sscan(from, &at)
	m.mu.Lock()
	m.fails--
	fails, back := m.fails >= 0, m.rand.IntN(10)
	m.mu.Unlock()
	for at = max(0, at-back); ; at++ {
		m.mu.Lock()
		var key string
		var all []version.Sibling
		if at < len(m.order) {
			key = m.order[at]
			all = m.keys[key]
		}
		m.mu.Unlock()
		var err error
		switch {
		case fails && at%7 == 6:
			return errors.New("too slow")
		case key != "":
			err = told(key, all)
		default:
			if err = current(fmt.Sprint(at)); err != nil {
				return err
			}
			select {
			case <-m.bell:
				at--
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err != nil {
			return err
		}
	}
}

// Whatever fails and is cut: what a key has in the end is in the log, each write once, and what is not
// was left out and is counted.
func TestFeedAgainstRandomHistories(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			m := &bucketModel{rand: rand.New(rand.NewPCG(seed, 4)), keys: map[string][]version.Sibling{}, last: map[version.Actor]uint64{}, bell: make(chan struct{}, 1)}
			disk, made := vfs.NewCrashableMem(), map[version.Dot]bool{}
			var full atomic.Bool
			for range 4 {
				l, err := Open(context.Background(), Config{Mesh: loneMesh{7}, Dir: "ledger", fs: errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
					if full.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && (seed%2 == 0 || strings.Contains(op.Path, "entries")) {
						return errorfs.ErrInjected
					}
					return nil
				}))})
				if err != nil {
					t.Fatal(err)
				}
				k := &keeper{box: &box{Ledger: l}}
				m.fails = r.IntN(4)
				k.runFeed(m)
				for range r.IntN(200) {
					if d := m.write(uint64(7 + r.IntN(2))); d.A.Store == 7 {
						made[d] = true
					}
					if r.IntN(20) == 0 {
						full.Store(!full.Load())
					}
					time.Sleep(time.Duration(r.IntN(40)) * time.Millisecond)
				}
				full.Store(false)
				disk = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
				k.stopFeed(t)
				_ = l.Close()
			}
			l := openLone(t, disk)
			k := &keeper{box: &box{Ledger: l}}
			k.runFeed(m)
			time.Sleep(time.Minute)
			in := wantOnce(t, l)
			for key, all := range m.keys {
				for i := range all {
					if _, err := l.Find(t.Context(), leafOf("model", key, &all[i])); all[i].Dot.A.Store == 7 && err != nil {
						t.Errorf("seed %d: %v", seed, err)
					}
				}
			}
			for d := range in {
				if !made[d] {
					t.Errorf("seed %d: %v was never written", seed, d)
				}
			}
			if s := k.feed.Status(); s.Error != "" || s.Waiting != 0 {
				t.Errorf("seed %d: %+v", seed, s)
			}
			if len(in) < 10 || len(in) > len(made) {
				t.Errorf("seed %d: %d leaves of %d writes", seed, len(in), len(made))
			}
			k.stopFeed(t)
			_ = l.Close()
		})
	}
}

// Of writes that come faster than the feed the last one is entered, and the others are counted.
func TestFeedCountsWhatItLeavesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLone(t, vfs.NewMem())
		m := &bucketModel{rand: rand.New(rand.NewPCG(1, 4)), keys: map[string][]version.Sibling{}, last: map[version.Actor]uint64{}, bell: make(chan struct{}, 1)}
		a := version.Actor{Store: 7, Session: 1, Seq: 1}
		for _, n := range []uint64{2, 5} {
			m.keys["k"] = []version.Sibling{{Dot: version.Dot{A: a, N: n}, Value: []byte("v")}}
			m.order = append(m.order, "k")
			k := &keeper{box: &box{Ledger: l}}
			k.runFeed(m)
			time.Sleep(time.Second)
			if s := k.feed.Status(); s.Entered != 1 || s.LeftOut != n/2 {
				t.Errorf("%+v", s)
			}
			k.stopFeed(t)
		}
		_ = l.Close()
	})
}

// A bucket that was made anew does not know the place of the former one: all of it is read.
func TestFeedAfterTheBucketWasMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLone(t, vfs.NewMem())
		if err := l.own.savePlace(t.Context(), "model", "99"); err != nil {
			t.Fatal(err)
		}
		m := &bucketModel{rand: rand.New(rand.NewPCG(1, 4)), keys: map[string][]version.Sibling{}, last: map[version.Actor]uint64{}, bell: make(chan struct{}, 1)}
		for range 30 {
			m.write(7)
		}
		k := &keeper{box: &box{Ledger: l}}
		k.runFeed(refuser{m})
		time.Sleep(time.Minute)
		if in := wantOnce(t, l); len(in) < 10 || k.feed.Status().Error != "" {
			t.Errorf("%d leaves, %+v", len(in), k.feed.Status())
		}
		k.stopFeed(t)
		_ = l.Close()
	})
}

// refuser is a bucketModel that knows no place behind its end.
type refuser struct{ *bucketModel }

func (m refuser) Follow(ctx context.Context, from string, told func(string, []version.Sibling) error, current func(string) error) error {
	if from == "99" {
		return errors.New("it is of another bucket")
	}
	return m.bucketModel.Follow(ctx, from, told, current)
}

func TestLeafOfADelete(t *testing.T) {
	empty, gone := leafOf("b", "k", &version.Sibling{}), leafOf("b", "k", &version.Sibling{Flags: version.Tomb})
	if empty.Sum != sha256.Sum256(nil) || gone.Sum != [32]byte{} {
		t.Error(empty, gone)
	}
}

// A feed of a closed ledger says so.
func TestFeedOfAClosedLedgerEnds(t *testing.T) {
	l := openLone(t, vfs.NewMem())
	m := &bucketModel{rand: rand.New(rand.NewPCG(1, 4)), bell: make(chan struct{}, 1)}
	done := make(chan error)
	go func() { done <- l.NewFeed(m).Run(context.Background()) }()
	_ = l.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}
