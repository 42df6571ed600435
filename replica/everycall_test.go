package replica

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/everycall"
)

// Whatever a node has or lacks, none of the public methods ends the process or hangs: on a
// node that stores, one that does not, and one that has no outbox besides, in contact, cut
// off and closed.
func TestEveryCallOnEveryNode(t *testing.T) {
	t.Run("storing", func(t *testing.T) {
		bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
			callAllInAllStates(t, net, nodes[0], buckets[0])
		})
	})
	t.Run("not storing", func(t *testing.T) {
		withCamera(t, BucketConfig{}, func(c *camera) { callAllInAllStates(c.t, c.net, c.node, c.b) })
	})
	t.Run("without an outbox", func(t *testing.T) {
		off := func(c *Config) { c.OutboxBytes = -1 }
		withCamera(t, BucketConfig{}, func(c *camera) { callAllInAllStates(c.t, c.net, c.node, c.b) }, off)
	})
}

func callAllInAllStates(t *testing.T, net *fakeNet, n *fakeNode, b *Bucket) {
	s := n.store
	calls := callAll(t, "in contact", s, b)
	net.split(true, n.id)
	calls += callAll(t, "just cut off", s, b)
	time.Sleep(time.Minute)
	calls += callAll(t, "cut off", s, b)
	net.heal()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	calls += callAll(t, "closed", s, b)
	if calls < 4*3*18 {
		t.Errorf("only %d calls were made", calls)
	}
}

func callAll(t *testing.T, state string, s *Store, b *Bucket) (calls int) {
	given := []any{
		"k", []byte("v"), io.Writer(new(bytes.Buffer)), true, ScanOptions{Limit: 3}, WatchOptions{Present: true},
		[]BatchPut{{Key: "k", Value: []byte("v")}, {Key: "l"}}, []BatchGet{{Key: "k"}}, []BatchDelete{{Key: "l"}},
	}
	return everycall.Try(t, state, s, given, "Close") + everycall.Try(t, state, b, given)
}
