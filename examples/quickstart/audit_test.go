package main

import (
	"fmt"
	"testing"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// A tiny world: one key, homes 1 to 3, actor a writes dots 1, 2, 3.
var actor = version.Actor{Store: 1, Session: 1, Seq: 1}

func dot(n uint64) version.Dot { return version.Dot{A: actor, N: n} }

func itemWith(seen uint64, live ...version.Sibling) version.Item {
	return version.Item{Ctx: version.Context{{A: actor, N: seen}}, HLC: 1, Sibs: live}
}

func put(n uint64) version.Sibling {
	return version.Sibling{Dot: dot(n), HLC: 1, Value: fmt.Appendf(nil, `{"write":%d}`, n)}
}

func tomb(n uint64) version.Sibling {
	return version.Sibling{Dot: dot(n), HLC: 1, Flags: version.Tomb}
}

func stores(items ...version.Item) []holdings {
	var ds []holdings
	for i, it := range items {
		ds = append(ds, holdings{Node: view.NodeID(i + 1), Items: map[string]version.Item{"k": it}})
	}
	return ds
}

func TestAudit(t *testing.T) {
	wrote := entry{Key: "k", Write: 1, Dot: dot(1)}
	replaced := entry{Key: "k", Write: 2, Dot: dot(2), Covered: []version.Dot{dot(1)}}
	deleted := entry{Key: "k", Write: 2, Dot: dot(2), Delete: true, Covered: []version.Dot{dot(1)}}
	open := entry{Key: "k", Write: 2, Unknown: true}
	one := itemWith(1, put(1))
	two := itemWith(2, put(2))
	gone := itemWith(2, tomb(2))

	for _, c := range []struct {
		name                        string
		journal                     []entry
		disks                       []holdings
		lost, resurrected, diverged int
	}{
		{"kept", []entry{wrote}, stores(one, one, one), 0, 0, 0},
		{"replaced", []entry{wrote, replaced}, stores(two, two, two), 0, 0, 0},
		{"deleted", []entry{wrote, deleted}, stores(gone, gone, gone), 0, 0, 0},
		{"lost everywhere", []entry{wrote}, stores(version.Item{}, version.Item{}, version.Item{}), 1, 0, 0},
		{"gone, replaced by nobody", []entry{wrote}, stores(gone, gone, gone), 1, 0, 0},
		{"gone, an unanswered write explains it", []entry{wrote, open}, stores(two, two, two), 0, 0, 0},
		{"missing on one home", []entry{wrote}, stores(one, one, version.Item{}), 0, 0, 1},
		{"one home is stale", []entry{wrote, replaced}, stores(two, two, one), 0, 0, 1},
		{"a deleted value is live again", []entry{wrote, deleted}, stores(one, one, one), 1, 1, 0},
		{"a value nobody wrote", []entry{wrote, deleted}, stores(itemWith(3, put(3)), itemWith(3, put(3)), itemWith(3, put(3))), 1, 1, 0},
		{"a home's disk is absent", []entry{wrote}, stores(one, one), 0, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := auditStores(c.journal, c.disks, func(string) []view.NodeID { return []view.NodeID{1, 2, 3} })
			if v.Lost != c.lost || v.Resurrected != c.resurrected || v.Diverged != c.diverged {
				t.Errorf("lost %d, resurrected %d, diverged %d; want %d, %d, %d\n%v",
					v.Lost, v.Resurrected, v.Diverged, c.lost, c.resurrected, c.diverged, v.Faults)
			}
			if v.isClean() != (c.lost+c.resurrected+c.diverged == 0) {
				t.Errorf("ok is %v", v.isClean())
			}
		})
	}
}
