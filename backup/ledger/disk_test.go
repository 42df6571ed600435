package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/skeinmesh/skein/internal/ledger"
)

func TestAppendFindProveVerify(t *testing.T) {
	ctx := context.Background()
	l := openLone(t, vfs.NewMem())
	appendLeaves(t, l, 0, 600)
	if _, err := l.Append(ctx, Leaf{Kind: Write, Key: strings.Repeat("k", 1<<17)}); !errors.Is(err, ErrLeaf) {
		t.Error(err)
	}
	log, cosign := l.Keys()
	for _, i := range []int{0, 255, 256, 599} {
		want := testLeaf(i)
		asked := want
		asked.At, asked.Dot.N = time.Time{}, 0
		if asked.Dot = want.Dot; i%2 == 0 {
			asked.Dot.N, asked.Dot.A.Store, asked.Dot.A.Session, asked.Dot.A.Seq = 0, 0, 0, 0 // any version
		}
		index, err := l.Find(ctx, asked)
		if err != nil {
			t.Fatal(err)
		}
		proof, err := l.Prove(ctx, index, asked)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Verify(proof, Trust{Log: log})
		if err != nil || got.Leaf != want || got.Index != index || got.Size != 600 {
			t.Errorf("proven: %+v, %v", got, err)
		}
		if _, err := Verify(proof, Trust{Log: log, Witnesses: []string{cosign}, Quorum: 1}); !errors.Is(err, ErrUnproven) {
			t.Errorf("without a cosignature: %v", err)
		}
		asked.Key += "x"
		_, err = l.Find(ctx, asked)
		_, err2 := l.Prove(ctx, index, asked)
		if _, err3 := l.Prove(ctx, 600, want); !errors.Is(err, ErrNotFound) || !errors.Is(err2, ErrNotFound) || !errors.Is(err3, ErrNotFound) {
			t.Error(err, err2, err3)
		}
	}
	other := openLone(t, vfs.NewMem())
	if otherLog, _ := other.Keys(); otherLog == log {
		t.Error("two nodes have one key")
	}
}

// Nothing of what was written is on the disk in a form that can be guessed.
func TestDiskHoldsNoNames(t *testing.T) {
	mem := vfs.NewMem()
	l := openLone(t, mem)
	leaf := testLeaf(1)
	leaf.Bucket, leaf.Key = "planted-bucket", "planted-key"
	if _, err := l.Append(context.Background(), leaf); err != nil {
		t.Fatal(err)
	}
	_, _ = l.Checkpoint(context.Background())
	eachFile(t, mem, "ledger", func(path string, data []byte) {
		if bytes.Contains(data, []byte("planted")) || bytes.Contains(data, leaf.Sum[:8]) {
			t.Errorf("%s tells it", path)
		}
	})
}

func eachFile(t *testing.T, mem *vfs.MemFS, dir string, fn func(path string, data []byte)) {
	t.Helper()
	names, err := mem.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := mem.PathJoin(dir, name)
		if info, err := mem.Stat(path); err == nil && info.IsDir() {
			eachFile(t, mem, path, fn)
		} else if data, err := (dirTiles{mem, ""}).Read(context.Background(), path); err == nil {
			fn(path, data)
		}
	}
}

// handedOut is a checkpoint, or a leaf and its index, that somebody got before a crash.
type handedOut struct {
	mu     sync.Mutex
	notes  [][]byte
	leaves map[int64]Leaf
}

// Power is cut at any moment. The log goes on from every checkpoint that anybody got, and has
// every leaf that was acknowledged.
func TestCrashAtAnyMoment(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 6
	}
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 9))
		mem, out := vfs.NewCrashableMem(), &handedOut{leaves: map[int64]Leaf{}}
		for life := range 4 {
			l, err := Open(context.Background(), Config{Mesh: loneMesh{7}, Dir: "ledger", fs: mem})
			if err != nil {
				t.Fatalf("seed %d, life %d: %v", seed, life, err)
			}
			out.check(t, l)
			stop, crashed := make(chan struct{}), make(chan *vfs.MemFS, 1)
			var all sync.WaitGroup
			for g := range 4 {
				all.Go(func() { out.work(l, life*4+g, stop) })
			}
			at := r.IntN(200)
			cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: rand.New(rand.NewPCG(seed, uint64(life)))}
			all.Go(func() {
				for l.Status().Size < int64(at) {
					time.Sleep(time.Microsecond)
				}
				out.mu.Lock() // what is handed out up to here
				crashed <- mem.CrashClone(cfg)
				close(stop) // nothing after it is
				out.mu.Unlock()
			})
			mem2 := <-crashed
			all.Wait()
			_ = l.Close()
			if mem = mem2; t.Failed() {
				return
			}
		}
	}
}

