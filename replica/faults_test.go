package replica

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/writing"
	"github.com/skeinmesh/skein/internal/wire"
)

// Each sentinel that has a row survives the way to another store and to a program,
// with the words around it, and is no other one there.
func TestEachErrorSurvivesTheWay(t *testing.T) {
	for _, row := range faults {
		err := fmt.Errorf("put %q: %w: of 5000 bytes", "key", row.Err)
		var back []error
		if row.Code != 0 {
			m, derr := wire.DecodePutReply(wire.AppendPutReply(nil, &wire.PutReply{Code: faults.Code(err), Text: wire.FaultText(err), Fence: term(6)}))
			if derr != nil {
				t.Fatal(derr)
			}
			back = append(back, faults.FromCode(m.Code, m.Text))
		}
		if row.Bit != 0 {
			m, derr := wire.DecodeAdminResult(wire.AppendAdminResult(nil, &wire.AdminResult{AdminOutcome: faults.Outcome(err)}))
			if derr != nil {
				t.Fatal(derr)
			}
			back = append(back, faults.FromOutcome(m.AdminOutcome))
		}
		for _, got := range back {
			for _, other := range faults {
				if errors.Is(got, other.Err) != (other.Err == row.Err) {
					t.Errorf("%v arrived as %v: is it %v? %v", err, got, other.Err, errors.Is(got, other.Err))
				}
			}
			if !strings.Contains(got.Error(), err.Error()) {
				t.Errorf("%v arrived as %v", err, got)
			}
		}
	}
}

// An error that is several sentinels is all of them at a program, and at a store what
// was done before what was not.
func TestErrorsReachTheClient(t *testing.T) {
	for _, row := range faults {
		if row.Bit == 0 {
			continue
		}
		both := fmt.Errorf("op: %w", errors.Join(row.Err, ErrBucketConflict))
		got := faults.FromOutcome(faults.Outcome(both))
		if !errors.Is(got, row.Err) || !errors.Is(got, ErrBucketConflict) || got.Error() != both.Error() {
			t.Errorf("%v arrived as %v", both, got)
		}
		if row.Err != ErrNotFound && errors.Is(got, ErrNotFound) {
			t.Errorf("%v arrived as not found", both)
		}
	}
	if got := faults.Code(errors.Join(ErrBucketConflict, ErrDegraded)); got != wire.CodeDegraded {
		t.Errorf("a write that is kept, on a bucket in conflict, is told as %d", got)
	}
	for _, got := range []error{
		faults.FromOutcome(faults.Outcome(admission.Overload{After: admission.RetryAfter})), faults.FromCode(faults.Code(admission.Overload{After: admission.RetryAfter}), admission.Overload{After: admission.RetryAfter}.Error()),
	} {
		if after := RetryAfter(got); after != admission.RetryAfter || strings.Count(got.Error(), ErrOverloaded.Error()) != 1 {
			t.Errorf("%v: retry after %v, want %v", got, after, admission.RetryAfter)
		}
	}
	if err := faults.FromOutcome(faults.Outcome(errors.New("else"))); err == nil || err.Error() != "else" {
		t.Errorf("an error of no name arrived as %v", err)
	}
	if faults.FromOutcome(faults.Outcome(nil)) != nil || faults.FromCode(faults.Code(nil), "") != nil {
		t.Error("success arrived as an error")
	}
}

// What a later release tells is an error of a type of its own, and none of the
// sentinels; of a write it leads to another store.
func TestFaultsOfLaterReleases(t *testing.T) {
	m, err := wire.DecodePutReply(wire.AppendPutReply(nil, &wire.PutReply{Code: 4711, Text: "of later years"}))
	if err != nil {
		t.Fatal(err)
	}
	put := faults.FromCode(m.Code, m.Text)
	for _, got := range []error{put, faults.FromOutcome(wire.AdminOutcome{Faults: 1 << 63, Text: "of later years"})} {
		var unknown *wire.UnknownFault
		if !errors.As(got, &unknown) || !strings.Contains(got.Error(), "of later years") {
			t.Errorf("arrived as %v", got)
		}
		for _, row := range faults {
			if errors.Is(got, row.Err) {
				t.Errorf("passed for %v", row.Err)
			}
		}
	}
	if writing.EndsSearch(put) {
		t.Error("no other store would be asked")
	}
	known := faults.FromOutcome(wire.AdminOutcome{Faults: 1<<63 | wire.AdminDegraded, Text: "both"})
	if !errors.Is(known, ErrDegraded) || known.Error() != "both" {
		t.Errorf("what is known of it arrived as %v", known)
	}
}

// Each error that the package exports has one row, but for those that nobody can be
// told of: they end the opening of a store, or of a bucket in a program.
func TestEachErrorHasARow(t *testing.T) {
	if err := faults.Check(); err != nil {
		t.Error(err)
	}
	here := map[string]bool{
		"ErrLocked": true, "ErrNewerFormat": true, "ErrBadBucket": true,
		"ErrNotReady": true, "ErrDamaged": true, // of Export, which no other program asks for
	}
	told := map[string]error{
		"ErrNotStoring":     ErrNotStoring,
		"ErrBucketConflict": ErrBucketConflict,
		"ErrNotFound":       ErrNotFound,
		"ErrDegraded":       ErrDegraded,
		"ErrUnavailable":    ErrUnavailable,
		"ErrOutboxFull":     ErrOutboxFull,
		"ErrTooLarge":       ErrTooLarge,
		"ErrBadContext":     ErrBadContext,
		"ErrSiblingLimit":   ErrSiblingLimit,
		"ErrClockSkew":      ErrClockSkew,
		"ErrOverloaded":     ErrOverloaded,
		"ErrStorageFull":    ErrStorageFull,
		"ErrFenced":         ErrFenced,
		"ErrStorage":        ErrStorage,
		"ErrClosed":         ErrClosed,
		"ErrNoBucket":       ErrNoBucket,
		"ErrBadScan":        ErrBadScan,
		"ErrBadWatch":       ErrBadWatch,
		"ErrTooSlow":        ErrTooSlow,
		"ErrBadBatch":       ErrBadBatch,
		"ErrBehind":         ErrBehind,
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	sentinels := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok {
				for _, name := range spec.Names {
					if strings.HasPrefix(name.Name, "Err") {
						sentinels[name.Name] = true
					}
				}
			}
			return true
		})
	}
	for name := range sentinels {
		err := told[name]
		if (err == nil) != here[name] {
			t.Errorf("%s: is it told to others?", name)
		}
		if err != nil && !slices.ContainsFunc(faults, func(r wire.FaultRow) bool { return r.Err == err }) {
			t.Errorf("%s has no row", name)
		}
	}
	if len(sentinels) < 15 {
		t.Errorf("found only %d sentinels", len(sentinels))
	}
}
