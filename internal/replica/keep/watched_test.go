package keep

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/watch"
	"github.com/skeinmesh/skein/internal/wire"
)

// heardChanges notes what it is told of.
type heardChanges struct {
	deaf bool
	all  []watch.Entry
}

func (h *heardChanges) Wanted() bool        { return !h.deaf }
func (h *heardChanges) Stage(e watch.Entry) { h.all = append(h.all, e) }

func TestWatchersAreToldOfWhatHasChanged(t *testing.T) {
	withCellar(t, 1, func(t *testing.T, c *cellar) {
		heard := new(heardChanges)
		c.opts.Watchers = heard
		at := c.keyOf(true)
		told := func(what string, want ...watch.Entry) {
			t.Helper()
			same := slices.EqualFunc(heard.all, want, func(a, b watch.Entry) bool {
				return a.Key == b.Key && a.Shard == b.Shard && a.Bucket == b.Bucket && a.Kind == b.Kind && string(a.Item) == string(b.Item)
			})
			if !same {
				t.Errorf("%s: told of %+v, want %+v", what, heard.all, want)
			}
			heard.all = nil
		}
		entry := func(kind watch.Kind, item []byte) watch.Entry {
			return watch.Entry{Bucket: at.Bucket, Shard: at.Shard, Key: at.Key, Kind: kind, Item: item}
		}
		wrote, err := c.put(at, "v")
		if err != nil {
			t.Fatal(err)
		}
		clear(wrote.Raw) // as what a client or another store has sent may be used again
		stored, err := c.Load(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		told("a put", entry(watch.Changed, stored.Raw))
		if err := c.KeepHint(t.Context(), at, 9); err != nil {
			t.Fatal(err)
		}
		told("a role more")
		if _, err := c.put(at, strings.Repeat("v", watch.KeptItem)); err != nil {
			t.Fatal(err)
		}
		told("a large put", entry(watch.Changed, nil))
		if item, err := c.LoadItem(t.Context(), at); err != nil || len(item) < watch.KeptItem {
			t.Errorf("it reads as %d bytes, %v", len(item), err)
		}
		fails := c.Update(t.Context(), "test", func(tx Tx) error {
			old, err := tx.Load(at)
			if err != nil {
				return err
			}
			return errors.Join(tx.Save(at, old, replicate.Record{}, nil), errOnPurpose)
		})
		if !errors.Is(fails, errOnPurpose) {
			t.Fatal(fails)
		}
		told("an update that failed")
		drop := func() {
			t.Helper()
			if err := c.Update(t.Context(), "test", func(tx Tx) error {
				old, err := tx.Load(at)
				if err != nil {
					return err
				}
				return tx.Save(at, old, replicate.Record{}, nil)
			}); err != nil {
				t.Fatal(err)
			}
		}
		drop()
		told("a record that goes without a delete", entry(watch.Gone, nil))
		deleteKey(t, c, at)
		heard.all = nil
		drop()
		told("a purge")
		heard.deaf = true
		c.mustPut(at, "v")
		told("nobody watches")
	})
}

func deleteKey(t *testing.T, c *cellar, at layout.Place) {
	t.Helper()
	if err := c.Update(t.Context(), "test", func(tx Tx) error {
		old, err := tx.Load(at)
		if err != nil {
			return err
		}
		r, wrote, err := old.Commit(tx.Writer(), reconcile.Write{Tomb: true}, c.clocks.Now(), []replicate.Role{replicate.HomeRole})
		if err != nil {
			return err
		}
		return errors.Join(tx.SaveMeta(wrote.Meta), tx.Save(at, old, r, wire.AppendItem(nil, &r.Item)))
	}); err != nil {
		t.Fatal(err)
	}
}

func TestEndedRecordsAreListedInOrder(t *testing.T) {
	withCellar(t, 1, func(t *testing.T, c *cellar) {
		from := EndsFrom(c.clocks.Now())
		for i, key := range []string{"c", "a", "b", "late"} {
			ttl := time.Duration(i+1) * time.Second
			if key == "late" {
				ttl = time.Hour
			}
			if err := c.Update(t.Context(), "test", func(tx Tx) error {
				at := c.at(key)
				r, wrote, err := Stored{}.Commit(tx.Writer(), reconcile.Write{Value: []byte(key), TTL: ttl.Milliseconds(), Late: c.clocks.Now()}, c.clocks.Now(), []replicate.Role{replicate.HomeRole})
				if err != nil {
					return err
				}
				return errors.Join(tx.SaveMeta(wrote.Meta), tx.Save(at, Stored{}, r, wire.AppendItem(nil, &r.Item)))
			}); err != nil {
				t.Fatal(err)
			}
		}
		deleteKey(t, c, c.at("deleted"))
		time.Sleep(time.Minute)
		var got []string
		list := func(limit int) {
			t.Helper()
			var err error
			from, err = c.ListEnded(t.Context(), from, c.clocks.Now(), limit, func(at layout.Place, item []byte) { got = append(got, at.Key) })
			if err != nil {
				t.Fatal(err)
			}
		}
		if list(2); !slices.Equal(got, []string{"c", "a"}) {
			t.Fatalf("first %q", got)
		}
		list(100)
		if list(100); !slices.Equal(got, []string{"c", "a", "b"}) {
			t.Errorf("all in all %q", got)
		}
	})
}
