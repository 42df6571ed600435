package main

const placementTests = "./internal/placement"

var placement = []Mutant{
	{
		Name: "placement-by-order-of-arrival", Rule: "placement depends on the set of nodes only (F1.14)",
		File: "internal/placement/placement.go", Old: "return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Name, b.Name),",
		New:      "return cmp.Or(cmp.Compare(a.Weight, b.Weight), cmp.Compare(a.Name[:min(1, len(a.Name))], b.Name[:min(1, len(b.Name))]),",
		Packages: placementTests, Tests: "TestF1_14|TestLeadIsAHome",
	},
	{
		Name: "placement-kept-ring-remembers", Rule: "kept rings give what new ones do (F1.14)",
		File: "internal/placement/ring.go", Old: "r.ring.Remove(string(m))", New: "_ = m",
		Packages: placementTests, Tests: "TestF1_14|FuzzNewAndHomes",
	},
	{
		Name: "placement-kept-ring-misses-a-join", Rule: "kept rings give what new ones do (F1.14)",
		File: "internal/placement/ring.go", Old: "r.ring.Add(m)", New: "if len(come) > 1 {\n\t\t\t\tr.ring.Add(m)\n\t\t\t}",
		Packages: placementTests, Tests: "TestF1_14|FuzzNewAndHomes",
	},
	{
		Name: "placement-two-copies-in-a-zone", Rule: "copies lie in different zones while there are enough (protocol B.4)",
		File: "internal/placement/walk.go", Old: "for i := 0; i < len(w.zones) && len(out) < count; i++ {", New: "for i := 0; i < min(2, len(w.zones)) && len(out) < count; i++ {",
		Packages: placementTests, Tests: "TestCopiesSpread",
	},
	{
		Name: "placement-home-twice", Rule: "further rings skip nodes already taken (protocol B.4)",
		File: "internal/placement/walk.go", Old: "z.ring++\n\t\tif !w.taken[n] {", New: "z.ring++\n\t\tif true {",
		Packages: placementTests, Tests: "TestCopiesSpread",
	},
	{
		Name: "placement-weight-ignored", Rule: "a node of weight w is w members of its ring (protocol B.4)",
		File: "internal/placement/ring.go", Old: "for j := range m.nodes[n].weight {", New: "for j := range 1 {",
		Packages: placementTests, Tests: "TestGoldenMap|TestF1_14",
	},
	{
		Name: "placement-zones-ranked-afresh", Rule: "a join changes at most one home of a shard while zones suffice (F1.14)",
		File: "internal/placement/walk.go", Old: "time: d.race(z.hash, z.octave)}", New: "time: d.race(z.hash^uint64(len(w.m.nodes)), z.octave)}",
		Packages: placementTests, Tests: "TestF1_14",
	},
	{
		Name: "placement-no-load-cap", Rule: "rings bound the load of each member",
		File: "internal/placement/ring.go", Old: "ringPoints = 100", New: "ringPoints = 1",
		Packages: placementTests, Tests: "TestF1_14|TestWeight",
	},
	{
		Name: "placement-shared-points-panic", Rule: "names that collide on a ring, on purpose or not, do not crash anyone",
		File: "internal/placement/ring.go", Old: "case r.shared > 0:", New: "case r.shared > 1000:",
		Packages: placementTests, Tests: "TestSharedPoints",
	},
	{
		Name: "placement-preference-ignored", Rule: "preferred zones come first (protocol B.4)",
		File: "internal/placement/walk.go", Old: "preferred: w.prefer[z.name],", New: "",
		Packages: placementTests, Tests: "TestPreferred",
	},
	{
		Name: "placement-twins-share", Rule: "nodes of one name keep places of their own",
		File: "internal/placement/placement.go", Old: "for taken[n.key] {", New: "for false {",
		Packages: placementTests, Tests: "TestOddRosters",
	},
	{
		Name: "placement-lead-anyone", Rule: "the lead is the home of the highest rendezvous hash (protocol B.4)",
		File: "internal/placement/placement.go", Old: "lead == 0 || s > best || s == best && id < lead", New: "lead == 0 || s == best",
		Packages: placementTests, Tests: "TestLeadIsAHome|TestGoldenMap",
	},
}
