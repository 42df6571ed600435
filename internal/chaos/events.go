package chaos

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/skeinmesh/skein/partition/token"
)

// What an Event tells.
const (
	Begin = "begin" // the work was started with the token
	Act   = "act"   // it did something
	End   = "end"   // it has noticed that its context has ended, and returns
	Died  = "died"  // the process has ended; the test saw that
)

// Event is what the work of the leader of the election "writer" does, from the
// outside. Work acts without looking at more than its context.
type Event struct {
	At    time.Duration `json:"at"` // ns by the machine's boot clock, the same in all processes
	Kind  string        `json:"kind"`
	Token string        `json:"token"`
	Valid bool          `json:"valid"` // Partition.Check let it, just before
}

// Span is one run of work at a node.
type Span struct {
	Node       string
	Token      token.Token
	Begin, End time.Duration // End is Open while it runs
}

// Open is the end of work that has none yet.
const Open = time.Duration(math.MaxInt64)

// Spans reads the events of one node. Work that was under way when the process
// ended has ended then.
func Spans(node string, events []Event) (spans []Span, err error) {
	open := func() *Span {
		if n := len(spans); n > 0 && spans[n-1].End == Open {
			return &spans[n-1]
		}
		return nil
	}
	for _, e := range events {
		now := open()
		switch {
		case e.Kind == Died && now != nil:
			now.End = e.At
		case e.Kind == Died:
		case e.Kind == Begin && now == nil:
			t, err := token.Parse(e.Token)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", node, err)
			}
			spans = append(spans, Span{Node: node, Token: t, Begin: e.At, End: Open})
		case now == nil || e.Kind == Begin || now.Token.String() != e.Token:
			return nil, fmt.Errorf("%s: %s of %s out of turn", node, e.Kind, e.Token)
		case e.Kind == End:
			now.End = e.At
		}
	}
	return spans, nil
}

// Overlaps tells where two worked at one time, and where a token was not higher
// than all before it.
func Overlaps(spans []Span) (faults []string) {
	spans = slices.SortedFunc(slices.Values(spans), func(a, b Span) int { return cmp.Compare(a.Begin, b.Begin) })
	var last, high Span // who ended last, who had the highest token
	for i, s := range spans {
		if i > 0 && s.Begin <= last.End {
			faults = append(faults, fmt.Sprintf("%s began with %s %v before %s ended with %s", s.Node, s.Token, last.End-s.Begin, last.Node, last.Token))
		}
		if !high.Token.Less(s.Token) {
			faults = append(faults, fmt.Sprintf("%s began with %s after %s with %s", s.Node, s.Token, high.Node, high.Token))
		} else {
			high = s
		}
		if i == 0 || s.End > last.End {
			last = s
		}
	}
	return faults
}

// Refused returns the events that a resource which keeps a Fence would have
// refused, had all reached it in the order of time.
func Refused(events []Event) (refused []Event, err error) {
	events = slices.SortedStableFunc(slices.Values(events), func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	var fence token.Fence
	for _, e := range events {
		if e.Kind == Died {
			continue
		}
		t, err := token.Parse(e.Token)
		if err != nil {
			return nil, err
		}
		if !fence.Admit(t) {
			refused = append(refused, e)
		}
	}
	return refused, nil
}

// Leaderships counts how often a node began to lead its component.
func Leaderships(history []State) (n int) {
	for i, s := range history {
		if s.Here && (i == 0 || !history[i-1].Here) {
			n++
		}
	}
	return n
}

// TwoLead tells where two nodes led the component at one time although each had
// seen the other alive for longer than limit. Each history is one node's.
func TwoLead(histories [][]State, limit time.Duration) (faults []string) {
	for i, a := range histories {
		for _, b := range histories[i+1:] {
			faults = append(faults, twoLead(a, b, limit)...)
		}
	}
	return faults
}

// twoLead walks through two histories at once.
func twoLead(a, b []State, limit time.Duration) (faults []string) {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	met := int64(-1) // since when they see each other
	for i, j := 0, 0; ; {
		x, y := a[i], b[j]
		at := max(x.AtMS, y.AtMS)
		if !slices.Contains(x.Alive, y.Node) || !slices.Contains(y.Alive, x.Node) {
			met = -1
		} else if met < 0 {
			met = at
		}
		// Until one of them sees something else all this holds.
		next := int64(math.MaxInt64)
		if i+1 < len(a) {
			next = a[i+1].AtMS
		}
		if j+1 < len(b) {
			next = min(next, b[j+1].AtMS)
		}
		if met >= 0 && x.Here && y.Here && next != math.MaxInt64 && next-met > limit.Milliseconds() {
			faults = append(faults, fmt.Sprintf("%s with %s and %s with %s led until %d ms after they had met", x.Node, x.Token, y.Node, y.Token, next-met))
		}
		switch {
		case next == math.MaxInt64:
			return faults
		case i+1 < len(a) && a[i+1].AtMS == next:
			i++
		default:
			j++
		}
	}
}
