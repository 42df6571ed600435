package mode

import (
	"cmp"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Report is what a node says of its own probes, or what this node found itself.
type Report struct {
	Node  view.NodeID
	Cloud Cloud         // Unknown says nothing: it takes an earlier report back
	At    time.Duration // when it came, by this node's run time
}

// CloudWatcher decides whether a component reaches the cloud: it does if one of its
// nodes does, for that one can pass on what the others have.
type CloudWatcher struct {
	params  Params
	now     time.Duration
	finding Cloud
	until   time.Duration // when the finding lapses without further reports
	next    time.Duration
}

// NewCloudWatcher returns a machine of which the finding is Unknown.
func NewCloudWatcher(par Params) *CloudWatcher {
	return &CloudWatcher{params: par.withDefaults(), next: Never}
}

// Step takes the component of this node and the last report of each node, and
// returns the finding and whether it is another one than before. Reports from
// outside the component do not count: the cloud may be reachable from there.
// A step with an earlier time counts as being at the latest one.
func (v *CloudWatcher) Step(now time.Duration, component []view.NodeID, reports []Report) (finding Cloud, changed bool) {
	v.now = max(v.now, now)
	before, heard := v.finding, Unknown
	v.next = Never
	for _, r := range reports {
		ends := min(r.At, v.now) + v.params.FreshFor
		if r.Cloud == Unknown || v.now >= ends || !slices.Contains(component, r.Node) {
			continue
		}
		if heard != Reachable {
			heard = r.Cloud
		}
		v.next = min(v.next, ends)
		v.until = max(v.until, ends+v.params.KeepFor)
	}
	switch {
	case heard != Unknown:
		v.finding = heard
	case v.now >= v.until:
		v.finding = Unknown
	case v.finding != Unknown:
		v.next = v.until
	}
	return v.finding, v.finding != before
}

// Cloud returns what the last Step returned.
func (v *CloudWatcher) Cloud() Cloud { return v.finding }

// Next returns the time by which Step must be called again if no report comes
// and the component stays as it is.
func (v *CloudWatcher) Next() time.Duration { return v.next }

// Probers returns which n of the candidates probe the cloud for their
// component, by rendezvous: all that know the same candidates choose alike
// without a word, and when one goes only its place is filled anew. Candidates
// are the nodes of the component that have probes, in any order.
func Probers(candidates []view.NodeID, n int) []view.NodeID {
	chosen := slices.Clone(candidates)
	slices.SortFunc(chosen, func(a, b view.NodeID) int {
		return cmp.Or(cmp.Compare(mixBits(uint64(a)), mixBits(uint64(b))), cmp.Compare(a, b))
	})
	chosen = slices.Compact(chosen)
	return chosen[:min(max(n, 0), len(chosen))]
}

// mixBits scatters numbers (the finaliser of splitmix64, Steele et al. 2014). The
// constant added keeps these ranks apart from others drawn from node ids.
func mixBits(x uint64) uint64 {
	x += 0x636c6f7564 // "cloud"
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
