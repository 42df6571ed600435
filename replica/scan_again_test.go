package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// withDamage runs fn with three nodes, of which the first has so many records and cannot
// read one of them.
func withDamage(t *testing.T, keys int, fn func(t *testing.T, net *fakeNet, nodes []*fakeNode, b *Bucket, want []string)) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		var want []string
		for i := range keys {
			key := fmt.Sprintf("key-%02d", i)
			mustPut(t, buckets[0], key, "v")
			want = append(want, key+"=v")
		}
		time.Sleep(5 * time.Second)
		damageRecords(t, nodes[0], buckets[0], keys)
		fn(t, net, nodes, buckets[0], want)
		net.lose(nil)
	})
}

func lookupsLost(_, _ view.NodeID, method string, _ []byte) bool { return method == wire.MethodRead }

// Where reading a key again does not decide the scan shows what the pages had, and has said
// before of which shards that may be too little, each once.
func TestScanShowsWhatPagesHadBesideAGap(t *testing.T) {
	withDamage(t, 20, func(t *testing.T, net *fakeNet, nodes []*fakeNode, b *Bucket, want []string) {
		net.lose(lookupsLost)
		var got []string
		told := make(map[int]int)
		for e, err := range b.Scan(context.Background(), ScanOptions{}) {
			var gap *ScanGap
			if errors.As(err, &gap) {
				for _, shard := range gap.Shards {
					told[shard]++
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			v, _ := e.Value()
			got = append(got, e.Key+"="+string(v))
			if shard := nodes[0].store.homes.ShardOf(b.b.ID, e.Key); told[shard] != 1 {
				t.Errorf("%q of shard %d comes, told %d times that it lacks homes", e.Key, shard, told[shard])
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d entries: %q", len(got), got)
		}
	})
}

func TestScanReadsAgainSeveralAtATime(t *testing.T) {
	withDamage(t, 48, func(t *testing.T, net *fakeNet, _ []*fakeNode, b *Bucket, want []string) {
		net.watchCalls(func(method string) {
			if method == wire.MethodRead {
				time.Sleep(100 * time.Millisecond)
			}
		})
		begin := time.Now()
		wantScanned(t, "damaged everywhere here", b.Scan(context.Background(), ScanOptions{}), want...)
		if took := time.Since(begin); took > 1500*time.Millisecond {
			t.Errorf("48 keys are read again in %v", took)
		}
		wantScanned(t, "with a limit", b.Scan(context.Background(), ScanOptions{Limit: 20}), want[:20]...)
	})
}

func TestScanClosedWhileItReadsAgain(t *testing.T) {
	withDamage(t, 3, func(t *testing.T, net *fakeNet, nodes []*fakeNode, b *Bucket, _ []string) {
		net.lose(lookupsLost)
		time.AfterFunc(100*time.Millisecond, func() { _ = nodes[0].store.Close() })
		for _, err := range b.Scan(context.Background(), ScanOptions{}) {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("%v", err)
			}
		}
	})
}

func TestScanGoesOnAfterItsContextWhileItReadsAgain(t *testing.T) {
	withDamage(t, 3, func(t *testing.T, net *fakeNet, _ []*fakeNode, b *Bucket, want []string) {
		net.lose(lookupsLost)
		sc, err := b.beginScan(ScanOptions{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer sc.endScan()
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if _, err := sc.nextEntry(ctx); !errors.Is(err, context.DeadlineExceeded) || sc.cursor() != "" {
			t.Fatalf("%v, at %q", err, sc.cursor())
		}
		net.lose(nil)
		for _, w := range want {
			e, err := sc.nextEntry(context.Background())
			for errors.Is(err, ErrDegraded) { // who was silent is not asked at once
				e, err = sc.nextEntry(context.Background())
			}
			if err != nil || e.Key+"=v" != w || sc.cursor() != e.Cursor() {
				t.Fatalf("%q, %v, want %q", e.Key, err, w)
			}
		}
	})
}

// What comes after the time of an answer has ended moves the cursor on as well.
func TestCursorFollowsWhatComesAfterTheContextHasEnded(t *testing.T) {
	bubble(t, 1, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 10 {
			mustPut(t, buckets[0], fmt.Sprint(i), "v")
		}
		sc, err := buckets[0].beginScan(ScanOptions{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer sc.endScan()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		for n := 0; ; n++ {
			e, err := sc.nextEntry(ctx)
			if err != nil {
				if n < 2 {
					t.Errorf("%d came: %v", n, err)
				}
				return
			}
			if sc.cursor() != e.Cursor() {
				t.Errorf("%q has come, and the cursor is %q", e.Key, sc.cursor())
			}
			cancel()
		}
	})
}
