package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/internal/memnet"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/replica"
)

const patience = 2 * time.Minute // on a busy machine

// lone is a mesh of one node.
type lone struct {
	t      *testing.T
	node   *mesh.Node
	store  *replica.Store
	bucket *replica.Bucket
}

func newLone(t *testing.T, host byte, shards int) *lone {
	t.Helper()
	addr := netip.AddrFrom4([4]byte{10, 0, 0, host})
	node, err := mesh.Start(t.Context(), mesh.Config{
		Dir: t.TempDir(), Secret: bytes.Repeat([]byte{host}, identity.SecretSize), Name: "lone", Storing: true, Shards: shards,
		Listen: netip.AddrPortFrom(addr, 7800).String(), Network: memnet.New(1).Host(addr),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { node.Close() })
	l := &lone{t: t, node: node}
	if l.store, err = replica.Open(t.Context(), replica.Config{Mesh: node}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.store.Close() })
	if l.bucket, err = l.store.Bucket(t.Context(), "b", replica.BucketConfig{}); err != nil {
		t.Fatal(err)
	}
	return l
}

// fill puts items that do not compress, enough for several segments.
func (l *lone) fill(want map[string]string, from, to int) {
	l.t.Helper()
	random := rand.NewChaCha8([32]byte{byte(from)})
	for i := from; i < to; i++ {
		key, value := fmt.Sprintf("key-%03d", i), make([]byte, 60<<10)
		random.Read(value)
		if _, err := l.bucket.Put(l.t.Context(), key, value, nil); err != nil && !errors.Is(err, replica.ErrDegraded) {
			l.t.Fatal(err)
		}
		want[key] = string(value)
	}
}

func (l *lone) wantItems(want map[string]string) {
	l.t.Helper()
	got := make(map[string]string)
	for e, err := range l.bucket.Scan(l.t.Context(), replica.ScanOptions{}) {
		if err != nil && !errors.Is(err, replica.ErrDegraded) {
			l.t.Fatal(err)
		}
		if v, ok := e.Value(); ok {
			got[e.Key] = string(v)
		}
	}
	if !maps.Equal(got, want) {
		l.t.Errorf("%d items, of which not all are the %d that there were", len(got), len(want))
	}
}

// killing kills the service while it answers one of the calls that are counted.
type killing struct {
	*Tier
	g          *gateway
	puts, gets atomic.Int64 // until it is killed; 0 and less: it is not
	dead       chan struct{}
}

func newKilling(tier *Tier, g *gateway) *killing {
	return &killing{Tier: tier, g: g, dead: make(chan struct{}, 1)}
}

func (k *killing) count(left *atomic.Int64) {
	if left.Add(-1) == 0 {
		go func() {
			k.g.kill()
			k.dead <- struct{}{}
		}()
	}
}

func (k *killing) Put(ctx context.Context, name string, data []byte) error {
	k.count(&k.puts)
	return k.Tier.Put(ctx, name, data)
}

func (k *killing) Get(ctx context.Context, name string, most int) ([]byte, error) {
	k.count(&k.gets)
	return k.Tier.Get(ctx, name, most)
}

// backUp waits for a backup of all of the node's slices.
func backUp(t *testing.T, b *backup.Backup) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		done, err := b.Now(t.Context(), "all", "s3")
		if err != nil || done.Failed != nil || done.TooLarge > 0 {
			t.Fatalf("%+v, %v", done, err)
		}
		if done.NotReady == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %v: %+v", patience, done)
		}
	}
}

