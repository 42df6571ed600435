package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// mapPath is the document whose numbers comments cite.
const mapPath = "internal/README.md"

// mutantsFile is the name of the files in testdata that say which rules are taken
// out of a package to see its tests fail. They cite the map, too.
const mutantsFile = "mutants.txt"

var (
	// A number of the map is that of a heading, or it begins a list's item or a
	// table's row.
	headingNumber = regexp.MustCompile(`(?m)^#+ ([0A-Z](?:\.\d+)*) `)
	itemNumber    = regexp.MustCompile(`(?m)^- \*\*([0A-Z]\.\d+(?:\.\d+)*|L\d)\*\* `)
	rowNumber     = regexp.MustCompile(`(?m)^\| (F[12]\.\d+) \|`)

	// citesSections matches "protocol A.5.4", "protocol D" and lists of them.
	citesSections = regexp.MustCompile(`\bprotocol ((?:0|[A-Z])(?:\.\d+)*)\b((?:(?:, | and )(?:[0A-Z]\.\d+(?:\.\d+)*|F[12]\.\d+)\b)*)`)
	citesNumber   = regexp.MustCompile(`\b(?:F[12]\.\d+|L\d)\b`)
	sectionInMap  = regexp.MustCompile(`\b[A-EGH]\.\d+(?:\.\d+)*`)
	anyNumber     = regexp.MustCompile(`[0A-Z][0-9]?(?:\.\d+)*`)

	// What is left beside these cites nothing that can be found.
	citesNowhere = regexp.MustCompile(`\(0\.\d\)|[( ][A-H]\.\d(?:[,;)]|\.? |$)|\bF\.[12]\b|\([A-H]\)|\bsection [A-H]\b|\bfaults \d+\b`)
)

// References finds, in comments, strings and files of mutants, numbers of sections, properties,
// scenarios and laws that the map does not have, and references to other
// documents that the repository does not hold.
func References(r *Repo) (faults []Fault) {
	known := mapNumbers(r.Docs[mapPath])
	for _, number := range sectionInMap.FindAllString(r.Docs[mapPath], -1) {
		if !known[number] {
			faults = append(faults, Fault{Path: mapPath, Text: "cites " + number + ", which it does not have"})
		}
	}
	for _, f := range r.Files {
		f.visitTexts(func(at token.Pos, text string) {
			for _, wrong := range wrongReferences(text, known) {
				faults = append(faults, f.newFault(at, "%s", wrong))
			}
		})
	}
	for _, name := range slices.Sorted(maps.Keys(r.Docs)) {
		if path.Base(name) != mutantsFile {
			continue
		}
		for i, line := range strings.Split(r.Docs[name], "\n") {
			for _, wrong := range wrongReferences(line, known) {
				faults = append(faults, Fault{name, i + 1, wrong})
			}
		}
	}
	return faults
}

// wrongReferences tells what is wrong with those of a text.
func wrongReferences(text string, known map[string]bool) (wrong []string) {
	sections, numbers := citedNumbers(text)
	for _, number := range numbers {
		if !known[number] {
			wrong = append(wrong, fmt.Sprintf("cites %s, which %s does not have", number, mapPath))
		}
	}
	if sections {
		text = citesSections.ReplaceAllString(text, "")
	}
	if m := citesNowhere.FindString(text); m != "" {
		wrong = append(wrong, fmt.Sprintf(`%q is no reference to %s: write "protocol A.5.4", "F1.22" or "L4"`, strings.TrimSpace(m), mapPath))
	}
	return wrong
}

// mapNumbers returns all numbers that may be cited.
func mapNumbers(text string) map[string]bool {
	known := map[string]bool{}
	for _, pattern := range []*regexp.Regexp{headingNumber, itemNumber, rowNumber} {
		for _, m := range pattern.FindAllStringSubmatch(text, -1) {
			known[m[1]] = true
		}
	}
	return known
}

// citedNumbers returns the numbers that a text cites, each as often as it does, and whether
// sections are among them.
func citedNumbers(text string) (sections bool, numbers []string) {
	if strings.Contains(text, "protocol ") {
		for _, m := range citesSections.FindAllStringSubmatch(text, -1) {
			sections, numbers = true, append(numbers, m[1])
			for _, n := range anyNumber.FindAllString(m[2], -1) {
				if n[0] != 'F' { // see below
					numbers = append(numbers, n)
				}
			}
		}
	}
	return sections, append(numbers, citesNumber.FindAllString(text, -1)...)
}

// visitTexts visits the comments of a file, each group as one line, and its strings.
func (f *File) visitTexts(visit func(at token.Pos, text string)) {
	for _, group := range f.AST.Comments {
		visit(group.Pos(), strings.Join(strings.Fields(group.Text()), " "))
	}
	ast.Inspect(f.AST, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				visit(lit.Pos(), text)
			}
		}
		return true
	})
}
