package arch

import (
	"fmt"
	"go/ast"
	"regexp"
	"strings"
)

// The properties (F1) and scenarios (F2) of internal/README.md that have tests.
// Numbers are added here when they get one.
var (
	properties = []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 21, 22, 23, 24, 25, 26, 27, 28, 29, 31}
	scenarios  = []int{1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 13}
)

var (
	looksNumbered = regexp.MustCompile(`^TestF\d`)
	numbered      = regexp.MustCompile(`^TestF([12])_(\d\d)_[A-Z]\w*$`)
)

// Numbers finds assigned numbers without a test, tests whose name is not of
// the form TestF1_05_Words, and tests that skip themselves without a reason.
func Numbers(r *Repo) (faults []Fault) {
	seen := map[string]bool{}
	for _, f := range r.Files {
		for _, fn := range f.functions() {
			name := fn.Name.Name
			if !f.Test || !looksNumbered.MatchString(name) {
				continue
			}
			m := numbered.FindStringSubmatch(name)
			switch {
			case m == nil:
				faults = append(faults, f.newFault(fn.Pos(), "%s is not named like TestF1_05_Words", name))
			case skipsAlways(fn):
				faults = append(faults, f.newFault(fn.Pos(), "%s always skips", name))
			default:
				seen["F."+m[1]+" "+m[2]] = true
			}
		}
	}
	missing := func(part int, numbers []int) {
		for _, n := range numbers {
			if !seen[fmt.Sprintf("F.%d %02d", part, n)] {
				faults = append(faults, Fault{Path: "tests", Text: fmt.Sprintf("no TestF%d_%02d_...", part, n)})
			}
		}
	}
	missing(1, properties)
	missing(2, scenarios)
	return faults
}

func (f *File) functions() (funcs []*ast.FuncDecl) {
	for _, decl := range f.AST.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok {
			funcs = append(funcs, fn)
		}
	}
	return funcs
}

// skipsAlways tells whether a test calls Skip outside any condition.
func skipsAlways(fn *ast.FuncDecl) bool {
	if fn.Body == nil {
		return true
	}
	for _, stmt := range fn.Body.List {
		if e, ok := stmt.(*ast.ExprStmt); ok {
			if call, ok := e.X.(*ast.CallExpr); ok {
				if sel, ok := call.Fun.(*ast.SelectorExpr); ok && strings.HasPrefix(sel.Sel.Name, "Skip") {
					return true
				}
			}
		}
	}
	return false
}
