package arch

import (
	"go/ast"
	"slices"
	"strings"
)

// impure lists what words, bytes and cores may not import: they decide, and
// somebody else acts. A trailing slash covers what lies below.
var impure = []string{
	"net", "net/", "os", "os/", "sync", "sync/", "io/ioutil", "log", "log/", "syscall", "runtime", "runtime/",
	"context", "crypto/rand", "testing", "testing/", "unsafe", "plugin", "database/sql",
}

// pureAfterAll are exceptions of impure: values only.
var pureAfterAll = []string{"net/netip"}

// pureLines are the lines that must replay from a seed.
var pureLines = []string{"words", "words about nodes", "words about items and services", "bytes", "cores", "cores made of cores"}

// clockFuncs are the functions of package time that read or wait for a clock.
var clockFuncs = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "NewTimer", "NewTicker", "Tick"}

// seeded are the names of math/rand that do not touch the global source.
var seeded = []string{"New", "NewPCG", "NewChaCha8", "NewSource", "NewZipf", "Rand", "Source", "PCG", "ChaCha8", "Zipf", "Source64"}

// Purity finds clocks, chance, I/O, locks and goroutines in the lines that
// must replay from a seed.
func Purity(r *Repo) (faults []Fault) {
	for _, f := range r.Files {
		if f.Test || !slices.Contains(pureLines, lineName(f.Dir)) {
			continue
		}
		for _, spec := range f.AST.Imports {
			if p := importPath(spec); listed(impure, p) && !slices.Contains(pureAfterAll, p) && !f.poolsOnly(p) {
				faults = append(faults, f.newFault(spec.Pos(), "%s must be pure and imports %s", f.Dir, p))
			}
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				faults = append(faults, f.newFault(g.Pos(), "%s must be pure and starts a goroutine", f.Dir))
			}
			pkg, name, ok := f.selectedName(n)
			clock := pkg == "time" && slices.Contains(clockFuncs, name)
			chance := (pkg == "math/rand" || pkg == "math/rand/v2") && !slices.Contains(seeded, name)
			if ok && (clock || chance) {
				faults = append(faults, f.newFault(n.Pos(), "%s must be pure and uses %s.%s", f.Dir, pkg, name))
			}
			return true
		})
	}
	return faults
}

// poolsOnly tells whether p is package sync and a file of the bytes line uses
// nothing of it but Pool: a pool of scratch space changes no result.
func (f *File) poolsOnly(p string) bool {
	only := p == "sync" && lineName(f.Dir) == "bytes"
	ast.Inspect(f.AST, func(n ast.Node) bool {
		if pkg, name, ok := f.selectedName(n); ok && pkg == "sync" && name != "Pool" {
			only = false
		}
		return true
	})
	return only
}

func listed(list []string, p string) bool {
	for _, entry := range list {
		if p == entry || strings.HasSuffix(entry, "/") && strings.HasPrefix(p, entry) {
			return true
		}
	}
	return false
}
