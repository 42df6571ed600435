package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/ledger"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica"
	"github.com/skeinmesh/skein/replica/version"
)

// shared is a mirror that all nodes have in common.
type shared struct {
	mu    sync.Mutex
	tiles map[string][]byte
}

func (s *shared) Read(_ context.Context, path string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if data, ok := s.tiles[path]; ok {
		return data, nil
	}
	return nil, fs.ErrNotExist
}

func (s *shared) Write(_ context.Context, path string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tiles[path] = bytes.Clone(data)
	return nil
}

// Every node proves what any key holds, whoever has written it: by its own log, by that of the writer, and
// by the copy of that when the writer is gone. What is forged is no proof.
func TestAnyNodeProvesAnyKey(t *testing.T) {
	inWorld(t, 3, 3, func(w *world) {
		mirror := &shared{tiles: map[string][]byte{}}
		var all []*keeper
		for _, b := range w.boxes {
			var err error
			if b.Ledger, err = Open(context.Background(), Config{Mesh: b, Dir: "ledger", fs: b.fs, Mirror: mirror}); err != nil {
				t.Fatal(err)
			}
			k := openStore(t, b)
			all = append(all, k)
		}
		time.Sleep(time.Minute)
		ctx := context.Background()
		keys := []string{}
		for i := range 30 {
			keys = append(keys, fmt.Sprint("k", i))
			all[i%3].put(t, keys[i], fmt.Sprint("value", i))
		}
		if _, err := all[1].ProveKey(ctx, all[1].bucket.Writes(), keys[5]); !errors.Is(err, ErrNotFound) {
			t.Errorf("before it is entered: %v", err)
		}
		for _, k := range all {
			k.runFeed(k.bucket.Writes())
			defer k.close(t)
		}
		time.Sleep(time.Second)
		all[0].delete(t, keys[0])
		w.until("all is entered", func() bool { return lacks(t, all, keys...) == "" })
		w.round()
		by := map[view.NodeID]int{}
		check := func(k *keeper, key string) {
			t.Helper()
			by[checkKeyProof(t, all, k, key, key == keys[0])]++
		}
		for _, key := range keys {
			for _, k := range all {
				check(k, key)
			}
		}
		if len(by) != 3 {
			t.Errorf("by one or two nodes alone: %v", by)
		}
		_, err := all[0].ProveKey(ctx, all[0].bucket.Writes(), "never written")
		if !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		w.net.Silence(all[2].addr) // it is gone
		gone := all[2].node.ID()
		n := 0
		for _, key := range keys {
			s, err := all[0].bucket.Writes().Read(ctx, key)
			if err != nil && !errors.Is(err, replica.ErrDegraded) || len(s) == 0 {
				t.Fatal(err)
			}
			if s[0].Dot.A.Store != uint64(gone) {
				continue
			}
			check(all[0], key)
			if n++; n == 3 {
				break
			}
		}
		if n == 0 {
			t.Error("none is of the node that is gone")
		}
		// A mirror that somebody has rewritten gives no proof.
		log, _ := all[2].Keys()
		key, _ := ledger.ParseKey(log)
		mirror.mu.Lock()
		for path, data := range mirror.tiles {
			if strings.HasPrefix(path, key.Path()) && strings.Contains(path, "tile") {
				for i := 2; i < len(data); i++ {
					data[i] ^= 1
				}
			}
		}
		mirror.mu.Unlock()
		for _, key := range keys {
			if s, _ := all[0].bucket.Writes().Read(ctx, key); s[0].Dot.A.Store == uint64(gone) {
				if _, err := all[0].ProveKey(ctx, all[0].bucket.Writes(), key); err == nil {
					t.Error("proven by a mirror that was rewritten")
				}
				break
			}
		}
	})
}

// checkKeyProof wants a proof by one node alone, and the cosignatures of the others. It returns whose log
// it is of.
func checkKeyProof(t *testing.T, all []*keeper, k *keeper, key string, deleted bool) view.NodeID {
	t.Helper()
	got, err := k.ProveKey(context.Background(), k.bucket.Writes(), key)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	for i, other := range all {
		log, cosign := other.Keys()
		proven, err := Verify(got.Proof, Trust{Log: log})
		if (err == nil) != (other.id == got.Node) || err == nil && (proven.Leaf.Key != key || proven.Leaf.Bucket != "b" || got.Log != log) {
			t.Errorf("%s: %+v, %v", key, proven, err)
		}
		if _, err := Verify(got.Proof, Trust{Log: got.Log, Witnesses: []string{cosign}, Quorum: 1}); (err == nil) == (other.id == got.Node) {
			t.Errorf("cosigned by %d: %v", i, err)
		}
	}
	if zero := got.Proven.Leaf.Sum == [32]byte{}; zero != deleted {
		t.Errorf("%s: sum %x", key, got.Proven.Leaf.Sum)
	}
	return got.Node
}

