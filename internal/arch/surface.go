package arch

import (
	"go/ast"
	"go/token"
	"strings"
)

// Surface finds exported signatures of the words and public lines that name a
// type from outside or from internal packages: users would have to follow us
// wherever we go.
func Surface(r *Repo) (faults []Fault) {
	for _, f := range r.Files {
		if l := lineName(f.Dir); f.Test || (l != "words" && l != "words about nodes" && l != "words about items and services" && l != "public") {
			continue
		}
		for _, decl := range f.AST.Decls {
			for _, part := range exportedParts(decl) {
				faults = append(faults, f.foreign(part)...)
			}
		}
	}
	return faults
}

// exportedParts returns the type expressions of a declaration that users see.
func exportedParts(decl ast.Decl) (parts []ast.Node) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && (d.Recv == nil || exportedReceiver(d.Recv)) {
			parts = append(parts, d.Type)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() {
					if s.TypeParams != nil {
						parts = append(parts, s.TypeParams)
					}
					parts = append(parts, visible(s.Type)...)
				}
			case *ast.ValueSpec:
				if d.Tok == token.VAR || d.Tok == token.CONST {
					parts = append(parts, valueParts(s)...)
				}
			}
		}
	}
	return parts
}

func exportedReceiver(recv *ast.FieldList) bool {
	id := baseIdent(recv.List[0].Type)
	return id == nil || id.IsExported()
}

// visible returns what users see identsOf a type: of a struct the exported fields,
// of an interface the exported methods, of anything else all of it.
func visible(t ast.Expr) (parts []ast.Node) {
	var fields *ast.FieldList
	switch t := t.(type) {
	case *ast.StructType:
		fields = t.Fields
	case *ast.InterfaceType:
		fields = t.Methods
	default:
		return []ast.Node{t}
	}
	for _, field := range fields.List {
		seen := len(field.Names) == 0 // embedded
		for _, name := range field.Names {
			seen = seen || name.IsExported()
		}
		if seen {
			parts = append(parts, field.Type)
		}
	}
	return parts
}

// valueParts returns the type of exported variables and constants, and their
// values where these give the type.
func valueParts(s *ast.ValueSpec) (parts []ast.Node) {
	for i, name := range s.Names {
		if !name.IsExported() {
			continue
		}
		if s.Type != nil {
			parts = append(parts, s.Type)
		} else if i < len(s.Values) {
			parts = append(parts, typeOf(s.Values[i]))
		}
	}
	return parts
}

// typeOf returns the part of a value that gives its type: of a conversion or
// a call what is called, otherwise all of it.
func typeOf(value ast.Expr) ast.Expr {
	if call, ok := value.(*ast.CallExpr); ok {
		return call.Fun
	}
	return value
}

func (f *File) foreign(part ast.Node) (faults []Fault) {
	ast.Inspect(part, func(n ast.Node) bool {
		pkg, name, ok := f.selectedName(n)
		if !ok {
			return true
		}
		dir, own := localDir(pkg)
		if thirdParty(pkg) || own && strings.HasPrefix(dir, "internal/") {
			faults = append(faults, f.newFault(n.Pos(), "an exported signature names %s.%s", pkg, name))
		}
		return true
	})
	return faults
}

// fulfilled lists the interfaces by which a public package asks for another:
// the two never import each other, so a test here must prove that they fit.
var fulfilled = []struct{ dir, iface, by, assertion string }{
	{"replica", "Mesh", "mesh", "var _ replica.Mesh = (*mesh.Node)(nil)"},
}

// Fits finds an interface of the list above without its compile-time proof,
// as soon as both packages are there.
func Fits(r *Repo) (faults []Fault) {
	for _, want := range fulfilled {
		declared, implemented, proved := false, false, false
		for _, f := range r.Files {
			switch {
			case f.Dir == "internal/arch/fits" && f.Test:
				proved = proved || f.asserts(want.assertion)
			case f.Dir == want.dir && !f.Test:
				declared = declared || f.AST.Scope.Lookup(want.iface) != nil
			case f.Dir == want.by && !f.Test:
				implemented = implemented || f.AST.Scope.Lookup("Node") != nil
			}
		}
		if declared && implemented && !proved {
			faults = append(faults, Fault{"internal/arch/fits", 0, "no test here says " + want.assertion})
		}
	}
	return faults
}

// asserts tells whether a file declares exactly this at its top level.
func (f *File) asserts(declaration string) bool {
	for _, decl := range f.AST.Decls {
		from, to := f.repo.fset.Position(decl.Pos()).Offset, f.repo.fset.Position(decl.End()).Offset
		if f.Text[from:to] == declaration {
			return true
		}
	}
	return false
}
