package replica

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/version"
)

// A store whose committer is held up and whose queue is full hands requests on
// to goroutines that wait: who reads from a peer does not.
func TestPromptHandlersNeverWait(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		s, from := nodes[1].store, nodes[0].id
		bucket := s.homes.LocateKey(buckets[1].b.ID, "put").Bucket
		a := version.Actor{Store: 77, Session: 1, Seq: 1}
		it := version.Item{Ctx: version.Context{{A: a, N: 1}}, HLC: s.currentDate(), Sibs: []version.Sibling{{Dot: version.Dot{A: a, N: 1}, HLC: s.currentDate(), Value: []byte("merged")}}}
		by := s.peering.Deadlines.Reading()
		by.Reading += 1e9
		requests := map[string][]byte{
			wire.MethodMerge: wire.AppendMergeRequest(nil, &wire.MergeRequest{Wall: s.cfg.clock.Wall().UnixMilli(), Offers: []wire.Offer{{Bucket: bucket, Key: "merge", Item: wire.AppendItem(nil, &it)}}}),
			wire.MethodPut:   wire.AppendPutRequest(nil, &wire.PutRequest{Bucket: bucket, Key: "put", Value: []byte("put"), Level: 2, MinDurable: 2, By: by}),
		}

		release := make(chan struct{})
		hold := func(*storage.Tx) error { <-release; return errOnPurpose }
		full := func() bool {
			_, err := s.disk.TryStart(hold, func(error) {})
			return errors.Is(err, storage.ErrBusy)
		}
		full()
		synctest.Wait() // the committer is at it
		for !full() {
		}
		answers := map[string]chan fakeAnswer{}
		for method, req := range requests {
			answers[method] = make(chan fakeAnswer, 1)
			returned := make(chan struct{})
			go func() {
				defer close(returned)
				nodes[1].prompt[method](context.Background(), from, req, func(b []byte, err error) { answers[method] <- fakeAnswer{b, err} })
			}()
			synctest.Wait()
			select {
			case <-returned:
			default:
				t.Errorf("%s: the handler waits", method)
			}
			if len(answers[method]) > 0 {
				t.Errorf("%s: answered by a store that cannot write", method)
			}
		}
		close(release)
		if a := <-answers[wire.MethodMerge]; a.err != nil {
			t.Error(a.err)
		} else if m, err := wire.DecodeMergeReply(a.b); err != nil || m.Code != wire.CodeOK {
			t.Errorf("merge: %+v, %v", m, err)
		}
		if a := <-answers[wire.MethodPut]; a.err != nil {
			t.Error(a.err)
		} else if p, err := wire.DecodePutReply(a.b); err != nil || p.Code != wire.CodeOK || p.Durable < 2 {
			t.Errorf("put: %+v, %v", p, err)
		}
		wantValue(t, buckets[1], "merge", "merged")
		wantValue(t, buckets[2], "put", "put")
	})
}
