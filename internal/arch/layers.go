package arch

import (
	"slices"
	"strings"
)

// line is one line of the layers: a package imports only from lines above its
// own. A package stands where its directory, or the nearest one above it that
// the table names, stands.
type line struct {
	name     string
	packages string
}

var lines = []line{
	{"words", "mesh/view"},
	{"words about nodes", "partition/token mesh/identity/charter"},
	{"words about items and services", "replica/version replica/slice failover/service failover/route"},
	{"bytes", "internal/wire"},
	{"cores", "internal/placement internal/roster internal/reconcile internal/purge internal/detect " +
		"internal/register internal/split internal/elect internal/mode internal/epidemic internal/scan internal/watch internal/takeover internal/retain " +
		"internal/ledger internal/trust"},
	{"cores made of cores", "internal/replicate"},
	{"helpers of effects", "internal/clock internal/lifecycle internal/notify internal/metrics"},
	{"effects", "internal/link internal/storage internal/host internal/exchange internal/process"},
	{"rooms", "internal/replica"},
	{"public", "mesh replica partition failover failover/dns failover/forward failover/vip backup"},
	{"wiring", "examples"},
	{"test only", "internal/memnet internal/jsonlog internal/golden internal/everycall internal/sim internal/chaos internal/arch internal/mutants internal/bench backup/tiertest"},
}

// thirdPartyOf lists who may import what from outside in the lines that are
// otherwise made of the standard library alone.
var thirdPartyOf = map[string]string{
	"internal/placement": "github.com/buraksezer/consistent github.com/cespare/xxhash/v2",
	"internal/ledger":    "golang.org/x/mod/sumdb/note golang.org/x/mod/sumdb/tlog",
	"failover/service":   "github.com/netresearch/go-cron",
}

// placeOf returns the number of the line of a directory and the table's entry
// for it; -1 when it stands nowhere.
func placeOf(dir string) (number int, entry string) {
	number = -1
	for i, l := range lines {
		for _, p := range strings.Fields(l.packages) {
			if (dir == p || strings.HasPrefix(dir, p+"/")) && len(p) > len(entry) {
				number, entry = i, p
			}
		}
	}
	return number, entry
}

func lineName(dir string) string {
	if n, _ := placeOf(dir); n >= 0 {
		return lines[n].name
	}
	return ""
}

// Layers finds packages that stand on no line, and imports that go down or
// sideways. Tests may also reach sideways and use the test-only line.
func Layers(r *Repo) (faults []Fault) {
	for _, f := range r.Files {
		at, entry := placeOf(f.Dir)
		if at < 0 {
			faults = append(faults, f.newFault(f.AST.Package, "package %s stands on no line of the layers", f.Dir))
			continue
		}
		for _, spec := range f.AST.Imports {
			p := importPath(spec)
			if spec.Name != nil && spec.Name.Name == "." {
				faults = append(faults, f.newFault(spec.Pos(), "dot import of %s", p))
			}
			dir, own := localDir(p)
			if !own {
				if thirdParty(p) && !f.Test && !mayImport(f.Dir, p) {
					faults = append(faults, f.newFault(spec.Pos(), "%s (%s) imports %s from outside", f.Dir, lines[at].name, p))
				}
				continue
			}
			to, target := placeOf(dir)
			if to < at || target == entry {
				continue
			}
			if lines[at].name == "test only" || f.Test && (to == at || lines[max(to, 0)].name == "test only") {
				continue
			}
			faults = append(faults, f.newFault(spec.Pos(), "%s (%s) imports %s (%s), which is not above it",
				f.Dir, lines[at].name, dir, lineName(dir)))
		}
	}
	return faults
}

// mayImport tells whether a package of the upper lines may import a package
// from outside; from the helpers of effects on anything goes. What an example
// imports would stand in the module graph of every user, so examples do without.
func mayImport(dir, p string) bool {
	switch lineName(dir) {
	case "words", "words about nodes", "words about items and services", "bytes", "cores", "cores made of cores", "wiring":
		_, entry := placeOf(dir)
		return slices.Contains(strings.Fields(thirdPartyOf[entry]), p)
	}
	return true
}

// rootEntries is all that may stand at the top, besides names with a dot in
// front.
const rootEntries = "mesh replica partition failover backup examples internal go.mod go.sum README.md LICENSE"

// RootEntries finds what does not belong at the top.
func RootEntries(r *Repo) (faults []Fault) {
	for _, name := range r.Root {
		if !strings.HasPrefix(name, ".") && !slices.Contains(strings.Fields(rootEntries), name) {
			faults = append(faults, Fault{Path: name, Text: "does not belong at the top level"})
		}
	}
	return faults
}
