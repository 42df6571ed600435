package outbox

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
)

// pass lets virtual time go on, and all that is due then.
func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

var errAway = errors.New("no store in contact")

// shelf is the stores of a mesh: it takes what comes while it is in contact.
type shelf struct {
	mu    sync.Mutex
	away  bool
	takes error
	taken []string
}

func (s *shelf) set(away bool, takes error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away, s.takes = away, takes
}

func (s *shelf) InContact() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.away
}

func (s *shelf) IsPassing(err error) bool { return errors.Is(err, errAway) }

func (s *shelf) Deliver(_ context.Context, op *wire.OutboxOp) (Landed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return Landed{}, errAway
	}
	if s.takes != nil {
		return Landed{}, s.takes
	}
	s.taken = append(s.taken, op.Key+"="+string(op.Value))
	return Landed{}, nil
}

// withOutbox runs f, in virtual time, with an outbox that is out of reach of all
// stores.
func withOutbox(t *testing.T, f func(t *testing.T, o *Outbox, s *shelf)) {
	synctest.Test(t, func(t *testing.T) {
		s, group, begun := &shelf{away: true}, lifecycle.NewGroup(context.Background()), time.Now()
		o, err := Open(t.Context(), Options{
			FS: vfs.NewMem(), Dir: "outbox", Reserve: -1, Bytes: 1 << 20, Age: time.Hour, Stores: s, Group: group,
			Uptime: func() time.Duration { return time.Since(begun) }, Log: slog.New(slog.DiscardHandler),
		}, func(*wire.BucketDef) uint64 { return 1 })
		if err != nil {
			t.Fatal(err)
		}
		group.Go(o.DeliverWaiting)
		f(t, o, s)
		group.Close()
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
}

func keep(t *testing.T, o *Outbox, key, value string) uint64 {
	t.Helper()
	seq, err := o.Keep(t.Context(), Key{Bucket: 1, Key: key}, &wire.OutboxOp{Bucket: wire.BucketDef{Name: "b", Copies: 1}, Key: key, Value: []byte(value)}, true, 0)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// A record that is damaged after it was read at the start is given up when its turn
// comes, and holds up nobody.
func TestDamageThatShowsOnTheWay(t *testing.T) {
	withOutbox(t, func(t *testing.T, o *Outbox, s *shelf) {
		seq := keep(t, o, "k", "v")
		keep(t, o, "other", "w")
		err := o.disk.Update(t.Context(), func(tx *storage.Tx) error { return tx.Set(wire.OutboxKey(seq), []byte{1, 0x93}) })
		if err != nil {
			t.Fatal(err)
		}
		s.set(false, nil)
		o.Resume()
		pass(10 * time.Second)
		if st := o.Status(); st.Ops != 0 || st.Dropped != 1 || st.Delivered != 1 || len(s.taken) != 1 || s.taken[0] != "other=w" {
			t.Errorf("%+v, taken %v", st, s.taken)
		}
	})
}

// What no store takes stays, with the reason, and goes when it is taken.
func TestRefusedOperationStays(t *testing.T) {
	withOutbox(t, func(t *testing.T, o *Outbox, s *shelf) {
		keep(t, o, "k", "v")
		if st := o.Status(); st.Ops != 1 || st.Error != "no storing node is in contact" {
			t.Errorf("%+v", st)
		}
		s.set(false, errors.New("not today"))
		o.Resume()
		pass(10 * time.Second)
		if st := o.Status(); st.Ops != 1 || st.Error != "not today" || st.Oldest < 10*time.Second {
			t.Errorf("%+v", st)
		}
		s.set(false, nil)
		pass(10 * time.Minute)
		if st := o.Status(); st.Ops != 0 || st.Error != "" || st.Delivered != 1 || len(s.taken) != 1 {
			t.Errorf("%+v, taken %v", st, s.taken)
		}
	})
}
