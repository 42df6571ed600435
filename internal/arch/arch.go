// Package arch holds the rules of the house and the means to check them on
// source text. Its tests fail when the repository breaks a rule.
package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// module is the path of the module whose rules these are.
const module = "github.com/skeinmesh/skein"

// Repo is the source of the module. Of nested modules it knows the directories.
type Repo struct {
	Root   []string          // names of the entries at the top
	Files  []*File           // every .go file, sorted by path
	Docs   map[string]string // the map, its picture and the files of mutants, by path
	Nested []string          // directories of nested modules
	fset   *token.FileSet
}

// File is one parsed Go file.
type File struct {
	Path string // slash-separated, relative to the top
	Dir  string // directory of Path
	Test bool   // its name ends in _test.go
	Text string
	AST  *ast.File

	repo    *Repo
	imports map[string]string // by the name under which the file knows it
}

// Fault is a broken rule.
type Fault struct {
	Path string
	Line int // 0 when the fault has no line
	Text string
}

func (f Fault) String() string {
	if f.Line == 0 {
		return f.Path + ": " + f.Text
	}
	return fmt.Sprintf("%s:%d: %s", f.Path, f.Line, f.Text)
}

// Load parses the module around the working directory.
func Load() (*Repo, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for !exists(filepath.Join(dir, "go.mod")) {
		parent := filepath.Dir(dir)
		if parent == dir {
			return nil, fmt.Errorf("arch: no go.mod above the working directory")
		}
		dir = parent
	}
	sources := map[string]string{}
	read := func(name string) error {
		rel, _ := filepath.Rel(dir, name)
		text, err := os.ReadFile(name)
		sources[filepath.ToSlash(rel)] = string(text)
		return err
	}
	var nested []string
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		if d.IsDir() {
			if strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir
			}
			if d.Name() == "testdata" { // the rest in it is no source of the module
				if mutants := filepath.Join(name, mutantsFile); exists(mutants) {
					if err := read(mutants); err != nil {
						return err
					}
				}
				return filepath.SkipDir
			}
			if exists(filepath.Join(name, "go.mod")) {
				rel, _ := filepath.Rel(dir, name)
				nested = append(nested, filepath.ToSlash(rel))
				return filepath.SkipDir
			}
			return nil
		}
		rel, _ := filepath.Rel(dir, name)
		rel = filepath.ToSlash(rel)
		if !strings.HasSuffix(rel, ".go") && rel != mapPath && rel != picturePath {
			return nil
		}
		return read(name)
	})
	if err != nil {
		return nil, err
	}
	repo, err := Parse(sources)
	if err != nil {
		return nil, err
	}
	repo.Nested = nested
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		repo.Root = append(repo.Root, e.Name())
	}
	return repo, err
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// Parse makes a Repo of source texts by path.
func Parse(sources map[string]string) (*Repo, error) {
	r := &Repo{Docs: map[string]string{}, fset: token.NewFileSet()}
	for name, text := range sources {
		if !strings.HasSuffix(name, ".go") {
			r.Docs[name] = text
			continue
		}
		tree, err := parser.ParseFile(r.fset, name, text, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		f := &File{
			Path: name, Dir: path.Dir(name), Test: strings.HasSuffix(name, "_test.go"),
			Text: text, AST: tree, repo: r, imports: map[string]string{},
		}
		for _, spec := range tree.Imports {
			p := importPath(spec)
			known := importName(p)
			if spec.Name != nil {
				known = spec.Name.Name
			}
			f.imports[known] = p
		}
		r.Files = append(r.Files, f)
	}
	slices.SortFunc(r.Files, func(a, b *File) int { return strings.Compare(a.Path, b.Path) })
	return r, nil
}

func importPath(spec *ast.ImportSpec) string {
	p, _ := strconv.Unquote(spec.Path.Value)
	return p
}

// importName guesses the name of a package from its path, as gofmt'd code
// would let a reader guess it.
func importName(p string) string {
	base := path.Base(p)
	if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
		base = path.Base(path.Dir(p))
	}
	base, _, _ = strings.Cut(base, ".")
	return strings.TrimPrefix(base, "go-")
}

// localDir returns the directory of an imported package of this module.
func localDir(importPath string) (dir string, ok bool) {
	return strings.CutPrefix(importPath, module+"/")
}

// thirdParty tells whether a package belongs to neither the standard library
// nor this module.
func thirdParty(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	_, own := localDir(importPath)
	return strings.Contains(first, ".") && !own && importPath != module
}

func (f *File) newFault(at token.Pos, format string, args ...any) Fault {
	return Fault{f.Path, f.repo.fset.Position(at).Line, fmt.Sprintf(format, args...)}
}

// selectedName returns the package path and the name of X.Name where X is an
// imported package.
func (f *File) selectedName(n ast.Node) (pkg, name string, ok bool) {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok {
		return "", "", false
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok {
		return "", "", false
	}
	pkg, ok = f.imports[x.Name]
	return pkg, sel.Sel.Name, ok
}

// packages returns the product files (tests left out) by directory, in order.
func (r *Repo) packages() (dirs []string, files map[string][]*File) {
	files = map[string][]*File{}
	for _, f := range r.Files {
		if f.Test {
			continue
		}
		if files[f.Dir] == nil {
			dirs = append(dirs, f.Dir)
		}
		files[f.Dir] = append(files[f.Dir], f)
	}
	return dirs, files
}
