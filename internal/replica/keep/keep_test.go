package keep

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/clocks"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const shards = 8

// cellar is the records of one store, member 1, with nobody around.
type cellar struct {
	*Records
	t       *testing.T
	fs      vfs.FS
	members int
	machine string
	group   *lifecycle.Group
	b       *layout.Bucket // each record in it has one home

	hinted, strayed int // how often that was told

	mu      sync.Mutex // of what goroutines besides the test's tell
	damaged []layout.Place
}

// listDamaged returns what was found to be damaged.
func (c *cellar) listDamaged() []layout.Place {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.damaged)
}

func (c *cellar) noteDamaged(at layout.Place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.damaged = append(c.damaged, at)
}

// withCellar runs f, in virtual time, with the records of one of several members.
func withCellar(t *testing.T, members int, f func(t *testing.T, c *cellar)) {
	synctest.Test(t, func(t *testing.T) {
		c := &cellar{t: t, fs: vfs.NewMem(), members: members, machine: "one"}
		c.open()
		f(t, c)
		c.shut()
	})
}

func (c *cellar) open() {
	c.t.Helper()
	v := view.View{Self: 1, Roster: 1}
	for id := view.NodeID(1); id <= view.NodeID(c.members); id++ {
		v.Members = append(v.Members, view.Member{ID: id, Name: id.String(), Zone: id.String(), Weight: 1, Storing: true, State: view.Alive})
	}
	log, silence, begun := slog.New(slog.DiscardHandler), peering.NewSilence(time.Minute), time.Now()
	homes, err := layout.New(layout.Options{Self: 1, Shards: shards, Stores: true, Silence: silence, HealAfter: -1, Log: log}, v)
	if err != nil {
		c.t.Fatal(err)
	}
	disk, err := storage.Open(storage.Options{FS: c.fs, Dir: "store", Reserve: -1})
	if err != nil {
		c.t.Fatal(err)
	}
	c.group = lifecycle.NewGroup(context.Background())
	c.Records, err = New(Options{
		Self: 1, Mesh: view.MeshID{1}, Shards: shards, Disk: disk, Dir: "store", Homes: homes, Group: c.group, Machine: c.machine, MaxSkew: time.Minute,
		Clocks: clocks.New(clocks.Options{
			Clock: clock.Simulated(0), MaxSkew: time.Minute, Votes: true, Group: c.group, Silence: silence, Patience: replicate.Patience(time.Second),
			Peers: func() []view.NodeID { return nil }, Ask: func(context.Context, view.NodeID) error { return nil },
		}),
		Boot: func() time.Duration { return time.Since(begun) }, Uptime: func() time.Duration { return time.Since(begun) }, Log: log,
		Hinted: func() { c.hinted++ }, Strayed: func() { c.strayed++ }, Damaged: c.noteDamaged,
	})
	if err == nil {
		err = c.Open(c.t.Context())
	}
	if err == nil {
		c.b, err = homes.Buckets.AddDefinition(wire.BucketDef{Name: "b", Copies: 1})
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cellar) shut() {
	c.group.Close()
	if err := c.disk.Close(); err != nil {
		c.t.Error(err)
	}
}

// at is where a key's record is.
func (c *cellar) at(key string) layout.Place { return c.homes.LocateKey(c.b.ID, key) }

// keyOf is a key of which the store is, or is not, a home.
func (c *cellar) keyOf(home bool) layout.Place {
	for i := range 1000 {
		if at := c.at(string(rune('a' + i))); c.homes.IsHome(at.Slice) == home {
			return at
		}
	}
	c.t.Fatal("no such key")
	return layout.Place{}
}

// put commits a client's write.
func (c *cellar) put(at layout.Place, value string, roles ...replicate.Role) (wrote Written, err error) {
	c.t.Helper()
	if len(roles) == 0 {
		roles = []replicate.Role{replicate.HomeRole}
	}
	done := make(chan error, 1)
	_, err = c.CommitWrite(c.WhenRoom(c.t.Context()), at, reconcile.Write{Value: []byte(value)}, roles, Terms{Nothing: true}, func(w Written, err error) {
		wrote = w
		done <- err
	})
	if err == nil {
		err = <-done
	}
	return wrote, err
}

func (c *cellar) mustPut(at layout.Place, value string, roles ...replicate.Role) Written {
	c.t.Helper()
	wrote, err := c.put(at, value, roles...)
	if err != nil {
		c.t.Fatal(err)
	}
	return wrote
}

func (c *cellar) mustUpdate(fn func(tx Tx) error) {
	c.t.Helper()
	if err := c.Update(c.t.Context(), "test", fn); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cellar) mustLoad(at layout.Place) Stored {
	c.t.Helper()
	rec, err := c.Load(c.t.Context(), at)
	if err != nil {
		c.t.Fatal(err)
	}
	return rec
}

// lose gives up a range of keys, of which those that are gone are deleted.
func (c *cellar) lose(lower, upper []byte, gone ...[]byte) {
	c.t.Helper()
	var then func()
	err := c.disk.Update(c.t.Context(), func(tx *storage.Tx) (err error) {
		if then, err = c.NoteLoss(tx, lower, upper); err != nil {
			return err
		}
		for _, key := range gone {
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	then()
}

// entries counts the entries of an index.
func (c *cellar) entries(kind byte) (n int) {
	c.t.Helper()
	lower, upper := wire.IndexRange(kind, 0)
	if err := c.disk.Scan(c.t.Context(), lower, upper, func(_, _ []byte) error { n++; return nil }); err != nil {
		c.t.Fatal(err)
	}
	return n
}

// wantTrueDigest builds the digest of a slice and compares it with what the disk holds.
func (c *cellar) wantTrueDigest(at layout.Slice) {
	c.t.Helper()
	got, err := c.Digest(c.t.Context(), []layout.Slice{at})
	if err != nil {
		c.t.Fatal(err)
	}
	var want reconcile.Digest
	lower := wire.RecordPrefix(at.Shard, at.Bucket, 0)
	err = c.disk.Scan(c.t.Context(), lower, wire.After(lower), func(k, v []byte) error {
		_, _, key, _ := wire.ParseRecordKey(k)
		it, err := ItemOf(v)
		if err == nil {
			want.Add(c.ElementOf(at.Shard, []byte(key), it))
		}
		return err
	})
	if err != nil || got != want {
		c.t.Errorf("digest %v, the disk says %v, %v", got, want, err)
	}
}

// dated is an item that another store has written.
func dated(store uint64, value string) Arrival {
	w := reconcile.Open(reconcile.Start{Store: store, Random: store, MaxSkew: time.Minute.Milliseconds()})
	wrote, err := w.Put(reconcile.Local{}, reconcile.Write{Value: []byte(value)}, 1)
	if err != nil {
		panic(err)
	}
	return Arrival{Item: wrote.Local.Item, Raw: wire.AppendItem(nil, &wrote.Local.Item)}
}

func roundOf(n uint64) purge.Round { return purge.Round{Counter: n, Proposer: 2} }