// openBackup has a node back up to a tier when it is asked.
func (l *lone) openBackup(tier backup.Tier) (b *backup.Backup, identity string) {
	l.t.Helper()
	identity, recipient, err := backup.NewIdentity()
	if err != nil {
		l.t.Fatal(err)
	}
	b, err = backup.Open(l.t.Context(), backup.Config{
		Mesh: l.node, Store: l.store, Tiers: []backup.TierConfig{{Name: "s3", Tier: tier, Recipients: []string{recipient}}},
		Policies: []backup.Policy{{Name: "all", Levels: []backup.Level{{Tier: "s3"}}}},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { b.Close() })
	return b, identity
}

// verify wants all that a tier has to read.
func verify(t *testing.T, tier backup.Tier, identity string) backup.Verified {
	t.Helper()
	got, err := backup.Verify(t.Context(), backup.VerifyConfig{Tiers: []backup.NamedTier{{Name: "s3", Tier: tier}}, Identities: []string{identity}})
	if err != nil || len(got.Faults) > 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	return got
}

func restore(t *testing.T, to *lone, tier backup.Tier, identity string) (backup.Restored, error) {
	t.Helper()
	return backup.Restore(t.Context(), backup.RestoreConfig{Target: to.store, Tiers: []backup.NamedTier{{Name: "s3", Tier: tier}}, Identities: []string{identity}})
}

// wantWhole wants a restore to have brought everything.
func wantWhole(t *testing.T, got backup.Restored, err error) {
	t.Helper()
	if err != nil || len(got.Lost)+len(got.Faults)+got.RefusedInAll > 0 || got.Slices != got.OfSlices {
		t.Fatalf("%+v, %v", got, err)
	}
}

// TestVersitygwIsKilledDuringABackup: what was there before stays whole, and the next backup
// lacks nothing.
func TestVersitygwIsKilledDuringABackup(t *testing.T) {
	g := startGateway(t)
	tier := newKilling(newTier(t, Options{Endpoint: g.url, Bucket: g.newBucket(""), Credentials: Fixed("root", secret)}), g)
	old, want := newLone(t, 1, 7), map[string]string{}
	b, identity := old.openBackup(tier)
	old.fill(want, 0, 50)
	backUp(t, b)
	before := verify(t, tier, identity)

	old.fill(want, 50, 300)
	if _, err := old.bucket.Delete(t.Context(), "key-000", nil); err != nil && !errors.Is(err, replica.ErrDegraded) {
		t.Fatal(err)
	}
	delete(want, "key-000")
	tier.puts.Store(3) // of eight segments and a manifest
	if done, err := b.Now(t.Context(), "all", "s3"); err == nil {
		t.Fatalf("a backup was made by a service that was killed: %+v", done)
	}
	<-tier.dead
	g.start()
	if got := verify(t, tier, identity); got.Points != before.Points || got.Segments != before.Segments {
		t.Errorf("%+v is there after the kill, and before were %+v", got, before)
	}
	backUp(t, b)
	if got := verify(t, tier, identity); got.Points != before.Points+1 || got.Unnamed == 0 {
		t.Errorf("%+v is there, of which at least one segment was of the backup that was not made", got)
	}
	fresh := newLone(t, 2, 16)
	got, err := restore(t, fresh, tier, identity)
	wantWhole(t, got, err)
	fresh.wantItems(want)
}

// TestVersitygwIsKilledDuringARestore: what could not be read is named, and another call brings it.
func TestVersitygwIsKilledDuringARestore(t *testing.T) {
	g := startGateway(t)
	tier := newKilling(newTier(t, Options{Endpoint: g.url, Bucket: g.newBucket(""), Credentials: Fixed("root", secret)}), g)
	old, want := newLone(t, 1, 7), map[string]string{}
	b, identity := old.openBackup(tier)
	old.fill(want, 0, 250)
	backUp(t, b)
	verify(t, tier, identity)

	fresh := newLone(t, 2, 16)
	tier.gets.Store(5) // of some manifests and eight segments
	cut, err := restore(t, fresh, tier, identity)
	<-tier.dead
	if err == nil && len(cut.Lost) == 0 || cut.Records >= len(want) {
		t.Fatalf("it was whole without its service: %+v, %v", cut, err)
	}
	t.Logf("of %d items %d were brought before the kill; %d slices are named as lost, %v", len(want), cut.Brought, len(cut.Lost), err)
	g.start()
	got, err := restore(t, fresh, tier, identity)
	wantWhole(t, got, err)
	if cut.Brought+got.Brought != len(want) {
		t.Errorf("%d and then %d of %d items were brought", cut.Brought, got.Brought, len(want))
	}
	fresh.wantItems(want)
}
