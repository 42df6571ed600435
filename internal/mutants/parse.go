package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Mutant is one edit that takes a safety rule out of the code.
type Mutant struct {
	Name     string // unique; says what goes wrong, in a few words with dashes
	Rule     string // the rule that is taken out, and where it is written
	File     string // to edit, relative to the top of the module
	Old, New string // text that must be in File exactly once, and what replaces it
	Packages string // packages whose tests defend the rule, separated by spaces: ./internal/wire
	Tests    string // regular expression of the tests to run, as for go test -run

	at string // file and line where it is written
}

const (
	// mutantsFile is where the mutants of a package are, in its testdata.
	mutantsFile = "mutants.txt"
	// firstLine begins every file of mutants.
	firstLine = "# Rules taken out of this package, which its tests must notice: go doc ./internal/mutants\n"
)

// loadMutants returns the mutants of all packages of the module at root, sorted by
// directory and name.
func loadMutants(root string) ([]Mutant, error) {
	module := os.DirFS(root)
	var mutants []Mutant
	var faults []error
	err := fs.WalkDir(module, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !d.IsDir() || name == ".":
			return nil
		case strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.Name() != "testdata":
			if _, err := fs.Stat(module, path.Join(name, "go.mod")); err == nil {
				return fs.SkipDir
			}
			return nil
		}
		name = path.Join(name, mutantsFile)
		text, err := fs.ReadFile(module, name)
		if errors.Is(err, fs.ErrNotExist) {
			return fs.SkipDir
		}
		if err != nil {
			return err
		}
		more, err := parseMutants(name, string(text))
		mutants, faults = append(mutants, more...), append(faults, err)
		return fs.SkipDir
	})
	if err := errors.Join(append(faults, err)...); err != nil {
		return nil, err
	}
	if len(mutants) == 0 {
		return nil, fmt.Errorf("mutants: %s has no testdata/%s in it", root, mutantsFile)
	}
	slices.SortFunc(mutants, func(a, b Mutant) int {
		if c := strings.Compare(path.Dir(a.File), path.Dir(b.File)); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return mutants, duplicates(mutants)
}

// duplicates names the mutants that have the name of one before them.
func duplicates(mutants []Mutant) error {
	var faults []error
	first := map[string]string{}
	for _, m := range mutants {
		if at, ok := first[m.Name]; ok {
			faults = append(faults, fmt.Errorf("%s: the mutant at %s has the name %s too", m.at, at, m.Name))
			continue
		}
		first[m.Name] = m.at
	}
	return errors.Join(faults...)
}

// parseMutants reads a file of mutants. The name is slash-separated and relative to
// the top of the module. The error has a line for each fault.
func parseMutants(name, text string) ([]Mutant, error) {
	p := &parser{name: name, dir: path.Dir(path.Dir(name))}
	if !strings.HasPrefix(text, firstLine) {
		p.addFault(1, "want the line %q", strings.TrimSuffix(firstLine, "\n"))
		return nil, errors.Join(p.faults...)
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if !strings.HasSuffix(text, "\n") {
		p.addFault(len(lines), "the last line has no end")
	}
	var mutants []Mutant
	for i := 1; i < len(lines); {
		if lines[i] != "" { // only after the first line of the file
			p.addFault(i+1, "want an empty line before the first mutant")
			i--
		}
		begin := i + 1
		for i = begin; i < len(lines) && lines[i] != ""; i++ {
		}
		if i == begin {
			p.addFault(i, "an empty line after which no mutant comes")
			continue
		}
		mutants = append(mutants, p.mutant(begin+1, lines[begin:i]))
	}
	p.faults = append(p.faults, duplicates(mutants))
	return mutants, errors.Join(p.faults...)
}

// parser collects the faults of one file.
type parser struct {
	name, dir string
	faults    []error
}

func (p *parser) addFault(line int, format string, args ...any) {
	p.faults = append(p.faults, fmt.Errorf("%s:%d: %s", p.name, line, fmt.Sprintf(format, args...)))
}

// mutant reads the lines of one mutant. None of them is empty, and the first
// has the given number.
func (p *parser) mutant(first int, lines []string) Mutant {
	m := Mutant{at: fmt.Sprintf("%s:%d", p.name, first)}
	end := slices.IndexFunc(lines, isText)
	if end < 0 {
		end = len(lines)
	}
	p.fields(&m, first, lines[:end])
	var texts [2][]string // old and new
	for i, line := range lines[end:] {
		number := first + end + i
		switch {
		case !isText(line):
			p.addFault(number, "want a line of the texts, which begins with - or +")
		case line[0] == '+':
			texts[1] = append(texts[1], line[1:])
		case texts[1] != nil:
			p.addFault(number, "a line of the old text after the new one")
		default:
			texts[0] = append(texts[0], line[1:])
		}
	}
	m.Old, m.New = strings.Join(texts[0], "\n"), strings.Join(texts[1], "\n")
	switch {
	case m.Old == "":
		p.addFault(first, "an old text is missing")
	case m.New == "" && texts[1] != nil:
		p.addFault(first, "an empty new text has no line, not one that is empty")
	case m.Old == m.New:
		p.addFault(first, "the new text is the old one")
	}
	return m
}

func isText(line string) bool { return line[0] == '-' || line[0] == '+' }

// words are those of the fields, in the order in which these stand.
var words = []string{"name", "rule", "file", "tests", "packages"}

// fields reads the fields of a mutant, the first of which is in the line with
// the given number.
func (p *parser) fields(m *Mutant, first int, lines []string) {
	values, next := make([]string, len(words)), 0
	for i, line := range lines {
		word, value, _ := strings.Cut(line, ": ")
		at := slices.Index(words, word)
		switch {
		case at < 0:
			p.addFault(first+i, "unknown field %q", word)
			continue
		case at < next:
			p.addFault(first+i, "the field %s is here twice or too late; the order is %s", word, strings.Join(words, ", "))
			continue
		case value == "" || value != strings.TrimSpace(value):
			p.addFault(first+i, "the field %s is %q: want something, without space around it", word, value)
		}
		values[at], next = value, at+1
	}
	for i, word := range words {
		if values[i] == "" && word != "packages" {
			p.addFault(first, "the field %s is missing", word)
		}
	}
	m.Name, m.Rule, m.Tests, m.Packages = values[0], values[1], values[3], values[4]
	m.File = p.dir + "/" + values[2]
	if m.Name != "" && !dashed.MatchString(m.Name) {
		p.addFault(first, "the name %q is not words with dashes", m.Name)
	}
	if strings.Contains(values[2], "/") {
		p.addFault(first, "the file %s is not one of %s", values[2], p.dir)
	}
	if m.Packages == "./"+p.dir {
		p.addFault(first, "leave out the packages %s: the file is in it", m.Packages)
	}
	if m.Packages == "" {
		m.Packages = "./" + p.dir
	}
}

var dashed = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
