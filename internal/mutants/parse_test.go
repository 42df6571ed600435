package main

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// format is the inverse of parse.
func format(mutants []Mutant) string {
	var b strings.Builder
	b.WriteString(firstLine)
	for _, m := range mutants {
		dir, file := path.Split(m.File)
		b.WriteString("\nname: " + m.Name + "\nrule: " + m.Rule + "\nfile: " + file + "\ntests: " + m.Tests + "\n")
		if m.Packages != "./"+path.Clean(dir) {
			b.WriteString("packages: " + m.Packages + "\n")
		}
		b.WriteString(marked("-", m.Old) + marked("+", m.New))
	}
	return b.String()
}

func marked(mark, text string) string {
	if text == "" {
		return ""
	}
	return mark + strings.ReplaceAll(text, "\n", "\n"+mark) + "\n"
}

const one = `
name: ack-before-sync
rule: nothing unsynced is shown (protocol 0.5)
file: commit.go
tests: TestGate|TestCrash
packages: ./internal/storage ./replica
-	if err := s.sync(); err != nil { 
-- x
-
+	_ = s.sync
+
`

func TestParse(t *testing.T) {
	want := Mutant{
		Name: "ack-before-sync", Rule: "nothing unsynced is shown (protocol 0.5)",
		File: "internal/storage/commit.go", Packages: "./internal/storage ./replica", Tests: "TestGate|TestCrash",
		Old: "\tif err := s.sync(); err != nil { \n- x\n", New: "\t_ = s.sync\n",
		at: "internal/storage/testdata/mutants.txt:3",
	}
	got, err := parseMutants("internal/storage/testdata/mutants.txt", firstLine+one)
	if err != nil || !slices.Equal(got, []Mutant{want}) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	without := strings.Replace(one, "packages: ./internal/storage ./replica\n", "", 1)
	got, err = parseMutants("replica/testdata/mutants.txt", firstLine+without)
	if err != nil || got[0].Packages != "./replica" || got[0].File != "replica/commit.go" {
		t.Errorf("got %+v, %v; want the package of the file", got, err)
	}
}

// TestParseEveryText finds the texts unchanged that could be mistaken.
func TestParseEveryText(t *testing.T) {
	texts := []string{
		"\n", "\n\n", "a\n", "\na", "a\n\nb", " a ", "\ta\t", "-", "+", "- a\n+ b", "name: x", "\nname: x\n", `a\n"b"` + "`", "a\r\n", "\x00\xff", "|", "#",
	}
	for _, old := range texts {
		for _, replacement := range append(texts, "") {
			m := Mutant{Name: "a", Rule: "b", File: "c/d.go", Tests: "T", Packages: "./c", Old: old, New: replacement}
			got, err := parseMutants("c/testdata/mutants.txt", format([]Mutant{m}))
			if old == replacement {
				if err == nil {
					t.Errorf("%q: a mutant that changes nothing was taken", old)
				}
				continue
			}
			m.at = "c/testdata/mutants.txt:3"
			if err != nil || !slices.Equal(got, []Mutant{m}) {
				t.Errorf("%q, %q: got %+v, %v", old, replacement, got, err)
			}
		}
	}
}

