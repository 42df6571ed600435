package replica

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// putAll writes values with a TTL through each bucket in turn, and returns their
// keys.
func putAll(t *testing.T, buckets []*Bucket, name string, ttl time.Duration) (keys []string) {
	t.Helper()
	for i := range 60 {
		key := fmt.Sprint(name, i)
		if _, err := buckets[i%len(buckets)].Put(context.Background(), key, []byte("v"), &PutOptions{TTL: ttl}); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

// testWrite is a write as it reaches the store that coordinates it.
func testWrite(value string, ttl time.Duration) reconcile.Write {
	return reconcile.Write{Value: []byte(value), TTL: ttl.Milliseconds()}
}

// found counts the keys that read at a store.
func found(t *testing.T, b *Bucket, keys []string) (n int) {
	t.Helper()
	for _, key := range keys {
		if _, err := b.Get(context.Background(), key, nil); err == nil {
			n++
		} else if !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
	}
	return n
}

// A clock that is off, in either direction and by much or little, dates the end
// of no value: all live for their TTL everywhere, and not much longer. Health
// says what is far off.
func TestWrongClockEndsNoValueEarly(t *testing.T) {
	for _, off := range []time.Duration{-90 * time.Minute, 90 * time.Minute, -4 * time.Minute, 4 * time.Minute, -50 * 365 * 24 * time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
				nodes[1].clock.SetSkew(off)
				time.Sleep(2 * time.Minute)
				long, short := putAll(t, buckets, "long", time.Hour), putAll(t, buckets, "short", time.Minute)
				time.Sleep(58 * time.Second)
				for i, b := range buckets {
					if n := found(t, b, short); n != len(short) {
						t.Errorf("node %d finds %d of %d after 58 s of a minute", i, n, len(short))
					}
				}
				time.Sleep(58 * time.Minute)
				for i, b := range buckets {
					if n := found(t, b, long); n != len(long) {
						t.Errorf("node %d finds %d of %d after 59 min of an hour", i, n, len(long))
					}
				}
				switch way := "ahead of"; {
				case off.Abs() > 5*time.Minute:
					if off < 0 {
						way = "behind"
					}
					wantProblem(t, nodes[1].store, "the clock is "+off.Abs().String(), way, "set it right")
				default:
					wantProblem(t, nodes[1].store)
				}
				wantProblem(t, nodes[0].store)
				time.Sleep(6 * time.Minute)
				for i, b := range buckets {
					if n := found(t, b, long); n != 0 {
						t.Errorf("node %d finds %d after more than an hour", i, n)
					}
				}
			})
		})
	}
}

// A node that comes up with a clock from long ago asks for the time before it
// dates the end of a value, whoever asks it to.
func TestStartedWithAnOldClock(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		nodes[2].kill()
		nodes[2].clock.SetSkew(-50 * 365 * 24 * time.Hour)
		nodes[2].restart()
		buckets[2] = openBucket(t, nodes[2].store, "b", BucketConfig{})
		s := nodes[2].store
		time.Sleep(time.Minute) // until it can tell what is not there: to ask others for that would tell the time, too
		net.watchCalls(func(method string) {
			if method == wire.MethodMerge {
				time.Sleep(time.Millisecond) // so would the answers to copies
			}
		})
		for i := range 20 {
			for _, late := range []bool{false, true} {
				time.Sleep(time.Second)
				// As if it had heard nothing of any clock yet: it knows the stores, for it
				// writes to them.
				s.clocks.Follow(nil, s.homes.Now().Members)
				q, err := buckets[2].newRequest(fmt.Sprint(i, late), testWrite("v", time.Hour), One, 1)
				if err != nil {
					t.Fatal(err)
				}
				if late {
					by := s.peering.Deadlines.Reading()
					by.Reading += 1e9
					m := wire.PutRequest{Bucket: q.At.Bucket, Key: q.At.Key, Value: q.Write.Value, TTL: uint64(q.Write.TTL), Level: int64(replicate.One), MinDurable: 1, By: by}
					var answer []byte
					answer, err = answerOf(ctx, s.coordinator.ServePut, nodes[0].id, wire.AppendPutRequest(nil, &m))
					if p, bad := wire.DecodePutReply(answer); err == nil && (bad != nil || p.Code != wire.CodeOK) {
						err = fmt.Errorf("code %v, %w", p.Code, bad)
					}
				} else {
					_, err = s.coordinator.CoordinateWrite(ctx, q)
				}
				if err != nil {
					t.Fatal(err)
				}
				if n := len(s.clocks.Missing()); n > 0 {
					t.Fatalf("the end of a value is dated before %d of the others were asked for the time", n)
				}
			}
		}
		time.Sleep(58 * time.Minute)
		for i := range 20 {
			for _, late := range []bool{false, true} {
				wantValue(t, buckets[i%3], fmt.Sprint(i, late), "v")
			}
		}
	})
}

