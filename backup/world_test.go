package backup

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/age"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/memnet"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica"
)

// memory is a tier in memory. fail, if set, is asked before each call.
type memory struct {
	mu      sync.Mutex
	objects map[string][]byte
	times   map[string]time.Time
	fail    func(op, name string) error
}

func newMemory() *memory { return &memory{objects: map[string][]byte{}, times: map[string]time.Time{}} }

func (m *memory) begin(ctx context.Context, op, name string) error {
	m.mu.Lock()
	fail := m.fail
	m.mu.Unlock()
	if fail != nil {
		if err := fail(op, name); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (m *memory) Put(ctx context.Context, name string, data []byte) error {
	if err := cmp.Or(CheckName(name), m.begin(ctx, "put", name)); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.objects[name]; ok && !bytes.Equal(old, data) {
		return fmt.Errorf("%s is put anew with other bytes", name)
	}
	m.objects[name], m.times[name] = bytes.Clone(data), time.Now()
	return nil
}

func (m *memory) Get(ctx context.Context, name string, most int) ([]byte, error) {
	if err := m.begin(ctx, "get", name); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.objects[name]
	if !ok {
		return nil, ErrNoObject
	}
	return bytes.Clone(data[:min(len(data), most)]), nil
}

func (m *memory) Stat(ctx context.Context, name string) (Object, error) {
	if err := m.begin(ctx, "stat", name); err != nil {
		return Object{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.objects[name]
	if !ok {
		return Object{}, ErrNoObject
	}
	return Object{name, int64(len(data)), m.times[name]}, nil
}

func (m *memory) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		if err := m.begin(ctx, "list", prefix); err != nil {
			yield(Object{}, err)
			return
		}
		for _, name := range m.names() {
			if strings.HasPrefix(name, prefix) && !yield(Object{name, int64(len(m.objects[name])), m.times[name]}, nil) {
				return
			}
		}
	}
}

func (m *memory) Delete(ctx context.Context, name string) error {
	if err := m.begin(ctx, "delete", name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
	return nil
}

func (m *memory) names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.objects))
}

// box is a node with its store, and its backups.
type box struct {
	node   *mesh.Node
	store  *replica.Store
	bucket *replica.Bucket
	backup *Backup
	fs     *vfs.MemFS // of the backups
	clock  *clock.Clock
	cfg    Config
}

// world is one or several meshes, in virtual time.
type world struct {
	t        *testing.T
	net      *memnet.Net
	hosts    int
	identity string
	to       string // the recipient
	dirs     func() string
	all      []*box
}

func inWorld(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	outer := t
	synctest.Test(t, func(t *testing.T) {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, net: memnet.New(1), identity: id.String(), to: id.Recipient().String(), dirs: outer.TempDir}
		w.net.SetPaths(memnet.Path{Delay: 500 * time.Microsecond})
		defer func() {
			for _, b := range w.all {
				w.close(b)
			}
		}()
		fn(t, w)
	})
}

func (w *world) close(b *box) {
	w.t.Helper()
	if b.backup != nil {
		_ = b.backup.Close()
	}
	if err := errors.Join(b.store.Close(), b.node.Close()); err != nil {
		w.t.Error(err)
	}
}

// newMesh starts a mesh of so many nodes.
func (w *world) newMesh(n, shards int, name string) (out []*box) {
	w.t.Helper()
	first := w.hosts + 1
	for range n {
		out = append(out, w.start(first, shards, name))
	}
	for _, b := range out {
		w.until(func() bool { return b.node.View().Count(view.Alive) == n })
	}
	w.openBuckets(out)
	return out
}

// start starts one node of the mesh whose first node has so high an address.
func (w *world) start(first, shards int, name string) *box {
	w.t.Helper()
	w.hosts++
	addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(w.hosts)})
	node, err := mesh.Start(context.Background(), mesh.Config{
		Dir: w.dirs(), Secret: bytes.Repeat([]byte{byte(first)}, identity.SecretSize), MeshName: name, Storing: true, Shards: shards, Profile: mesh.LAN,
		Name: fmt.Sprintf("node-%d", w.hosts), Zone: fmt.Sprintf("zone-%d", w.hosts%3), Listen: netip.AddrPortFrom(addr, 7800).String(),
		Seeds: []string{fmt.Sprintf("10.0.0.%d:7800", first)}, Network: w.net.Host(addr),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	b := &box{node: node, fs: vfs.NewMem(), clock: clock.Simulated(0)}
	if b.store, err = replica.Open(context.Background(), replica.Config{Mesh: node, PurgeEvery: 10 * time.Minute}); err != nil {
		w.t.Fatal(err)
	}
	w.all = append(w.all, b)
	return b
}

func (w *world) openBuckets(all []*box) {
	w.t.Helper()
	time.Sleep(time.Minute) // until they know what they lack
	for _, b := range all {
		var err error
		if b.bucket, err = b.store.Bucket(context.Background(), "b", replica.BucketConfig{}); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) until(cond func() bool) {
	w.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatal("not within two minutes")
		}
	}
}