func TestParseFaults(t *testing.T) {
	edit := func(old, replacement string) string { return firstLine + strings.Replace(one, old, replacement, 1) }
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", ":1: want the line"},
		{"without the first line", one, ":1: want the line"},
		{"no empty line first", firstLine + one[1:], ":2: want an empty line before the first mutant"},
		{"two empty lines", firstLine + one + "\n" + one, ":13: an empty line after which no mutant"},
		{"empty line last", firstLine + one + "\n", ":13: an empty line after which no mutant"},
		{"cut off", strings.TrimSuffix(firstLine+one, "\n"), ":12: the last line has no end"},
		{"unknown field", edit("file:", "flie:"), `:5: unknown field "flie"`},
		{"a text without its mark", edit("-\tif", "\tif"), `:8: unknown field "\tif err := s.sync(); err != nil { "`},
		{"missing field", edit("tests: TestGate|TestCrash\n", ""), ":3: the field tests is missing"},
		{"field twice", edit("file:", "rule: again\nfile:"), ":5: the field rule is here twice or too late"},
		{"field too early", edit("name:", "file: a.go\nname:"), ":4: the field name is here twice or too late"},
		{"field after the texts", firstLine + one + "tests: T\n", ":13: want a line of the texts"},
		{"empty field", edit("file: commit.go", "file: "), `:5: the field file is ""`},
		{"spaces around", edit("commit.go", "commit.go "), `:5: the field file is "commit.go "`},
		{"not in the directory", edit("commit.go", "file/commit.go"), ":3: the file file/commit.go is not one of internal/storage"},
		{"package of the file", edit(" ./replica", ""), ":3: leave out the packages ./internal/storage"},
		{"name with spaces", edit("ack-before", "ack before"), ":3: the name"},
		{"name twice", firstLine + one + one, ":14: the mutant at internal/storage/testdata/mutants.txt:3 has the name ack-before-sync too"},
		{"texts mixed", firstLine + one + "-more\n", ":13: a line of the old text after the new one"},
		{"no old text", firstLine + one[:strings.Index(one, "-\tif")] + "+a\n", ":3: an old text is missing"},
		{"empty line for an empty text", firstLine + one[:strings.Index(one, "+")] + "+\n", ":3: an empty new text has no line"},
		{"changes nothing", firstLine + one[:strings.Index(one, "-\tif")] + "-a\n+a\n", ":3: the new text is the old one"},
	} {
		_, err := parseMutants("internal/storage/testdata/mutants.txt", c.text)
		if err == nil || !strings.Contains(err.Error(), "internal/storage/testdata/mutants.txt"+c.want) {
			t.Errorf("%s: %v; want %s", c.name, err, c.want)
		}
	}
}

// TestFilesRoundTrip reads and writes every file of mutants of the module.
func TestFilesRoundTrip(t *testing.T) {
	root, mutants := loaded(t)
	texts := map[string]bool{}
	for _, m := range mutants {
		name, _, _ := strings.Cut(m.at, ":")
		texts[name] = true
	}
	for name := range texts {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		read, err := parseMutants(name, string(text))
		if err != nil || format(read) != string(text) {
			t.Errorf("%s reads and is written as something else: %v", name, err)
		}
	}
}

func TestLoad(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module x\n")
	if _, err := loadMutants(root); err == nil {
		t.Error("a module without mutants was taken")
	}
	named := func(name string) string { return strings.Replace(one, "ack-before-sync", name, 1) }
	write("b/testdata/mutants.txt", firstLine+named("d")+named("c"))
	write("a/b/testdata/mutants.txt", firstLine+named("e"))
	write("a/testdata/mutants.txt", firstLine+named("f"))
	write("a/testdata/other.txt", "")
	write("nested/go.mod", "module y\n")
	write("nested/testdata/mutants.txt", "of another module")
	write(".hidden/testdata/mutants.txt", "hidden")
	mutants, err := loadMutants(root)
	var got []string
	for _, m := range mutants {
		got = append(got, path.Dir(m.File)+" "+m.Name)
	}
	if want := []string{"a f", "a/b e", "b c", "b d"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	write("a/testdata/mutants.txt", firstLine+named("c"))
	if _, err := loadMutants(root); err == nil || !strings.Contains(err.Error(), "b/testdata/mutants.txt:14: the mutant at a/testdata/mutants.txt:3 has the name c too") {
		t.Errorf("a name used in two files: %v", err)
	}
	write("b/testdata/mutants.txt", "")
	if _, err := loadMutants(root); err == nil || !strings.Contains(err.Error(), "b/testdata/mutants.txt:1: ") {
		t.Errorf("a file that is not one of mutants: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(firstLine)
	f.Add(firstLine + one)
	f.Add(firstLine + one + strings.Replace(one, "ack", "no", 1))
	f.Add(firstLine + "\nname: a\nrule: b\nfile: c\ntests: d\n-\n-\n")
	f.Fuzz(func(t *testing.T, text string) {
		mutants, err := parseMutants("c/testdata/mutants.txt", text)
		if err == nil && format(mutants) != text {
			t.Errorf("%q is written as %q", text, format(mutants))
		}
	})
}
