package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/backup"
)

// ledgerOf notes marks, "node what second" each.
func ledgerOf(t *testing.T, marks ...string) *ledger {
	t.Helper()
	l := &ledger{}
	for _, text := range marks {
		f := strings.Fields(text)
		at, err := time.ParseDuration(f[2])
		if err != nil {
			t.Fatal(err)
		}
		switch f[1] {
		case "killed":
			l.noteKill(f[0], at)
		case "back":
			l.noteReturn(f[0], at)
		default:
			l.noteMark(mark{node: f[0], service: "press", what: f[1], at: at})
		}
	}
	return l
}

func TestRunsThatOverlapAreDoubleStarts(t *testing.T) {
	for _, c := range []struct {
		name  string
		marks []string
		want  int
	}{
		{"one after the other", []string{"a starting 1s", "a verified 2s", "a stopping 3s", "a stopped 4s", "b starting 4s"}, 0},
		{"a started before b has stopped", []string{"b starting 1s", "b stopping 3s", "a starting 3500ms", "b stopped 4s"}, 1},
		{"never stopped", []string{"a starting 1s", "b starting 9s"}, 1},
		{"killed", []string{"a starting 1s", "a verified 2s", "a killed 3s", "b starting 3001ms", "a back 4s"}, 0},
		{"started before the kill", []string{"a starting 1s", "a killed 3s", "b starting 2999ms"}, 1},
		{"twice at one node", []string{"a starting 1s", "a starting 2s"}, 1},
		{"three at once", []string{"a starting 1s", "b starting 2s", "c starting 3s"}, 3},
		{"marks that come late", []string{"b starting 5s", "a starting 1s", "a stopped 4s"}, 0},
		{"a stop ends no later run", []string{"a starting 1s", "a stopped 2s", "a starting 3s", "b starting 4s"}, 1},
	} {
		l := ledgerOf(t, c.marks...)
		if got := l.doubleStarts("press"); got != c.want {
			t.Errorf("%s: %d double starts, want %d", c.name, got, c.want)
		}
		if got := l.doubleStarts("another"); got != 0 {
			t.Errorf("%s: %d double starts of another service", c.name, got)
		}
	}
}

func TestUnservedIsWhereNobodyIsVerified(t *testing.T) {
	for _, c := range []struct {
		name  string
		marks []string
		want  time.Duration
	}{
		{"nobody", nil, 10 * time.Second},
		{"never verified", []string{"a starting 1s"}, 10 * time.Second},
		{"all the time", []string{"a starting 0s", "a verified 0s"}, 0},
		{"until it is stopped", []string{"a starting 0s", "a verified 1s", "a stopping 4s", "a stopped 6s"}, 7 * time.Second},
		{"until it is killed", []string{"a starting 0s", "a verified 1s", "a killed 4s"}, 7 * time.Second},
		{"stopped, and not told that it stops", []string{"a starting 0s", "a verified 1s", "a stopped 4s"}, 7 * time.Second},
		{"two at once count once", []string{"a starting 0s", "a verified 1s", "b starting 1s", "b verified 2s", "b stopping 3s", "b stopped 3s", "a killed 6s"}, 5 * time.Second},
		{"a gap between", []string{"a starting 0s", "a verified 0s", "a killed 3s", "b starting 4s", "b verified 5s"}, 2 * time.Second},
		{"beyond the ends", []string{"a starting -3s", "a verified -2s", "a killed 1s", "b starting 9s", "b verified 12s"}, 9 * time.Second},
	} {
		l := ledgerOf(t, c.marks...)
		if got := l.unserved("press", span{0, 10 * time.Second}); got != c.want {
			t.Errorf("%s: unserved for %v, want %v", c.name, got, c.want)
		}
	}
}

