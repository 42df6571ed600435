package arch

import (
	"go/ast"
	"strings"
)

// Above these a file or a function has more than one subject. Aim lower: 400
// and 60.
const (
	maxFileLines = 600
	maxFuncLines = 90
)

// Size finds files and functions that are too long, tests included.
func Size(r *Repo) (faults []Fault) {
	for _, f := range r.Files {
		if n := strings.Count(f.Text, "\n"); n > maxFileLines {
			faults = append(faults, Fault{f.Path, 0, "has more than 600 lines"})
		}
		for _, decl := range f.AST.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			first, last := r.fset.Position(fn.Pos()).Line, r.fset.Position(fn.End()).Line
			if last-first+1 > maxFuncLines {
				faults = append(faults, f.newFault(fn.Pos(), "%s has more than 90 lines", fn.Name.Name))
			}
		}
	}
	return faults
}
