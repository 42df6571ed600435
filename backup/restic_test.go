package backup_test

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/backup/dir"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/replica"
)

const (
	benchItems = 100_000
	benchValue = 1024
)

// BenchmarkAgainstRestic backs up 100 000 items of 1 KiB to a directory, then again after one
// in a hundred was rewritten, and has restic back up a file of the same bytes, in turn. It reports
// ratios to restic (bytes and time), how much the heap has grown, and what a backup does to puts.
//
//	go test ./backup -run '^$' -bench Restic -benchtime 1x -count 3
func BenchmarkAgainstRestic(b *testing.B) {
	if _, err := exec.LookPath("restic"); err != nil {
		b.Skip("restic is not installed")
	}
	for range b.N {
		r := newRace(b)
		r.putMany(0, benchItems)
		time.Sleep(3 * time.Second) // until what it has written is merged
		first, firstRestic := r.backUp(), r.runRestic()
		for i := 0; i < benchItems; i += 100 {
			r.changed[i]++
			r.putMany(i, 1)
		}
		second, secondRestic := r.backUp(), r.runRestic()
		b.ReportMetric(first.took.Seconds()/firstRestic.took.Seconds(), "time_vs_restic")
		b.ReportMetric(float64(first.bytes)/float64(firstRestic.bytes), "bytes_vs_restic")
		b.ReportMetric(float64(second.bytes)/float64(secondRestic.bytes), "delta_bytes_vs_restic")
		b.ReportMetric(float64(second.bytes)/float64(first.bytes), "delta_vs_first")
		b.ReportMetric(second.took.Seconds()/secondRestic.took.Seconds(), "delta_time_vs_restic")
		b.ReportMetric(float64(max(first.heap, second.heap))/(1<<20), "heap_MiB")
		quiet := r.measurePuts(func() { time.Sleep(2 * time.Second) })
		r.openAnew()
		beside := r.measurePuts(func() { r.backUp() })
		b.ReportMetric(beside.Seconds()/quiet.Seconds(), "put_p99_ratio")
		b.ReportMetric(0, "ns/op")
	}
}

// race is a node with items, and a file of the same items.
type race struct {
	b        *testing.B
	node     *mesh.Node
	store    *replica.Store
	bucket   *replica.Bucket
	backups  *backup.Backup
	changed  []byte // counts rewrites
	tier     string
	file     string
	repo     string
	identity *age.X25519Identity
}

type lap struct {
	took  time.Duration
	bytes int64
	heap  int64
}

func newRace(b *testing.B) *race {
	r := &race{b: b, changed: make([]byte, benchItems), file: filepath.Join(b.TempDir(), "items"), repo: b.TempDir(), tier: b.TempDir()}
	ctx := context.Background()
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	var err error
	r.identity, err = age.GenerateX25519Identity()
	must(err)
	secret := make([]byte, identity.SecretSize)
	secret[0] = 1
	r.node, err = mesh.Start(ctx, mesh.Config{Dir: b.TempDir(), Secret: secret, MeshName: "bench", Storing: true, Name: "a", Listen: "127.0.0.1:0"})
	must(err)
	r.store, err = replica.Open(ctx, replica.Config{Mesh: r.node})
	must(err)
	r.bucket, err = r.store.Bucket(ctx, "b", replica.BucketConfig{Copies: 1})
	must(err)
	r.openAnew()
	r.restic("init")
	b.Cleanup(func() { _, _, _ = r.backups.Close(), r.store.Close(), r.node.Close() })
	return r
}

// openAnew begins to back up to an empty directory, of which nothing is known.
func (r *race) openAnew() {
	if r.backups != nil {
		_ = r.backups.Close()
		_ = os.RemoveAll(filepath.Join(r.node.Dir(), "backup"))
		r.tier = r.b.TempDir()
	}
	tier, err := dir.New(dir.Options{Dir: r.tier})
	if err == nil {
		r.backups, err = backup.Open(context.Background(), backup.Config{
			Mesh: r.node, Store: r.store,
			Tiers:    []backup.TierConfig{{Name: "t", Tier: tier, Recipients: []string{r.identity.Recipient().String()}}},
			Policies: []backup.Policy{{Name: "all", Levels: []backup.Level{{Tier: "t"}}}},
		})
	}
	if err != nil {
		r.b.Fatal(err)
	}
}

// valueOf is the same for the store and the file.
func (r *race) valueOf(i int) []byte {
	v := make([]byte, benchValue)
	_, _ = rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), byte(i >> 16), r.changed[i]}).Read(v)
	return v
}

func (r *race) putMany(from, n int) {
	for at := from; at < from+n; at += 1000 {
		var puts []replica.BatchPut
		for i := at; i < min(at+1000, from+n); i++ {
			puts = append(puts, replica.BatchPut{Key: fmt.Sprintf("item-%06d", i), Value: r.valueOf(i)})
		}
		done, err := r.bucket.PutMany(context.Background(), puts, &replica.PutOptions{MinDurable: 1, Level: replica.One})
		if err != nil || done[0].Err != nil {
			r.b.Fatal(err, done[0].Err)
		}
	}
}

func (r *race) backUp() (l lap) {
	runtime.GC()
	was, peak := heapInUse(), int64(0)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				peak = max(peak, heapInUse())
			}
		}
	}()
	begun := time.Now()
	d, err := r.backups.Now(context.Background(), "all", "t")
	l.took = time.Since(begun)
	close(stop)
	<-ended
	if err != nil || d.Failed != nil {
		r.b.Fatal(err, d.Failed)
	}
	l.bytes, l.heap = d.Bytes, max(peak-was, 0)
	return l
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

func (r *race) runRestic() (l lap) {
	f, err := os.Create(r.file)
	if err != nil {
		r.b.Fatal(err)
	}
	for i := range benchItems {
		if _, err := f.Write(r.valueOf(i)); err != nil {
			r.b.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		r.b.Fatal(err)
	}
	before := sizeOfFiles(r.repo)
	begun := time.Now()
	r.restic("backup", r.file)
	l.took = time.Since(begun)
	l.bytes = sizeOfFiles(r.repo) - before
	return l
}

func (r *race) restic(args ...string) {
	c := exec.Command("restic", append([]string{"-q", "--no-cache", "-r", r.repo}, args...)...)
	c.Env = append(c.Environ(), "RESTIC_PASSWORD=bench")
	if out, err := c.CombinedOutput(); err != nil {
		r.b.Fatalf("restic %v: %v\n%s", args, err, out)
	}
}

func sizeOfFiles(root string) (n int64) {
	_ = filepath.WalkDir(root, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			if info, err := e.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

// measurePuts returns the 99th percentile of how long puts take while something is done.
func (r *race) measurePuts(while func()) time.Duration {
	var stop atomic.Bool
	all := make(chan []time.Duration)
	go func() {
		var took []time.Duration
		for i := 0; !stop.Load(); i++ {
			begun := time.Now()
			_, err := r.bucket.Put(context.Background(), fmt.Sprintf("beside-%06d", i%10_000), r.valueOf(i%benchItems), &replica.PutOptions{MinDurable: 1, Level: replica.One})
			if err != nil {
				r.b.Error(err)
				break
			}
			took = append(took, time.Since(begun))
		}
		all <- took
	}()
	while()
	stop.Store(true)
	took := <-all
	slices.Sort(took)
	return took[len(took)*99/100]
}
