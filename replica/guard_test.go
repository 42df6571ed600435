package replica

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/internal/wire"
)

var errOnPurpose = errors.New("on purpose")

func TestSyncingHomeDoesNotVouchForAbsence(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		found := func(s *Store) wire.Found {
			a, err := s.records.AnswerLookup(context.Background(), wire.Lookup{Bucket: buckets[0].b.ID, Key: "missing"})
			if err != nil {
				t.Fatal(err)
			}
			return a.Found
		}
		if got := found(nodes[2].store); got != wire.Absent {
			t.Errorf("in sync: %v, want absent", got)
		}
		nodes[2].kill()
		net.split(true, nodes[2].id)
		s := nodes[2].restart()
		time.Sleep(time.Minute)
		if got := found(s); got != wire.Nothing {
			t.Errorf("just back, not in sync: %v, want nothing", got)
		}
		net.heal()
		time.Sleep(20 * time.Second)
		if got := found(s); got != wire.Absent {
			t.Errorf("in sync again: %v, want absent", got)
		}
	})
}

func TestRecordOfAHomeOutlivesItsHint(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		s := nodes[0].store
		mustPut(t, buckets[1], "donor", "v")
		time.Sleep(time.Second)
		donor, err := s.records.Load(ctx, s.homes.LocateKey(buckets[0].b.ID, "donor"))
		if err != nil {
			t.Fatal(err)
		}
		// Kept as a stand-in, then the roster makes this store a home.
		at := s.homes.LocateKey(buckets[0].b.ID, "k")
		role := replicate.Role{For: nodes[2].id}
		if _, err := s.records.AcceptAll(ctx, []keep.Arrival{{At: at, Role: role, Item: donor.Item, Raw: donor.Raw}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.records.SettleHints(ctx, []keep.Settled{{At: at, Target: nodes[2].id, Item: donor.Item}}); err != nil {
			t.Fatal(err)
		}
		if rec, err := s.records.Load(ctx, at); err != nil || rec.Unknown() || !rec.Home || len(rec.Hints) != 0 {
			t.Errorf("record after its hint was settled: %+v %v", rec, err)
		}
	})
}

func TestDataOfAnotherNodeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet(t).add(true)
		owner := wire.AppendOwner(nil, wire.Owner{Node: n.id + 1, Initialised: true})
		if err := file.Write(n.fs, n.dir+"/store/OWNER", owner); err != nil {
			t.Fatal(err)
		}
		s, err := Open(context.Background(), Config{Mesh: n, fs: n.fs, clock: n.clock, boot: "b"})
		if err == nil {
			_ = s.Close()
			t.Error("opened the data of another node")
		}
		n.views.Close()
	})
}

// A request that hung in a cut arrives when it heals, with its whole time-out
// left as the transport counts it. What it asks for belongs to the past.
func TestForwardedWriteThatArrivesLateIsRefused(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		from, to := nodes[0].store, nodes[1].store
		by, err := from.peering.Deadlines.Make(ctx, to.id, 500*time.Millisecond, time.Now().Add(time.Minute), nil)
		if err != nil {
			t.Fatal(err)
		}
		put := func(value string, by wire.Clock) wire.Code {
			m := wire.PutRequest{Bucket: buckets[0].b.ID, Key: "k", Value: []byte(value), Level: int64(replicate.One), MinDurable: 1, By: by}
			answer, err := answerOf(ctx, to.coordinator.ServePut, from.id, wire.AppendPutRequest(nil, &m))
			if err != nil {
				t.Fatal(err)
			}
			p, err := wire.DecodePutReply(answer)
			if err != nil {
				t.Fatal(err)
			}
			return p.Code
		}
		if got := put("in time", by); got != wire.CodeOK {
			t.Errorf("in time: %v", got)
		}
		mustPut(t, buckets[2], "k", "later")
		time.Sleep(600 * time.Millisecond)
		if got := put("late", by); got != wire.CodeLate {
			t.Errorf("late: %v", got)
		}
		other := by
		other.Run++
		other.Reading += 1 << 40
		if got := put("of another run", other); got != wire.CodeLate {
			t.Errorf("made for another run of the store: %v", got)
		}
		wantValue(t, buckets[1], "k", "later")
	})
}

// A deadline is made from readings that may be seconds old, by clocks that
// jump ahead whenever a machine wakes up: it must not be later than was meant,
// and once both have been awake for a while not much earlier.
func TestDeadlineIsNotLaterThanMeant(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const limit = 500 * time.Millisecond
		ctx := context.Background()
		random := rand.New(rand.NewPCG(21, 4))
		from, to := nodes[0], nodes[1]
		for i := range 400 {
			mustPut(t, buckets[0], fmt.Sprint("k", random.IntN(50)), "v") // forwarded or not
			by, err := from.store.peering.Deadlines.Make(ctx, to.id, limit, time.Now().Add(time.Minute), nil)
			if err != nil {
				t.Fatal(err)
			}
			meant := to.clock.Boot() + limit
			if got := time.Duration(by.Reading) * time.Microsecond; got > meant {
				t.Fatalf("step %d: %v later than meant", i, got-meant)
			}
			switch random.IntN(20) {
			case 0:
				from.clock.Suspend(time.Duration(random.Int64N(int64(10 * time.Hour))))
			case 1:
				to.clock.Suspend(time.Duration(random.Int64N(int64(10 * time.Hour))))
			}
			time.Sleep(time.Duration(random.Int64N(int64(3 * time.Second))))
		}
		time.Sleep(peering.FreshClock)
		by, err := from.store.peering.Deadlines.Make(ctx, to.id, limit, time.Now().Add(time.Minute), nil)
		if err != nil {
			t.Fatal(err)
		}
		if early := to.clock.Boot() + limit - time.Duration(by.Reading)*time.Microsecond; early > 50*time.Millisecond {
			t.Errorf("%v earlier than meant", early)
		}
	})
}

// A store that coordinates for another node does not go on asking one silent
// stand-in after another in its name: the write keeps its place among those that are
// admitted until then.
func TestForwardedWriteOfAClientThatHasGone(t *testing.T) {
	bubble(t, 20, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		from := nodes[0]
		lead, at := from.id, layout.Place{}
		for i := 0; lead == from.id; i++ {
			at = from.store.homes.LocateKey(buckets[0].b.ID, fmt.Sprint("k", i))
			lead = from.store.homes.Now().RouteOf(buckets[0].b, at.Shard).Lead
		}
		to := nodes[lead-1]
		net.split(false, from.id, to.id) // all others fall silent
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := buckets[0].Put(ctx, at.Key, []byte("v"), &PutOptions{MinDurable: 3}); err == nil {
			t.Fatal("written to three stores of which two are there")
		}
		time.Sleep(600 * time.Millisecond)
		if n := to.store.gate.Clients.Pending(); n != 0 {
			t.Errorf("%d writes are still in the way of others", n)
		}
		it, err := buckets[lead-1].Get(context.Background(), at.Key, &GetOptions{Level: One})
		if v, ok := it.Value(); err != nil || !ok || string(v) != "v" {
			t.Errorf("%q, %v", v, err)
		}
	})
}