// open begins to back up at a node, to tiers, by a policy "all" of all of them.
func (w *world) open(b *box, every time.Duration, tiers map[string]Tier, change ...func(*Config)) {
	w.t.Helper()
	b.cfg = Config{Mesh: b.node, Store: b.store, Policies: []Policy{{Name: "all"}}}
	for _, name := range slices.Sorted(maps.Keys(tiers)) {
		b.cfg.Tiers = append(b.cfg.Tiers, TierConfig{Name: name, Tier: tiers[name], Recipients: []string{w.to}})
		b.cfg.Policies[0].Levels = append(b.cfg.Policies[0].Levels, Level{Tier: name, Every: every})
	}
	for _, c := range change {
		c(&b.cfg)
	}
	var err error
	if b.backup, err = openOn(context.Background(), b.cfg, b.fs, b.clock); err != nil {
		w.t.Fatal(err)
	}
}

// backUp makes a backup at all of the nodes.
func (w *world) backUp(tier string, all ...*box) (sum Done) {
	w.t.Helper()
	for _, b := range all {
		d, err := b.backup.Now(context.Background(), "all", tier)
		if err != nil || d.Failed != nil || d.NotReady > 0 || d.TooLarge > 0 {
			w.t.Fatalf("%+v, %v", d, err)
		}
		sum.Bytes, sum.Records, sum.Changed = sum.Bytes+d.Bytes, sum.Records+d.Records, sum.Changed+d.Changed
	}
	return sum
}

func (w *world) put(b *box, key, value string) {
	w.t.Helper()
	if _, err := b.bucket.Put(context.Background(), key, []byte(value), nil); err != nil && !errors.Is(err, replica.ErrDegraded) {
		w.t.Fatal(err)
	}
}

func (w *world) delete(b *box, key string) {
	w.t.Helper()
	if _, err := b.bucket.Delete(context.Background(), key, nil); err != nil && !errors.Is(err, replica.ErrDegraded) {
		w.t.Fatal(err)
	}
}

// all returns what is in the bucket of a mesh.
func (w *world) items(b *box) map[string]string {
	w.t.Helper()
	out := map[string]string{}
	for e, err := range b.bucket.Scan(context.Background(), replica.ScanOptions{}) {
		if err != nil && !errors.Is(err, replica.ErrDegraded) {
			w.t.Fatal(err)
		}
		if v, ok := e.Value(); ok {
			out[e.Key] = string(v)
		}
	}
	return out
}

// restore brings what is at tiers into a mesh.
func (w *world) restore(b *box, from view.MeshID, tiers ...Tier) Restored {
	w.t.Helper()
	cfg := RestoreConfig{Target: b.store, From: from, Identities: []string{w.identity}}
	for i, t := range tiers {
		cfg.Tiers = append(cfg.Tiers, NamedTier{fmt.Sprint("tier-", i), t})
	}
	got, err := Restore(context.Background(), cfg)
	if err != nil {
		w.t.Fatalf("%+v, %v", got, err)
	}
	return got
}

func (w *world) wantItems(b *box, want map[string]string) {
	w.t.Helper()
	got := w.items(b)
	if maps.Equal(got, want) {
		return
	}
	for key, v := range want {
		if got[key] != v {
			w.t.Errorf("%s is %.20q, it was %.20q", key, got[key], v)
		}
	}
	for key, v := range got {
		if _, ok := want[key]; !ok {
			w.t.Errorf("%s is %.20q, it was deleted", key, v)
		}
	}
}

func (b *box) bucketConfig() replica.BucketConfig { return replica.BucketConfig{} }

func newFS() *vfs.MemFS { return vfs.NewMem() }
