package arch

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const picturePath = "internal/layers.svg"

var (
	pictureGroup   = regexp.MustCompile(`(?s)<g id="([^"]*)">(.*?)</g>`)
	picturePackage = regexp.MustCompile(`<text class="package"[^>]*>([^<]*)</text>`)
	numberedRow    = regexp.MustCompile(`(?m)^\| F([12])\.(\d+) \|[^|]*\|([^|]*)\|$`)
	namedFile      = regexp.MustCompile("`([a-z/]+/[a-z_]+\\.go)`")
	namedTest      = regexp.MustCompile("`(TestF[12]_\\w+)`")
)

// Map compares the map of the repository with the repository.
func Map(r *Repo) []Fault {
	return slices.Concat(picture(r), testsByNumber(r), namedFiles(r))
}

// namedFiles finds files that the map names and that are not there.
func namedFiles(r *Repo) (faults []Fault) {
	for _, m := range namedFile.FindAllStringSubmatch(r.Docs[mapPath], -1) {
		if !slices.ContainsFunc(r.Files, func(f *File) bool { return f.Path == m[1] }) {
			faults = append(faults, Fault{Path: mapPath, Text: "names " + m[1] + ", which is not there"})
		}
	}
	return faults
}

// picture finds where the picture of the layers differs from the table. Packages
// of the table that are not built yet are not drawn.
func picture(r *Repo) (faults []Fault) {
	fault := func(format string, args ...any) {
		faults = append(faults, Fault{Path: picturePath, Text: fmt.Sprintf(format, args...)})
	}
	built := map[string]bool{}
	for _, f := range r.Files {
		_, entry := placeOf(f.Dir)
		built[entry] = true
	}
	for _, dir := range r.Nested {
		_, entry := placeOf(dir)
		built[entry] = true
	}
	var names []string
	for _, group := range pictureGroup.FindAllStringSubmatch(r.Docs[picturePath], -1) {
		names = append(names, group[1])
		var drawn []string
		for _, m := range picturePackage.FindAllStringSubmatch(group[2], -1) {
			drawn = append(drawn, m[1])
			if !built[m[1]] || lineName(m[1]) != group[1] {
				fault("%s is drawn on the line %q and is not there", m[1], group[1])
			}
		}
		for _, l := range lines {
			for _, p := range strings.Fields(l.packages) {
				if l.name == group[1] && built[p] && !slices.Contains(drawn, p) {
					fault("%s is not drawn on the line %q", p, l.name)
				}
			}
		}
	}
	var want []string
	for _, l := range lines {
		want = append(want, l.name)
	}
	if !slices.Equal(names, want) {
		fault("the lines are %q, those of the table %q", names, want)
	}
	return faults
}

// testsByNumber finds rows of properties and scenarios that do not name exactly
// the tests that there are. A number without a test says so.
func testsByNumber(r *Repo) (faults []Fault) {
	tests := map[string][]string{}
	for _, f := range r.Files {
		for _, fn := range f.functions() {
			if m := numbered.FindStringSubmatch(fn.Name.Name); f.Test && m != nil {
				n, _ := strconv.Atoi(m[2])
				number := fmt.Sprintf("F%s.%d", m[1], n)
				tests[number] = append(tests[number], fn.Name.Name)
			}
		}
	}
	fault := func(format string, args ...any) {
		faults = append(faults, Fault{Path: mapPath, Text: fmt.Sprintf(format, args...)})
	}
	for _, row := range numberedRow.FindAllStringSubmatch(r.Docs[mapPath], -1) {
		number := "F" + row[1] + "." + row[2]
		there := tests[number]
		delete(tests, number)
		var named []string
		for _, m := range namedTest.FindAllStringSubmatch(row[3], -1) {
			named = append(named, m[1])
			if !slices.Contains(there, m[1]) {
				fault("%s names %s, which is no test of that number", number, m[1])
			}
		}
		for _, test := range there {
			if !slices.Contains(named, test) {
				fault("%s does not name %s", number, test)
			}
		}
		if len(named) == 0 && !strings.Contains(row[3], "no test: ") {
			fault("%s names no test, and does not say why", number)
		}
	}
	for number := range tests {
		fault("%s has tests and no row", number)
	}
	return faults
}
