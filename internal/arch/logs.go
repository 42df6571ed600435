package arch

import (
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// logMethods write a line of a log. Attributes follow the text, of which Log has two
// words more in front.
var logMethods = map[string]int{"Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "Log": 3}

// Logs finds, in what is logged, keys that readers of logs would look for in vain: an
// error is under "error" everywhere, and "node" is whose line it is, which the logger
// of the node, the store or the partition adds by itself. A reason is in words.
func Logs(r *Repo) (faults []Fault) {
	for _, f := range r.Files {
		if f.Test {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !isLogCall(call) {
				return true
			}
			var seen []string
			for i := logMethods[call.Fun.(*ast.SelectorExpr).Sel.Name]; i < len(call.Args); i += 2 {
				key := literal(call.Args[i])
				switch {
				case key == "":
				case key == "err":
					faults = append(faults, f.newFault(call.Args[i].Pos(), `an error is logged under "err"; say "error"`))
				case key == "node":
					faults = append(faults, f.newFault(call.Args[i].Pos(), `"node" is whose line it is; say "peer" or "member"`))
				case slices.Contains(seen, key):
					faults = append(faults, f.newFault(call.Args[i].Pos(), "%q is logged twice", key))
				case i+1 < len(call.Args) && (key == "why" || key == "reason" || key == "cause") && isNumber(call.Args[i+1]):
					faults = append(faults, f.newFault(call.Args[i].Pos(), "%q is a bare number", key))
				}
				seen = append(seen, key)
			}
			return true
		})
	}
	return faults
}

// isLogCall tells whether a call is one of a logger's methods: x.log.Warn, Logger.Info,
// slog.Error.
func isLogCall(call *ast.CallExpr) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || logMethods[sel.Sel.Name] == 0 || len(call.Args) < logMethods[sel.Sel.Name] {
		return false
	}
	var name string
	switch x := sel.X.(type) {
	case *ast.Ident:
		name = x.Name
	case *ast.SelectorExpr:
		name = x.Sel.Name
	}
	return strings.HasSuffix(strings.ToLower(name), "log") || strings.HasSuffix(name, "ogger")
}

func literal(n ast.Expr) string {
	if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		text, _ := strconv.Unquote(lit.Value)
		return text
	}
	return ""
}

// isNumber tells whether an expression is written as a number, or as one made of
// something.
func isNumber(n ast.Expr) bool {
	switch n := n.(type) {
	case *ast.BasicLit:
		return n.Kind == token.INT || n.Kind == token.FLOAT
	case *ast.CallExpr:
		name, ok := n.Fun.(*ast.Ident)
		return ok && len(n.Args) == 1 && slices.Contains(strings.Fields("int int8 int16 int32 int64 uint uint8 uint16 uint32 uint64 len"), name.Name)
	}
	return false
}
