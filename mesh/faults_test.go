package mesh

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Each error that has a row survives the way, with the value at fault, and is no other
// one there; what has none, and what a later release says, is none of them.
func TestEachErrorSurvivesTheWay(t *testing.T) {
	for _, row := range faults {
		err := fmt.Errorf("%w: node 5", row.Err)
		word, text := faults.Word(err)
		got := faults.FromWord(word, text)
		for _, other := range faults {
			if errors.Is(got, other.Err) != (other.Err == row.Err) {
				t.Errorf("%v arrived as %v: is it %v?", err, got, other.Err)
			}
		}
		if got.Error() != err.Error() || text != "node 5" {
			t.Errorf("%v arrived as %v, by %q", err, got, text)
		}
	}
	for _, word := range []string{"of-later-years", link.CodeError, ""} {
		var unknown *wire.UnknownFault
		if got := faults.FromWord(word, "text"); !errors.As(got, &unknown) || unknown.Code != word {
			t.Errorf("%q arrived as %#v", word, got)
		}
		if _, why := endingOf(faults.FromWord(word, "text")); why != nil {
			t.Errorf("%q ends a node with %v", word, why)
		}
	}
}

// The words are part of the protocol.
func TestWordsOfFaults(t *testing.T) {
	if err := faults.Check(); err != nil {
		t.Error(err)
	}
	for word, err := range map[string]error{
		"bad-hello": errBadHello, "id-in-use": roster.ErrClone, "name-in-use": errNameInUse, "rolled-back": roster.ErrOldBoot,
		"gone": roster.ErrGone, "replaces": errReplaces, "full": roster.ErrFull, "busy": errBusy, "admin-off": ErrAdminOff,
		"no-handler": ErrNoHandler, "overloaded": ErrOverloaded,
	} {
		if got, _ := faults.Word(err); got != word {
			t.Errorf("%v is told as %q, want %q", err, got, word)
		}
	}
	for err, want := range map[error]string{
		roster.ErrNameTaken: "busy", roster.ErrInvalid: "bad-hello", ErrClosed: "bad-hello", fmt.Errorf("%w: of 10", roster.ErrFull): "full",
	} {
		var refused *link.RefusedError
		if !errors.As(refusalOf(err), &refused) || refused.Code != want || refused.Text == "" {
			t.Errorf("%v refuses with %+v, want %q", err, refused, want)
		}
	}
	if refusalOf(nil) != nil {
		t.Error("no error refuses")
	}
}

// Each refusal that is a sentinel of this package at the one who is refused ends it as
// before.
func TestEndings(t *testing.T) {
	for word, want := range map[string]struct {
		err error
		end wire.End
	}{
		"id-in-use": {ErrIdentityConflict, wire.EndRolled}, "name-in-use": {ErrIdentityConflict, wire.Running},
		"rolled-back": {ErrRolledBack, wire.EndRolled}, "gone": {ErrEvicted, wire.EndEvicted},
		"replaces": {}, "full": {}, "bad-hello": {}, "busy": {}, "admin-off": {},
	} {
		if end, err := endingOf(faults.FromWord(word, "")); err != want.err || err != nil && end != want.end {
			t.Errorf("%s ends a node with %v (%v), want %v (%v)", word, err, end, want.err, want.end)
		}
	}
}

// Each error that the package exports has one row, but for those that are of one node
// alone, or are made of what the link says.
func TestEachErrorHasARow(t *testing.T) {
	here := map[string]bool{
		"ErrConfig": true, "ErrNoSecret": true, "ErrLocked": true, "ErrNewerFormat": true, "ErrOtherDir": true, "ErrOtherMesh": true, "ErrPortTaken": true,
		"ErrIdentityConflict": true, "ErrRolledBack": true, "ErrEvicted": true, // see endings
		"ErrClosed": true, "ErrUnreachable": true, "ErrTooLarge": true, "ErrMethod": true,
	}
	told := map[string]error{
		"ErrInContact":      ErrInContact,
		"ErrNoMember":       ErrNoMember,
		"ErrTopic":          ErrTopic,
		"ErrNoSubscription": ErrNoSubscription,
		"ErrNoHandler":      ErrNoHandler,
		"ErrOverloaded":     ErrOverloaded,
		"ErrAdminOff":       ErrAdminOff,
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

// An operator's program learns why a member is not given up, and a handler's own code
// is not taken for a sentinel.
func TestFaultsReachTheClient(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		for _, b := range w.boxes {
			b.cfg.AllowAdmin = true
		}
		w.form(10 * time.Second)
		n := w.boxes[0].node
		if err := n.Handle("admin/own", func(_ context.Context, _ view.NodeID, req []byte) ([]byte, error) {
			return nil, &RemoteError{Code: string(req), Text: "of a handler"}
		}); err != nil {
			t.Fatal(err)
		}
		c, err := Dial(t.Context(), ClientConfig{
			Addr: n.Addr().String(), Secret: testSecret, MeshName: "test", Network: w.net.Host(w.boxes[0].addr),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		other := w.boxes[1].node.ID()
		if err := c.Evict(t.Context(), other); !errors.Is(err, ErrInContact) || !strings.Contains(err.Error(), other.String()) {
			t.Errorf("evicting one that is there: %v", err)
		}
		if err := c.Evict(t.Context(), 77); !errors.Is(err, ErrNoMember) || errors.Is(err, ErrInContact) {
			t.Errorf("evicting nobody: %v", err)
		}
		var remote *RemoteError
		if _, err := c.Call(t.Context(), "admin/own", []byte("gone")); !errors.As(err, &remote) || remote.Code != "gone" || errors.Is(err, roster.ErrGone) {
			t.Errorf("a handler's own code: %v", err)
		}
		if _, err := c.Call(t.Context(), "admin/none", nil); !errors.Is(err, ErrNoHandler) || !strings.Contains(err.Error(), ErrNoHandler.Error()+": admin/none") {
			t.Errorf("a method that nobody handles: %v", err)
		}
	})
}