func (o *handedOut) work(l *Ledger, worker int, stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		leaf := testLeaf(worker*100_000 + i)
		index, err := l.Append(context.Background(), leaf)
		note := []byte(nil)
		if i%7 == 0 {
			note, _ = l.Checkpoint(context.Background())
		}
		o.mu.Lock()
		select {
		case <-stop: // the disk is gone already
			o.mu.Unlock()
			return
		default:
		}
		if err == nil {
			o.leaves[index] = leaf
		}
		if note != nil {
			o.notes = append(o.notes, note)
		}
		o.mu.Unlock()
	}
}

// check shows that a log goes on from all that was handed out.
func (o *handedOut) check(t *testing.T, l *Ledger) {
	t.Helper()
	ctx := context.Background()
	now, err := l.own.signNow(ctx)
	if err != nil || len(l.Status().Alarms) > 0 {
		t.Fatal(err, l.Status().Alarms)
	}
	log, _ := l.Keys()
	if _, err := VerifyAll(ctx, l.own.files, log, now.note); err != nil {
		t.Fatal(err)
	}
	for _, note := range o.notes {
		old, err := l.own.openOwn(note)
		if err != nil {
			t.Fatal(err)
		}
		proof, err := ledger.ProveGrowth(now.Checkpoint, old.Size, l.own.kept.readBy(ctx))
		if err != nil || !ledger.GrowsFrom(old.Checkpoint, now.Checkpoint, proof) {
			t.Fatalf("%d leaves do not go on from %d: %v", now.Size, old.Size, err)
		}
	}
	for index, leaf := range o.leaves {
		if _, err := l.Prove(ctx, index, leaf); err != nil {
			t.Fatalf("leaf %d of %d is lost: %v", index, now.Size, err)
		}
	}
}

// Each write fails once. What failed may be there or not; what did not is there.
func TestDiskFailsAtAnyWrite(t *testing.T) {
	for n := range int32(40) {
		mem := vfs.NewMem()
		index := errorfs.OnIndex(n)
		disk := errorfs.Wrap(mem, errorfs.ErrInjected.If(errorfs.And(errorfs.Writes, index)))
		l, err := Open(context.Background(), Config{Mesh: loneMesh{7}, Dir: "ledger", fs: disk})
		out := &handedOut{leaves: map[int64]Leaf{}}
		for i := 0; err == nil && i < 30; i++ {
			if at, err := l.Append(context.Background(), testLeaf(i)); err == nil {
				out.leaves[at] = testLeaf(i)
			}
			if note, err := l.Checkpoint(context.Background()); err == nil && i%5 == 0 {
				out.notes = append(out.notes, note)
			}
		}
		if err == nil {
			if len(out.leaves) < 29 {
				t.Errorf("%d leaves of 30", len(out.leaves))
			}
			out.check(t, l)
			_ = l.Close()
		}
		again, err := Open(context.Background(), Config{Mesh: loneMesh{7}, Dir: "ledger", fs: mem})
		if err != nil {
			t.Fatalf("write %d: %v", n, err)
		}
		out.check(t, again)
		_ = again.Close()
	}
}

// The last leaf of a bundle cannot be written. The next one takes its place.
func TestFailedLeafAtTheEndOfABundle(t *testing.T) {
	ctx, mem := context.Background(), vfs.NewMem()
	var full atomic.Bool
	l := openLone(t, errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return errorfs.ErrInjected
		}
		return nil
	})))
	out := &handedOut{leaves: map[int64]Leaf{}}
	for i := range 260 {
		full.Store(i == 255)
		index, err := l.Append(ctx, testLeaf(i))
		if (err != nil) != (i == 255) {
			t.Fatalf("leaf %d: %v", i, err)
		}
		if err == nil {
			out.leaves[index] = testLeaf(i)
		}
	}
	if index, err := l.Find(ctx, testLeaf(255)); !errors.Is(err, ErrNotFound) {
		t.Errorf("a leaf that was refused is at %d: %v", index, err)
	}
	out.check(t, l)
	_ = l.Close()
	out.check(t, openLone(t, mem))
}

