package replica

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// wantProblem looks for the words in one of a store's problems; none: for no
// problem at all.
func wantProblem(t *testing.T, s *Store, words ...string) {
	t.Helper()
	h, err := s.Health(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	said := func(p string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(p, w) })
	}
	if len(words) == 0 && len(h.Problems) > 0 || len(words) > 0 && !slices.ContainsFunc(wordsOf(h.Problems), said) {
		t.Errorf("problems %q, want one with %q", h.Problems, words)
	}
	if h.HandingOver < 0 {
		t.Errorf("%d shards to be handed over", h.HandingOver)
	}
}

// wantNoProblem looks for a problem that must not be told.
func wantNoProblem(t *testing.T, s *Store, words string) {
	t.Helper()
	h, err := s.Health(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(wordsOf(h.Problems), func(p string) bool { return strings.Contains(p, words) }) {
		t.Errorf("problems %q, want none with %q", h.Problems, words)
	}
}

// Health tells what is wrong by the names of nodes, and what to do about it.
func TestHealthInWords(t *testing.T) {
	bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 20 {
			mustPut(t, buckets[i%5], strings.Repeat("k", i+1), "v")
		}
		time.Sleep(time.Minute)
		name := "node-" + nodes[4].id.String()
		wantProblem(t, nodes[0].store)
		nodes[4].kill()
		time.Sleep(time.Second)
		wantProblem(t, nodes[0].store, "fewer copies", name, "after 10m0s copies are made elsewhere")
		time.Sleep(15 * time.Minute)
		wantProblem(t, nodes[0].store, name, "evict")
		nodes[4].restart()
		time.Sleep(time.Minute)
		wantProblem(t, nodes[0].store)
		net.split(true, nodes[0].id, nodes[1].id)
		time.Sleep(time.Second)
		wantProblem(t, nodes[0].store, "only 2 of 5 storing nodes", "ForceHeal")
		net.heal()
		time.Sleep(time.Minute)
		nodes[3].kill()
		nodes[3].restart(func(c *Config) { c.HealAfter = -1 })
		nodes[2].kill()
		time.Sleep(time.Second)
		wantProblem(t, nodes[3].store, "HealAfter says never")
		nodes[2].restart()
		net.status(nodes[1].id, view.Leaving)
		wantProblem(t, nodes[1].store, "is leaving for good")
	})
}

// TestHealthTellsWhatTheNodeKnows: what is wrong with the links and seeds of the node stands in
// the health of its store, which is all that many operators look at.
func TestHealthTellsWhatTheNodeKnows(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, _ []*Bucket) {
		v := nodes[0].View()
		v.Problems = []view.Problem{{Kind: view.ProblemNobodyMet, Where: []string{"10.0.0.7:7800"}}, {Kind: view.ProblemNarrowPath, Where: []string{"10.0.0.1"}, Bytes: 1100}}
		nodes[0].views.Set(v)
		synctest.Wait()
		h, err := nodes[0].store.Health(t.Context())
		if err != nil || !slices.Equal(wordsOf(h.Problems), wordsOf(v.Problems)) {
			t.Errorf("%q, %v, want %q", wordsOf(h.Problems), err, wordsOf(v.Problems))
		}
	})
}
