package service

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/golden"
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
	p.Steps[Route] = Limits{Timeout: time.Microsecond, Retries: 11}
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

func TestWhereNoNodeIsKnownNothingIsSaidAboutThem(t *testing.T) {
	p := Plan{Service: "press", Primary: "zoe", Backups: []string{"yve"}, Needs: Needs{Zones: []string{"attic"}}}
	if warnings, err := p.Validate(nil); err != nil || len(warnings) > 0 {
		t.Errorf("%v, %v", warnings, err)
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
	if Prepare.String() != "prepare" || Verify.String() != "verify" || StepCount.String() != "unknown 5" {
		t.Error("steps have other names")
	}
	p := Plan{}.Complete()
	if p.Needs.Headroom != 100 || p.Steps[Sync].Timeout != 10*time.Second || p.Check.Interval != time.Second || p.Check.Timeout != time.Second {
		t.Errorf("%+v", p)
	}
}

func TestLacks(t *testing.T) {
	p := Plan{Conditions: []string{"hot", "worn"}, Needs: Needs{Capabilities: []string{"plc", "gpu"}, Zones: []string{"line"}, Data: []string{"recipes"}}}
	n := Node{Zone: "hall", Capabilities: []string{"plc"}, Used: []int{10, 901, 3}, Conditions: []string{"cold", "worn"}, Refuses: true}
	want := []Lack{{LackCapability, "gpu", 0}, {LackZone, "hall", 0}, {LackData, "recipes", 0}, {LackHeadroom, "", 901}, {LackCondition, "worn", 0}, {Kind: LackPermission}}
	if got := p.Lacks(n); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	p.Needs = Needs{}
	for _, c := range []struct {
		n      Node
		stands bool
	}{{Node{Used: []int{900}}, true}, {Node{Used: []int{901}}, false}, {Node{Used: []int{5000}, Runs: true}, true}} {
		if (len(p.Lacks(c.n)) == 0) != c.stands {
			t.Errorf("%+v", c.n)
		}
	}
}

func TestBoundsOfAStart(t *testing.T) {
	p := Plan{}
	for k := range p.Steps {
		p.Steps[k] = Limits{Timeout: time.Second << k, Retries: k}
	}
	// Without retries the steps take 1+2+4+8+16 s; a step is undone in its time before it is
	// tried again, and a start is undone and stopped.
	if got, want := p.StartBound(), (31+1*(2+2)+2*(4+4+4)+3*(8+8)+4*(16+16))*time.Second; got != want {
		t.Errorf("started within %v, not %v", want, got)
	}
	if got, want := p.UndoBound(), (31+4)*time.Second; got != want {
		t.Errorf("undone within %v, not %v", want, got)
	}
}

// TestAPlanIsWrittenAndReadInWords compares a plan with the text that people write.
func TestAPlanIsWrittenAndReadInWords(t *testing.T) {
	p := Plan{
		Service: "press", Mode: PerComponent, Runs: "v2", Primary: "a", Backups: []string{"b"}, FailBack: FailBackAfter, After: 90 * time.Second,
		Needs: Needs{Capabilities: []string{"plc"}, Zones: []string{"line"}, Data: []string{"recipes"}, Headroom: 50}, Conditions: []string{"worn"}, Check: Check{2 * time.Second, time.Second}, Restarts: 1,
		Requires: []string{"scale"}, Procedures: []string{ProcedureSync, "restore_from_backup"}, Drill: Drill{Schedule: "weekly", Shadow: true},
	}
	for k := range p.Steps {
		p.Steps[k] = Limits{Timeout: time.Minute, Retries: 1 + k}
	}
	golden.CheckJSON(t, "plan", p)
	var got Plan
	if err := json.Unmarshal(marshal(t, p), &got); err != nil || !reflect.DeepEqual(got, p) {
		t.Errorf("%+v, %v", got, err)
	}
	old, err := os.ReadFile("testdata/plan-1.json") // before there were drills
	if err == nil {
		err = json.Unmarshal(old, &got)
	}
	got.Requires, got.Procedures, got.Drill = p.Requires, p.Procedures, p.Drill
	if err != nil || !reflect.DeepEqual(got, p) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := json.Unmarshal([]byte(`{"service":"press"}`), &got); err != nil || !reflect.DeepEqual(got, Plan{Service: "press"}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{
		`{"servise":"press"}`, `{"Mode":"both"}`, `{"After":"long"}`, `{"Steps":{"stop":{}}}`, `{"Steps":{"start":{"Tries":1}}}`, `{"Check":{"Every":"1s"}}`, `{"FailBack":1}`,
	} {
		if err := json.Unmarshal([]byte(text), new(Plan)); err == nil {
			t.Errorf("%s is read", text)
		}
	}
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWordsAreReadAgain(t *testing.T) {
	for i := range uint8(11) {
		m, f, k, h, l := Mode(i), FailBack(i), Step(i), Health(i), LackKind(i)
		for _, c := range []struct {
			known bool
			text  string
			read  func([]byte) error
			same  func() bool
		}{
			{i < 2, m.String(), m.UnmarshalText, func() bool { return m == Mode(i) }},
			{i < 3, f.String(), f.UnmarshalText, func() bool { return f == FailBack(i) }},
			{i < 5, k.String(), k.UnmarshalText, func() bool { return k == Step(i) }},
			{i < 4, h.String(), h.UnmarshalText, func() bool { return h == Health(i) }},
			{i < 10, l.String(), l.UnmarshalText, func() bool { return l == LackKind(i) }},
		} {
			if err := c.read([]byte(c.text)); (err == nil) != c.known || !c.same() {
				t.Errorf("%q: %v", c.text, err)
			}
		}
	}
}

// TestProceduresRunWithTheStepBeforeThem puts procedures between the words for steps.
func TestProceduresRunWithTheStepBeforeThem(t *testing.T) {
	p := Plan{Service: "press", Procedures: []string{"a", ProcedureSync, "b", "c", ProcedureRestart, "d", ProcedureRoute, "e"}}
	if _, err := p.Validate(nil); err != nil {
		t.Fatal(err)
	}
	want := [StepCount][]string{Prepare: {"a"}, Sync: {"b", "c"}, Start: {"d"}, Route: {"e"}}
	for k := range StepCount {
		if got := p.ProceduresOf(k); !slices.Equal(got, want[k]) {
			t.Errorf("%v: %q", k, got)
		}
	}
	if got := (Plan{Procedures: []string{"x", "y"}}).ProceduresOf(Prepare); !slices.Equal(got, []string{"x", "y"}) {
		t.Errorf("without words: %q", got)
	}
	for _, c := range [][]string{{ProcedureRestart, ProcedureSync}, {ProcedureRoute, "a", ProcedureRestart}} {
		p.Procedures = c
		if _, err := p.Validate(nil); !errors.Is(err, ErrStepOrder) {
			t.Errorf("%q: %v", c, err)
		}
	}
	has := Node{Name: "n", Procedures: []string{"a"}}
	p.Procedures = []string{"a", ProcedureSync, "b"}
	if got := p.Lacks(has); !slices.Equal(got, []Lack{{Kind: LackProcedure, What: "b"}}) {
		t.Errorf("%+v", got)
	}
}

// TestServicesThatNeedEachOther finds cycles of any length, and no others.
func TestServicesThatNeedEachOther(t *testing.T) {
	plan := func(name string, requires ...string) Plan { return Plan{Service: name, Requires: requires} }
	others := []Plan{plan("b", "c"), plan("c", "a", "d"), plan("d", "d"), plan("a", "b")}
	for _, c := range []struct {
		p    Plan
		want []string
	}{
		{plan("a"), nil},
		{plan("a", "d", "x"), nil},
		{plan("a", "d", "b", "c"), []string{"b", "c"}},
		{plan("e", "b"), nil},
	} {
		var got []string
		if err := c.p.ValidateRequires(others); err != nil {
			for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
				var f *Fault
				if errors.As(err, &f) && errors.Is(err, ErrCycle) {
					got = append(got, f.Value)
				}
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: %q", c.p.Requires, got)
		}
	}
	if _, err := plan("a", "a").Validate(nil); !errors.Is(err, ErrCycle) {
		t.Errorf("itself: %v", err)
	}
	waits := Node{Unserved: []string{"b"}}
	if got := plan("a", "b").Lacks(waits); !slices.Equal(got, []Lack{{Kind: LackService, What: "b"}}) {
		t.Errorf("%+v", got)
	}
	waits.Runs = true
	if got := plan("a", "b").Lacks(waits); len(got) > 0 {
		t.Errorf("what runs is ended: %+v", got)
	}
}

// TestWhenDrillsAre reads schedules, and refuses what is none.
func TestWhenDrillsAre(t *testing.T) {
	from := time.Date(2026, 8, 5, 12, 30, 0, 0, time.FixedZone("", 7200)) // a Wednesday
	for text, want := range map[string]string{
		"daily": "2026-08-06 00:00", "weekly": "2026-08-09 00:00", "monthly": "2026-09-01 00:00", "15 3 * * 6": "2026-08-08 03:15", "": "0001-01-01 00:00",
	} {
		if got := (Drill{Schedule: text}).Next(from).Format("2006-01-02 15:04"); got != want {
			t.Errorf("%q: %s, not %s", text, got, want)
		}
		if _, err := (Plan{Service: "press", Drill: Drill{Schedule: text}}).Validate(nil); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"yearly", "@every 1s", "* * * *", "61 * * * *", "0 0 30 2 *", "TZ=UTC 0 0 * * *", "H * * * *", strings.Repeat("1,", 40) + "1 * * * *"} {
		if _, err := (Plan{Service: "press", Drill: Drill{Schedule: text}}).Validate(nil); !errors.Is(err, ErrSchedule) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
