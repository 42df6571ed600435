package arch

import (
	"fmt"
	"go/ast"
	"maps"
	"slices"
)

// maxMethods is with how many methods a type has more than one subject. Aim lower: 40.
const maxMethods = 60

// manyMethods lists the types that have more, and how many they may have at most.
var manyMethods = map[string]int{
	"internal/storage.Store": 84,
	"internal/wire.codec":    67, // one for each kind of field
	"internal/sim.store":     92, // a whole store, driven by the simulator
}

// Methods finds types with too many methods, those of tests left out.
func Methods(r *Repo) (faults []Fault) {
	methods := make(map[string]map[string]Fault) // by type and name, which is once for all systems
	for _, f := range r.Files {
		for _, decl := range f.AST.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Recv == nil || f.Test {
				continue
			}
			of := f.Dir + "." + receiverName(fn.Recv.List[0].Type)
			if methods[of] == nil {
				methods[of] = make(map[string]Fault)
			}
			methods[of][fn.Name.Name] = f.newFault(fn.Pos(), "")
		}
	}
	for _, of := range slices.Sorted(maps.Keys(methods)) {
		if n := len(methods[of]); n > max(maxMethods, manyMethods[of]) {
			last := methods[of][slices.Max(slices.Collect(maps.Keys(methods[of])))]
			last.Text = fmt.Sprintf("%s has %d methods", of, n)
			faults = append(faults, last)
		}
	}
	return faults
}

// receiverName is the name of the type that a receiver has, without its parameters.
func receiverName(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.StarExpr:
		return receiverName(x.X)
	case *ast.IndexExpr:
		return receiverName(x.X)
	case *ast.IndexListExpr:
		return receiverName(x.X)
	case *ast.Ident:
		return x.Name
	}
	return ""
}
