package arch

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// actsOnProcess lists functions and variables by which a library would reach
// for the process it is a guest in. "*" is every name of the package.
var actsOnProcess = map[string]string{
	"os":        "Exit Stdout Stderr Stdin Args Setenv Unsetenv Clearenv Getenv LookupEnv Environ Chdir",
	"os/signal": "*",
	"flag":      "*",
	"log":       "Fatal Fatalf Fatalln Panic Panicf Panicln Print Printf Println SetOutput SetFlags SetPrefix Default",
	"log/slog":  "SetDefault Default Debug Info Warn Error Log DebugContext InfoContext WarnContext ErrorContext",
	"fmt":       "Print Printf Println",
	"syscall":   "Exit Kill",
}

// constants are functions whose results a package variable may hold: values
// that nobody changes later.
var constants = map[string]string{
	"errors":     "New",
	"fmt":        "Errorf",
	"regexp":     "MustCompile",
	"net/netip":  "MustParseAddr MustParseAddrPort MustParsePrefix AddrFrom4 AddrPortFrom IPv6Unspecified IPv4Unspecified",
	"net":        "IPv4 ParseIP",
	"hash/crc32": "MakeTable",
	"hash/crc64": "MakeTable",
	"strings":    "NewReplacer",
	"time":       "Date Unix",
}

// library tells whether a file is code that users link into their program.
func (f *File) library() bool {
	l := lineName(f.Dir)
	return !f.Test && l != "wiring" && l != "test only"
}

// Guest finds what a library must not do to its host: init functions, exits,
// signal handlers, flags, environment, global loggers, package testing.
func Guest(r *Repo) (faults []Fault) {
	for _, f := range r.Files {
		if !f.library() {
			if lineName(f.Dir) == "wiring" && !f.Test {
				faults = append(faults, f.importsTesting()...)
			}
			continue
		}
		faults = append(faults, f.importsTesting()...)
		ast.Inspect(f.AST, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && n.Name.Name == "init" {
					faults = append(faults, f.newFault(n.Pos(), "init function in a library"))
				}
			case *ast.SelectorExpr:
				pkg, name, ok := f.selectedName(n)
				if ok && isNamedIn(actsOnProcess[pkg], name) {
					faults = append(faults, f.newFault(n.Pos(), "%s.%s acts on the process of the user", pkg, name))
				}
			}
			return true
		})
	}
	return faults
}

func (f *File) importsTesting() (faults []Fault) {
	for _, spec := range f.AST.Imports {
		if p := importPath(spec); p == "testing" || strings.HasPrefix(p, "testing/") {
			faults = append(faults, f.newFault(spec.Pos(), "product code imports %s", p))
		}
	}
	return faults
}

func isNamedIn(list, name string) bool {
	return list == "*" || slices.Contains(strings.Fields(list), name)
}

// Globals finds package variables in libraries that could change: without a
// value, with a value that is not plainly constant, or written to anywhere in
// the package.
func Globals(r *Repo) (faults []Fault) {
	dirs, packages := r.packages()
	for _, dir := range dirs {
		globals := map[string]bool{}
		for _, f := range packages[dir] {
			if f.library() {
				faults = append(faults, f.globals(globals)...)
			}
		}
		for _, f := range packages[dir] {
			if f.library() {
				faults = append(faults, f.writesTo(globals)...)
			}
		}
	}
	return faults
}

// globals collects the package variables of a file.
func (f *File) globals(names map[string]bool) (faults []Fault) {
	for _, decl := range f.AST.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.VAR {
			continue
		}
		for _, spec := range gen.Specs {
			v := spec.(*ast.ValueSpec)
			for i, name := range v.Names {
				if name.Name == "_" {
					continue
				}
				names[name.Name] = true
				if i >= len(v.Values) || !f.constant(v.Values[i]) {
					faults = append(faults, f.newFault(name.Pos(), "package variable %s is not plainly constant", name.Name))
				}
			}
		}
	}
	return faults
}

// constant tells whether an expression is a value that only writing to the
// variable itself could change.
func (f *File) constant(e ast.Expr) bool {
	all := func(list []ast.Expr) bool {
		return !slices.ContainsFunc(list, func(e ast.Expr) bool { return !f.constant(e) })
	}
	switch e := e.(type) {
	case *ast.BasicLit, *ast.Ident, *ast.FuncLit, *ast.SelectorExpr:
		return true
	case *ast.ParenExpr:
		return f.constant(e.X)
	case *ast.UnaryExpr:
		return e.Op != token.AND && e.Op != token.ARROW && f.constant(e.X)
	case *ast.BinaryExpr:
		return f.constant(e.X) && f.constant(e.Y)
	case *ast.KeyValueExpr:
		return f.constant(e.Key) && f.constant(e.Value)
	case *ast.CompositeLit:
		_, table := e.Type.(*ast.MapType)
		pkg, name, _ := f.selectedName(e.Type)
		if pkg == "sync" || pkg == "sync/atomic" {
			return name == "Pool" // of scratch space, which means nothing between uses
		}
		return !(table && len(e.Elts) == 0) && all(e.Elts)
	case *ast.CallExpr:
		return f.constantCall(e) && all(e.Args)
	}
	return false
}

// constantCall accepts conversions, some builtins and the functions listed.
func (f *File) constantCall(call *ast.CallExpr) bool {
	switch fun := call.Fun.(type) {
	case *ast.ArrayType, *ast.ParenExpr:
		return true
	case *ast.Ident: // a conversion or a builtin; a function of the package is no constant
		return slices.Contains([]string{"len", "min", "max", "string", "byte", "uint8", "uint16", "uint32", "uint64",
			"int", "int8", "int16", "int32", "int64", "float64", "uint"}, fun.Name)
	case *ast.SelectorExpr:
		if value, ok := fun.X.(*ast.SelectorExpr); ok { // a method that derives one constant from another
			pkg, _, _ := f.selectedName(value)
			return pkg == "encoding/base32" || pkg == "encoding/base64"
		}
		pkg, name, ok := f.selectedName(fun)
		return ok && isNamedIn(constants[pkg], name)
	}
	return false
}

// writesTo finds assignments to package variables, to parts of them, and
// addresses taken of them, by which they could change later.
func (f *File) writesTo(globals map[string]bool) (faults []Fault) {
	report := func(e ast.Expr, how string) {
		if id := baseIdent(e); id != nil && globals[id.Name] && f.isUnshadowed(id) {
			faults = append(faults, f.newFault(e.Pos(), "package variable %s is %s", id.Name, how))
		}
	}
	ast.Inspect(f.AST, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, left := range n.Lhs {
					report(left, "written to")
				}
			}
		case *ast.IncDecStmt:
			report(n.X, "written to")
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				report(n.X, "shared by its address")
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && (id.Name == "delete" || id.Name == "clear" || id.Name == "copy") {
				report(n.Args[0], "written to")
			}
		}
		return true
	})
	return faults
}

// baseIdent returns x of x, x[i], x.f and *x.
func baseIdent(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// isUnshadowed tells whether an identifier is not shadowed by a local variable, as
// far as the parser resolves names within a file.
func (f *File) isUnshadowed(id *ast.Ident) bool {
	if id.Obj == nil {
		return true
	}
	return f.AST.Scope.Lookup(id.Name) == id.Obj
}