func TestWhoServes(t *testing.T) {
	l := ledgerOf(t, "a starting 1s", "a verified 2s", "a killed 5s", "b starting 6s", "b verified 7s", "c starting 7s", "c verified 8s")
	for at, want := range map[time.Duration][]string{1: nil, 2: {"a"}, 5: nil, 7: {"b"}, 8: {"b", "c"}} {
		if got := l.serving("press", at*time.Second); !slices.Equal(got, want) {
			t.Errorf("after %d s %v serve, want %v", at, got, want)
		}
	}
	if r, ok := l.firstServed("press", 5*time.Second); !ok || r.node != "b" {
		t.Errorf("first after the kill: %v %v, want b", r, ok)
	}
	if r, ok := l.firstServed("press", 5*time.Second, "b"); !ok || r.node != "c" {
		t.Errorf("first elsewhere: %v %v, want c", r, ok)
	}
	if r, ok := l.firstServed("press", 8*time.Second); ok {
		t.Errorf("nobody served later, and it was %v", r)
	}
}

func TestPercentile(t *testing.T) {
	four := []time.Duration{40, 10, 30, 20}
	for percent, want := range map[int]time.Duration{0: 10, 25: 10, 50: 20, 51: 30, 100: 40} {
		if got := percentile(four, percent); got != want {
			t.Errorf("p%d is %d, want %d", percent, got, want)
		}
	}
	if got := percentile(nil, 50); got != 0 {
		t.Errorf("p50 of nothing is %d", got)
	}
}

func TestDrawing(t *testing.T) {
	l := ledgerOf(t, "a starting 1s", "a verified 2s", "a killed 5s", "a back 7s", "b starting 6s", "b verified 7s", "b stopping 8s", "b stopped 9s")
	want := []string{"  a                ·▒███xx···", "  b                ······▒█▒·"}
	if got := l.drawRuns("press", []string{"a", "b"}, span{0, 10 * time.Second}, 10); !slices.Equal(got, want) {
		t.Errorf("drawn\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestBackupsThatAreMissingOrHaveFailed(t *testing.T) {
	policies := []backup.Policy{{Name: "p", Levels: []backup.Level{{Tier: "near"}, {Tier: "far"}}}}
	good := []backed{{"p", "near", 3, ""}, {"p", "far", 1, ""}, {"p", "near", 2, ""}}
	for _, c := range []struct {
		name   string
		all    []backed
		made   []int
		faults int
	}{
		{"all as it should be", good, []int{5, 1}, 0},
		{"nobody told", nil, []int{0, 0}, 2},
		{"none at one tier", good[:1], []int{3, 0}, 1},
		{"none by one node alone", append(slices.Clone(good), backed{"p", "far", 0, ""}), []int{5, 1}, 0},
		{"the last one failed", append(slices.Clone(good), backed{"p", "far", 7, "full"}), []int{5, 8}, 1},
		{"another policy", []backed{{"q", "near", 9, "full"}}, []int{0, 0}, 2},
	} {
		sums, faults := sumBackups(policies, c.all)
		var made []int
		for _, s := range sums {
			made = append(made, s.Made)
		}
		if !slices.Equal(made, c.made) || len(faults) != c.faults {
			t.Errorf("%s: made %v, %d faults, want %v and %d: %v", c.name, made, len(faults), c.made, c.faults, faults)
		}
	}
}

func TestPoliciesOfTheFactory(t *testing.T) {
	for i, want := range []string{"5s 30s 1m0s, kept for 2h48m0s 12h0m0s 146h0m0s", "1m0s 24m0s 24m0s, kept for 12h0m0s 36h0m0s 146h0m0s"} {
		l := backupPolicies()[i].Levels
		got := fmt.Sprintf("%v %v %v, kept for %v %v %v", l[0].Every, l[1].Every, l[2].Every, l[0].Keep, l[1].Keep, l[2].Keep)
		if got != want {
			t.Errorf("policy %s: %s, want %s", backupPolicies()[i].Name, got, want)
		}
	}
}