// A node that answers with a proof of something else, or with any byte of one flipped, is found out.
func TestAnswersAreChecked(t *testing.T) {
	inWorld(t, 2, 1, func(w *world) {
		liar, asker := w.boxes[0], w.boxes[1]
		l, err := Open(context.Background(), Config{Mesh: loneMesh{7}, Dir: "ledger", fs: liar.fs})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		log, _ := l.Keys()
		key, _ := ledger.ParseKey(log)
		leaf := testLeaf(0)
		leaf.At = time.Time{}
		leaf.Dot.A.Store = uint64(liar.node.ID())
		index, err := l.Append(context.Background(), leaf)
		if err != nil {
			t.Fatal(err)
		}
		good, err := l.Prove(context.Background(), index, leaf)
		if err != nil {
			t.Fatal(err)
		}
		answer := good
		if err := liar.node.Handle(methodProve, func(context.Context, view.NodeID, []byte) ([]byte, error) { return answer, nil }); err != nil {
			t.Fatal(err)
		}
		asker.witness.mu.Lock()
		asker.witness.logs = []*watched{{node: liar.node.ID(), key: key}}
		asker.witness.mu.Unlock()
		if got, err := asker.askProof(context.Background(), liar.node.ID(), leaf); err != nil || got.Log != log {
			t.Fatal(err)
		}
		for _, change := range []func(*Leaf){
			func(l *Leaf) { l.Key += "x" }, func(l *Leaf) { l.Bucket = "c" }, func(l *Leaf) { l.Sum[3] ^= 1 }, func(l *Leaf) { l.Dot.N++ },
		} {
			other := leaf
			change(&other)
			if _, err := asker.askProof(context.Background(), liar.node.ID(), other); !errors.Is(err, ErrUnproven) {
				t.Errorf("%+v: %v", other, err)
			}
		}
		r := rand.New(rand.NewPCG(1, 2))
		for range 300 {
			answer = bytes.Clone(good)
			answer[r.IntN(len(answer))] ^= 1 << r.IntN(8)
			if _, err := asker.askProof(context.Background(), liar.node.ID(), leaf); !errors.Is(err, ErrUnproven) {
				t.Fatalf("a flipped bit: %v", err)
			}
		}
		answer = nil
		if _, err := asker.askProof(context.Background(), liar.node.ID(), leaf); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	})
}

// A node that has never met the writer finds the writer's log in the mirror. A key that bears another
// name is not taken.
func TestMirrorNamesTheLog(t *testing.T) {
	ctx, mirror := context.Background(), &shared{tiles: map[string][]byte{}}
	open := func(id view.NodeID) *Ledger {
		l, err := Open(ctx, Config{Mesh: loneMesh{id}, Dir: "ledger", fs: vfs.NewMem(), Mirror: mirror})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	writer, reader, forger := open(7), open(8), open(9)
	m := &bucketModel{keys: map[string][]version.Sibling{"k": {{Dot: version.Dot{A: version.Actor{Store: 7, Session: 1}, N: 1}, Value: []byte("v")}}}}
	leaf := leafOf("model", "k", &m.keys["k"][0])
	for _, l := range []*Ledger{writer, forger} {
		if _, err := l.Append(ctx, leaf); err != nil {
			t.Fatal(err)
		}
		if err := l.Cosign(ctx); err != nil {
			t.Fatal(err)
		}
	}
	got, err := reader.ProveKey(ctx, m, "k")
	if log, _ := writer.Keys(); err != nil || got.Log != log || got.Node != 7 {
		t.Errorf("%+v, %v", got, err)
	}
	mirror.tiles[keyPathOf(7)] = mirror.tiles[keyPathOf(9)]
	if got, err := reader.ProveKey(ctx, m, "k"); err == nil {
		t.Errorf("proven by %s", got.Log)
	}
	mirror.tiles[keyPathOf(7)] = []byte("no key")
	if _, err := reader.ProveKey(ctx, m, "k"); err == nil {
		t.Error("proven without a key")
	}
}
