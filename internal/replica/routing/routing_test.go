package routing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replica/writing"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// newRouter returns the router of one of so many members that store.
func newRouter(t *testing.T, storing int) *Router {
	t.Helper()
	v := view.View{Self: 9, Roster: 1, Members: []view.Member{{ID: 9, Name: "self", State: view.Alive}}}
	for id := view.NodeID(1); id <= view.NodeID(storing); id++ {
		v.Members = append(v.Members, view.Member{ID: id, Name: id.String(), Weight: 1, Storing: true, State: view.Alive})
	}
	homes, err := layout.New(layout.Options{Self: 9, Shards: 8, Silence: peering.NewSilence(time.Minute), HealAfter: -1, Log: slog.New(slog.DiscardHandler)}, v)
	if err != nil {
		t.Fatal(err)
	}
	return New(Options{Self: 9, Homes: homes, Faults: wire.Faults{
		{Err: keep.ErrStorageFull, Code: wire.CodeFull}, {Err: ErrClockSkew, Code: wire.CodeClock},
		{Err: admission.ErrOverloaded, Code: wire.CodeOverloaded}, {Err: writing.ErrDegraded, Code: wire.CodeDegraded},
	}})
}

// What one store says decides whether another one is turned to, and what is told if there is
// none.
func TestWhatLeadsToAnotherStore(t *testing.T) {
	elsewhere := func(err error) error { return fmt.Errorf("%w: %w", errElsewhere, err) }
	silent := errors.New("no answer")
	for _, c := range []struct {
		name    string
		said    []error
		goesOn  bool
		told    error // what it is in the end
		notTold error
	}{
		{"taken", []error{nil}, false, nil, nil},
		{"kept on fewer stores", []error{writing.ErrDegraded}, false, nil, nil},
		{"refused for load", []error{admission.Overload{}}, false, nil, nil},
		{"no answer", []error{elsewhere(silent)}, true, peering.ErrUnavailable, nil},
		{"leaving", []error{elsewhere(writing.ErrLeaving)}, true, peering.ErrUnavailable, nil},
		{"full alone", []error{keep.ErrStorageFull}, true, keep.ErrStorageFull, peering.ErrUnavailable},
		{"full, and another is silent", []error{keep.ErrStorageFull, elsewhere(silent)}, true, peering.ErrUnavailable, nil},
		{"a clock", []error{elsewhere(ErrClockSkew)}, true, ErrClockSkew, peering.ErrUnavailable},
	} {
		var way search
		goesOn := false
		for _, err := range c.said {
			goesOn = way.mayGoOn(err)
		}
		if goesOn != c.goesOn {
			t.Errorf("%s: another store is turned to: %v", c.name, goesOn)
		}
		if !goesOn {
			continue
		}
		told := newRouter(t, 3).failureOf(context.Background(), &way)
		if !errors.Is(told, c.told) || c.notTold != nil && errors.Is(told, c.notTold) {
			t.Errorf("%s: told as %v", c.name, told)
		}
	}
}

// Codes that are answers end the search; all others lead on.
func TestAnswersOfStores(t *testing.T) {
	r, q := newRouter(t, 3), &writing.Request{}
	for code, leadsOn := range map[wire.Code]bool{
		wire.CodeOK: false, wire.CodeDegraded: false, wire.CodeOverloaded: false, wire.CodeFenced: false,
		wire.CodeFull: true, wire.CodeClock: true, 250: true,
	} {
		err := r.answeredError(q, code, "in words", token.Token{})
		if errors.Is(err, errElsewhere) != leadsOn {
			t.Errorf("code %v: %v", code, err)
		}
	}
	if err := r.answeredError(q, wire.CodeFenced, "", token.Token{}); !errors.Is(err, keep.ErrFenced) {
		t.Errorf("fenced: %v", err)
	}
}

// Where no member stores, that is what is wrong.
func TestNobodyStores(t *testing.T) {
	some, none := newRouter(t, 3).Unavailable(), newRouter(t, 0).Unavailable()
	if !errors.Is(some, peering.ErrUnavailable) || !errors.Is(none, peering.ErrUnavailable) || some.Error() == none.Error() {
		t.Errorf("%v; %v", some, none)
	}
}
