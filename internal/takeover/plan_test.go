package takeover

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

var threeNodes = []Node{
	{ID: 1, Name: "a", Zone: "line", Capabilities: []string{"plc"}, Data: []string{"recipes"}},
	{ID: 2, Name: "b", Zone: "line", Capabilities: []string{"plc", "gpu"}},
	{ID: 3, Name: "c", Zone: "hall", Capabilities: []string{"gpu"}, Data: []string{"recipes"}},
}

func TestAllFaultsOfAPlanAreNamedAtOnce(t *testing.T) {
	p := Plan{
		Service: strings.Repeat("s", 57), Mode: 2, Runs: strings.Repeat("r", 65), Primary: "a",
		Backups: []string{"a", "b", "b", "zoe"}, FailBack: 3, Restarts: -1,
		Needs: Needs{Capabilities: []string{"", "plc"}, Zones: slices.Repeat([]string{"z"}, 33), Data: []string{strings.Repeat("d", 65)}, Headroom: 1001},
		Check: Check{Interval: -1, Timeout: 2 * time.Hour},
	}
	p.Steps[Route] = Step{Timeout: time.Microsecond, Retries: 11}
	warnings, err := p.Validate(threeNodes)
	if err == nil || len(warnings) > 0 {
		t.Fatalf("%v, %v", warnings, err)
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%T is not joined", err)
	}
	got := map[string][]error{}
	for _, err := range joined.Unwrap() {
		var f *Fault
		if !errors.As(err, &f) {
			t.Fatalf("%v is no Fault", err)
		}
		if got[f.Field] == nil || f.Field != "zones" {
			got[f.Field] = append(got[f.Field], f.Err)
		}
	}
	for field, want := range map[string][]error{
		"service": {ErrBound}, "mode": {ErrBound}, "runs": {ErrBound}, "fail-back": {ErrBound}, "restarts": {ErrBound},
		"backups":      {ErrDuplicate, ErrPrimaryBackup, ErrUnknownNode},
		"capabilities": {ErrBound}, "zones": {ErrBound}, "data": {ErrBound}, "headroom": {ErrBound},
		"check interval": {ErrBound}, "check timeout": {ErrBound}, "timeout of route": {ErrBound}, "retries of route": {ErrBound},
	} {
		if len(got[field]) != len(want) {
			t.Errorf("%s: %v instead of %v", field, got[field], want)
		}
		for _, w := range want {
			if !slices.Contains(got[field], w) {
				t.Errorf("%s: %v is missing", field, w)
			}
		}
		delete(got, field)
	}
	if len(got) > 0 {
		t.Errorf("faults that are none: %v", got)
	}
}