// With two storing nodes nobody can tell which clock is wrong. A value lives on
// by the later one, and both say that they are apart.
func TestTwoClocksApart(t *testing.T) {
	bubble(t, 2, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		nodes[1].clock.SetSkew(-90 * time.Minute)
		time.Sleep(2 * time.Minute)
		keys := putAll(t, buckets, "k", time.Hour)
		time.Sleep(59 * time.Minute)
		for i, b := range buckets {
			if n := found(t, b, keys); n != len(keys) {
				t.Errorf("node %d finds %d of %d", i, n, len(keys))
			}
		}
		wantProblem(t, nodes[0].store, "1h30m0s ahead of that of the other node", "no third one")
		wantProblem(t, nodes[1].store, "1h30m0s behind that of the other node", "no third one")
	})
}

// A store whose clock is ahead works on when it is alone, also before it is known
// that the others are gone, and dates by their clocks.
func TestAheadAndAlone(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		nodes[0].clock.SetSkew(2 * time.Hour)
		time.Sleep(2 * time.Minute)
		for i := range 20 {
			mustPut(t, buckets[0], fmt.Sprint("before", i), "v")
		}
		at := func(key string) time.Duration {
			rec, err := nodes[0].store.records.Load(ctx, nodes[0].store.homes.LocateKey(buckets[0].b.ID, key))
			if err != nil {
				t.Fatal(err)
			}
			return time.Until(time.UnixMilli(rec.Item.HLC.Millis()))
		}
		put := func(key string) {
			t.Helper()
			if r, err := buckets[0].Put(ctx, key, []byte("v"), nil); err != nil && !errors.Is(err, ErrDegraded) || r.Durable != 1 {
				t.Errorf("alone: %+v, %v", r, err)
			}
			if off := at(key); off > time.Minute {
				t.Errorf("%s is dated %v ahead", key, off)
			}
		}
		net.refuseCalls(func(_, _ view.NodeID, _ string) bool { return true })
		put("not known")
		nodes[1].kill()
		nodes[2].kill()
		time.Sleep(time.Second)
		put("known")
		time.Sleep(time.Hour)
		put("later")
		net.refuseCalls(nil)
		nodes[1].restart()
		nodes[2].restart()
	})
}

// What a store dated while its clock was ahead, and nobody told, does not date
// what it writes when it is known.
func TestClockThatWasAhead(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		net.split(true, nodes[0].id)
		nodes[0].kill()
		nodes[0].clock.SetSkew(2 * time.Hour)
		nodes[0].restart()
		buckets[0] = openBucket(t, nodes[0].store, "b", BucketConfig{})
		if _, err := buckets[0].Put(ctx, "ahead", []byte("v"), nil); !errors.Is(err, ErrDegraded) {
			t.Fatal(err)
		}
		net.heal()
		time.Sleep(time.Minute)
		q, err := buckets[0].newRequest("k", testWrite("v", 0), One, 1)
		if err != nil {
			t.Fatal(err)
		}
		out, err := nodes[0].store.coordinator.CoordinateWrite(ctx, q)
		if ahead := time.Until(time.UnixMilli(out.Seen.HLC.Millis())); err != nil || ahead > time.Minute {
			t.Errorf("dated %v ahead, %v", ahead, err)
		}
	})
}
