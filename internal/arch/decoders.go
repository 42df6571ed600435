package arch

import (
	"go/ast"
	"regexp"
)

// bytesFromOutside are the packages that read bytes of peers, strangers and
// disks.
var bytesFromOutside = []string{"internal/wire", "internal/link", "internal/ledger"}

var decoderName = regexp.MustCompile(`^(?i:decode|parse)([A-Z0-9_]|$)`)

// Decoders finds decode functions that no fuzz target of their package
// reaches. A target reaches a decoder when it names it, or names a helper of
// the tests that does, or when a decoder it reaches does; a DecodeMsgpack
// method is named by its type.
func Decoders(r *Repo) (faults []Fault) {
	for _, dir := range bytesFromOutside {
		p := newUses(r, dir)
		for _, target := range p.targets {
			p.markReached(target)
		}
		for _, d := range p.decoders {
			if !p.reached[d.name] {
				faults = append(faults, d.file.newFault(d.fn.Pos(), "no fuzz target reaches %s", d.name))
			}
		}
	}
	return faults
}

type decoder struct {
	name string // of the function, or of the type of a DecodeMsgpack method
	file *File
	fn   *ast.FuncDecl
}

// uses tells which names each test function, decoder and type of a package
// uses.
type uses struct {
	identsOf map[string][]*ast.Ident
	targets  []string
	decoders []decoder
	reached  map[string]bool
}

func newUses(r *Repo, dir string) *uses {
	u := &uses{identsOf: map[string][]*ast.Ident{}, reached: map[string]bool{}}
	for _, f := range r.Files {
		if f.Dir != dir {
			continue
		}
		for _, decl := range f.AST.Decls {
			u.addDecl(f, decl)
		}
	}
	return u
}

func (u *uses) addDecl(f *File, decl ast.Decl) {
	fn, ok := decl.(*ast.FuncDecl)
	if !ok {
		for _, spec := range decl.(*ast.GenDecl).Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				u.noteIdents(s.Name.Name, s)
			case *ast.ValueSpec:
				if f.Test {
					u.noteIdents(s.Names[0].Name, s)
				}
			}
		}
		return
	}
	name := fn.Name.Name
	switch {
	case f.Test:
		u.noteIdents(name, fn)
		if fn.Recv == nil && len(name) > 4 && name[:4] == "Fuzz" {
			u.targets = append(u.targets, name)
		}
		return
	case fn.Recv != nil && name == "DecodeMsgpack":
		if id := baseIdent(fn.Recv.List[0].Type); id != nil {
			name = id.Name
		}
	case !decoderName.MatchString(name):
		return
	}
	u.noteIdents(name, fn)
	u.decoders = append(u.decoders, decoder{name, f, fn})
}

func (u *uses) noteIdents(name string, n ast.Node) {
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && id.Name != name {
			u.identsOf[name] = append(u.identsOf[name], id)
		}
		return true
	})
}

func (u *uses) markReached(name string) {
	if u.reached[name] {
		return
	}
	u.reached[name] = true
	for _, id := range u.identsOf[name] {
		u.markReached(id.Name)
	}
}
