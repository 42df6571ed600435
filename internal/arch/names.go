package arch

import (
	"go/ast"
	"slices"
	"strings"
	"unicode"
)

// bareVerbs may not be the whole name of a function: they leave open what is run, noted
// or taken. Of public functions the package or the type says it.
var bareVerbs = strings.Fields(`
	accept add admit allow answer append apply ask await back become begin bind break bring build bury call carry
	check clean clear close collect commit compare complete connect copy count create cut decide decode deliver
	dial dismiss do done doubt drain drop emit end enter evict exchange fail fetch fill find finish flush follow
	forget free get give go greet guard halt hand handle have hear help hold join judge keep kill know lead learn
	leave let list listen load look lose make mark match meet mend merge mint miss move name need note offer open
	order pack park pass pause perform pick place plan prepare probe publish pull push put raise read reap recount
	release remove renew repair replace reply report reset resume retire retry run save say schedule seal see seek
	send serve set settle share show shut sign skip sleep spread stamp start stay step stop store sweep sync take
	tell tend test tick touch track trim try undo unpack update use vouch wait wake walk want warn watch work wrap
	write yield`)

// shortNames are functions of so few letters that are the field's own terms.
var shortNames = []string{"main", "init", "mix"}

// shortName is how long a name is at most that seldom says what a function does to what.
const shortName = 3

// Names finds functions whose whole name is a bare verb or a few letters. Functions of
// tests are left alone.
func Names(r *Repo) (faults []Fault) {
	for _, f := range r.Files {
		if f.Test {
			continue
		}
		for _, d := range f.AST.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || unicode.IsUpper(rune(fn.Name.Name[0])) || slices.Contains(shortNames, fn.Name.Name) {
				continue
			}
			name := fn.Name.Name
			if slices.Contains(bareVerbs, name) || len(name) <= shortName {
				faults = append(faults, f.newFault(fn.Name.Pos(), "%s is no name for a function: say what it does to what", name))
			}
		}
	}
	return faults
}