func TestOneFaultOfAPlan(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Plan)
		want   error
	}{
		"none":             {func(*Plan) {}, nil},
		"no service":       {func(p *Plan) { p.Service = "" }, ErrBound},
		"unknown primary":  {func(p *Plan) { p.Primary = "zoe" }, ErrUnknownNode},
		"nobody preferred": {func(p *Plan) { p.Primary, p.Backups = "", nil }, nil},
		"17 backups":       {func(p *Plan) { p.Backups = slices.Repeat([]string{"b"}, 17) }, ErrBound},
		"fails back soon":  {func(p *Plan) { p.FailBack = FailBackAfter }, ErrBound},
		"fails back":       {func(p *Plan) { p.FailBack, p.After = FailBackAfter, time.Second }, nil},
		"headroom":         {func(p *Plan) { p.Needs.Headroom = -1 }, ErrBound},
		"retries":          {func(p *Plan) { p.Steps[Verify].Retries = -1 }, ErrBound},
		"timeout":          {func(p *Plan) { p.Steps[Sync].Timeout = time.Hour + 1 }, ErrBound},
		"restarts":         {func(p *Plan) { p.Restarts = 11 }, ErrBound},
	} {
		p := Plan{Service: "press", Primary: "a", Backups: []string{"b"}}
		c.change(&p)
		if _, err := p.Validate(threeNodes); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNeedsThatNobodyMeetsAreWarnings(t *testing.T) {
	for _, c := range []struct {
		needs Needs
		want  string // the fields
	}{
		{Needs{Capabilities: []string{"plc"}, Data: []string{"recipes"}}, ""},
		{Needs{Capabilities: []string{"plc", "laser"}, Zones: []string{"attic"}, Data: []string{"x"}}, "capabilities data zones"},
		{Needs{Capabilities: []string{"plc", "gpu"}, Data: []string{"recipes"}}, "needs"},
	} {
		warnings, err := Plan{Service: "press", Needs: c.needs}.Validate(threeNodes)
		var fields []string
		for _, w := range warnings {
			fields = append(fields, w.Field)
			if !errors.Is(w, ErrNobodyMeets) || !strings.Contains(w.Error(), w.Field) {
				t.Errorf("%v", w)
			}
		}
		if got := strings.Join(fields, " "); got != c.want || err != nil {
			t.Errorf("%+v: %q, %v", c.needs, got, err)
		}
	}
}

func TestWordsOfAPlan(t *testing.T) {
	if Exclusive.Scope() != token.ScopeMajority || PerComponent.Scope() != token.ScopeComponent {
		t.Error("modes have other scopes")
	}
	if Prepare.String() != "prepare" || Verify.String() != "verify" || StepCount.String() != "unknown step" {
		t.Error("steps have other names")
	}
	p := Plan{}.Complete()
	if p.Needs.Headroom != 100 || p.Steps[Sync].Timeout != 10*time.Second || p.Check.Interval != time.Second || p.Check.Timeout != time.Second {
		t.Errorf("%+v", p)
	}
}

func TestLacks(t *testing.T) {
	p := Plan{Needs: Needs{Capabilities: []string{"plc", "gpu"}, Zones: []string{"line"}, Data: []string{"recipes"}}}
	n := Node{Zone: "hall", Capabilities: []string{"plc"}, Used: []int{10, 901, 3}, Trouble: true, Refuses: true}
	want := []Lack{{LackCapability, "gpu", 0}, {LackZone, "hall", 0}, {LackData, "recipes", 0}, {LackHeadroom, "", 901}, {Kind: LackHealth}, {Kind: LackPermission}}
	if got := p.Lacks(n); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if p.Prefer(n) != 0 {
		t.Error("it stands")
	}
	p.Needs = Needs{}
	for _, c := range []struct {
		n      Node
		stands bool
	}{{Node{Used: []int{900}}, true}, {Node{Used: []int{901}}, false}, {Node{Used: []int{5000}, Runs: true}, true}} {
		if (p.Prefer(c.n) > 0) != c.stands {
			t.Errorf("%+v", c.n)
		}
	}
}

// orderOf returns those of the nodes that stand, the preferred one first.
func orderOf(p Plan, nodes []Node) []Node {
	order := slices.DeleteFunc(slices.Clone(nodes), func(n Node) bool { return p.Prefer(n) == 0 })
	slices.SortFunc(order, func(a, b Node) int {
		return cmp.Or(cmp.Compare(p.Prefer(b), p.Prefer(a)), cmp.Compare(a.ID, b.ID))
	})
	return order
}

func TestOrder(t *testing.T) {
	p := Plan{Primary: "a", Backups: []string{"b", "c"}}
	nodes := []Node{
		{ID: 9, Name: "z", Penalised: true}, {ID: 8, Name: "a", Penalised: true}, {ID: 5, Name: "y", Used: []int{500}}, {ID: 7, Name: "x", Used: []int{100}},
		{ID: 6, Name: "w", Used: []int{100}}, {ID: 4, Name: "c"}, {ID: 3, Name: "b", Used: []int{899}}, {ID: 2, Name: "a"}, {ID: 1, Name: "v", Runs: true, Penalised: true, Used: []int{1000}}, {ID: 10, Name: "b", Trouble: true},
	}
	want := []view.NodeID{1, 2, 3, 4, 6, 7, 5, 8, 9}
	for range 50 {
		rand.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
		var got []view.NodeID
		for _, n := range orderOf(p, nodes) {
			got = append(got, n.ID)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%v", got)
		}
	}
}

func TestWhoIsBetterThanTheOneThatRuns(t *testing.T) {
	p := Plan{Primary: "a", Backups: []string{"b"}}
	a, b, c := Node{ID: 1, Name: "a"}, Node{ID: 2, Name: "b"}, Node{ID: 3, Name: "c"}
	sick, penalised, busy := a, a, Node{ID: 4, Name: "d", Used: []int{800}}
	sick.Trouble, penalised.Penalised = true, true
	for _, n := range []struct {
		than   Node
		others []Node
		want   view.NodeID
	}{
		{c, []Node{b, a}, 1}, {c, []Node{a, b}, 1}, {b, []Node{a, c}, 1}, {a, []Node{b, c}, 0}, {busy, []Node{c}, 0},
		{c, []Node{sick, b}, 2}, {c, []Node{penalised, b}, 2}, {c, []Node{sick}, 0}, {c, []Node{penalised}, 0}, {c, nil, 0},
	} {
		if got := p.better(n.than.Name, peersOf(p, n.others)); got != n.want {
			t.Errorf("%v is better than %s of %+v", got, n.than.Name, n.others)
		}
	}
}

// TestAllNodesAgreeOnTheOrder compares the order of random facts, shuffled, with itself: it
// is one and total, and each pair stands as the two preferences say.
func TestAllNodesAgreeOnTheOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "b", "c", "d", "e"}
	for range 2000 {
		p := Plan{Primary: names[rng.IntN(5)], Needs: Needs{Headroom: rng.IntN(300)}}
		for _, i := range rng.Perm(5)[:rng.IntN(4)] {
			p.Backups = append(p.Backups, names[i])
		}
		var nodes []Node
		for i := range 6 {
			nodes = append(nodes, Node{ID: view.NodeID(i + 1), Name: names[rng.IntN(5)], Used: []int{rng.IntN(1100)}, Penalised: rng.IntN(3) == 0, Runs: rng.IntN(5) == 0, Trouble: rng.IntN(5) == 0})
		}
		first := orderOf(p, nodes)
		rng.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
		for i, n := range orderOf(p, nodes) {
			if n.ID != first[i].ID {
				t.Fatalf("%+v: %v, %v", p, first, nodes)
			}
			if i > 0 && p.Prefer(first[i-1]) < p.Prefer(n) || p.Prefer(n) == 0 {
				t.Fatalf("%+v before %+v", first[i-1], n)
			}
		}
	}
}

func TestPenaltyGrowsIsBoundedAndDecays(t *testing.T) {
	var p penalty
	if p.Until() != 0 || p.RestUntil() != 0 {
		t.Fatal("nothing has failed")
	}
	now, last, lastRest := time.Hour, time.Duration(0), time.Duration(0)
	for i := range 20 {
		now = max(now, p.Until())
		p.Add(now)
		long, rest := p.Until()-now, p.RestUntil()-now
		if i < 6 && (long != penaltyFirst<<i || rest != min(restFirst<<i, restMax)) || long < last || rest < lastRest || long > penaltyMax || rest > restMax {
			t.Fatalf("%d: %v, %v", i, long, rest)
		}
		last, lastRest = long, rest
	}
	if last != penaltyMax || lastRest != restMax {
		t.Fatalf("%v, %v", last, lastRest)
	}
	for i := range maxFailures + 1 {
		if got := p.Count(p.Until() + time.Duration(i)*penaltyDecay); got != maxFailures-i {
			t.Fatalf("%d hours later: %d", i, got)
		}
	}
	now = p.Until() + 5*penaltyDecay
	p.Add(now)
	if p.Until() != now+4*penaltyFirst {
		t.Errorf("%v after five were forgotten", p.Until()-now)
	}
}