// A tile or an entry that was rewritten is found at the next opening, by whoever reads all, and by no
// proof.
func TestRewrittenTileIsFound(t *testing.T) {
	ctx := context.Background()
	mem := vfs.NewMem()
	l := openLone(t, mem)
	appendLeaves(t, l, 0, 700)
	if _, err := l.Checkpoint(ctx); err != nil {
		t.Fatal(err)
	}
	log, _ := l.Keys()
	read := func(path string) []byte {
		data, err := l.own.kept.readBy(ctx)(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	open := func() (*Ledger, error) {
		return Open(ctx, Config{Mesh: loneMesh{7}, Dir: "ledger", fs: mem})
	}
	for path, edge := range map[string]bool{ledger.Path(0, 1): false, ledger.EntriesPath(0): false, ledger.EntriesPath(2): false, ledger.Path(0, 2): true, ledger.Path(1, 0): true} {
		good := read(path)
		bad := bytes.Clone(good)
		bad[40] ^= 1
		_ = l.own.kept.writeTo(ctx, path, bad)
		if _, err := VerifyAll(ctx, l.own.files, log, nil); !errors.Is(err, ErrUnproven) {
			t.Errorf("%s: %v", path, err)
		}
		again, err := open()
		if edge && !errors.Is(err, ErrTampered) {
			t.Errorf("%s: opened, %v", path, err)
		}
		if !edge {
			if err != nil {
				t.Fatal(err)
			}
			if alarms := again.Status().Alarms; len(alarms) != 1 || alarms[0].Kind != Rewritten || alarms[0].Seen == nil {
				t.Errorf("%s: %v", path, alarms)
			}
			_ = again.Close()
			_ = mem.Remove("ledger/alarms")
		}
		_ = l.own.kept.writeTo(ctx, path, good)
	}
	if err := mem.Remove("ledger/" + l.own.kept.prefix + ledger.EntriesPath(1)); err != nil {
		t.Fatal(err)
	}
	again, err := open()
	if err != nil || len(again.Status().Alarms) != 1 {
		t.Fatalf("a bundle is missing: %v", err)
	}
	_ = again.Close()
	third, err := open() // the alarm outlives the process
	if err != nil || len(third.Status().Alarms) != 1 {
		t.Fatal(err)
	}
	_ = third.Close()
}

func TestRealFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	l, err := Open(context.Background(), Config{Mesh: loneMesh{7}, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	appendLeaves(t, l, 0, 300)
	if _, err := l.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if _, err := l.Append(context.Background(), testLeaf(1)); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	info, err := os.Stat(filepath.Join(dir, "key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info.Mode(), err)
	}
	log, _ := l.Keys()
	if n, err := VerifyAll(context.Background(), DirTiles(dir), log, nil); err != nil || n != 300 {
		t.Error(n, err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := VerifyAll(ended, DirTiles(dir), log, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), Config{Mesh: loneMesh{7}, Dir: dir}); err == nil {
		t.Error("a damaged key is used or replaced")
	}
}

// memoryBucket is a bucket that may fail.
type memoryBucket struct {
	mu    sync.Mutex
	items map[string][]byte
	fault error
}

func (b *memoryBucket) Get(_ context.Context, key string) ([]byte, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, found := b.items[key]
	return data, found, b.fault
}

func (b *memoryBucket) Put(_ context.Context, key string, value []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fault == nil {
		b.items[key] = bytes.Clone(value)
	}
	return b.fault
}

// The mirror holds a whole log after each round, also one that a later opening adds to, and when
// it fails nothing waits for it.
func TestMirrorIsAWholeLog(t *testing.T) {
	ctx := context.Background()
	mem, bucket := vfs.NewMem(), &memoryBucket{items: map[string][]byte{}}
	log := ""
	for life := range 3 {
		l, err := Open(ctx, Config{Mesh: loneMesh{7}, Dir: "ledger", Mirror: BucketTiles(bucket, "log/"), fs: mem})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			n := int(l.Status().Size)
			appendLeaves(t, l, n, n+190)
			bucket.fault = errors.New("no quorum")
			if err := l.Cosign(ctx); !errors.Is(err, bucket.fault) {
				t.Error(err)
			}
			appendLeaves(t, l, n+190, n+200)
			bucket.fault = nil
			if err := l.Cosign(ctx); err != nil {
				t.Error(err)
			}
			log, _ = l.Keys()
			if n, err := VerifyAll(ctx, BucketTiles(bucket, "log/"), log, nil); err != nil || n != l.Status().Size {
				t.Errorf("life %d: %d of %d, %v", life, n, l.Status().Size, err)
			}
		}
		_ = l.Close()
	}
	bucket.fault = errors.New("no quorum")
	if _, err := VerifyAll(ctx, BucketTiles(bucket, "log/"), log, nil); !errors.Is(err, bucket.fault) || errors.Is(err, ErrUnproven) {
		t.Errorf("what cannot be read is told as %v", err)
	}
	bucket.fault = nil
	if _, err := BucketTiles(bucket, "log/").Read(ctx, "nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestConfigFaults(t *testing.T) {
	err := Config{Witnesses: 65}.Validate()
	if !errors.Is(err, ErrConfig) || !strings.Contains(fmt.Sprint(err), "no Mesh") || !strings.Contains(fmt.Sprint(err), "no Dir") || !strings.Contains(fmt.Sprint(err), "65") {
		t.Error(err)
	}
}
