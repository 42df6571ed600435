package main

const (
	fileRelic  = "internal/roster/relic.go"
	fileRoster = "internal/roster/roster.go"
)

var relics = []Mutant{
	{
		Name: "relics-count-as-members", Rule: "those that are gone take no room from those that are not",
		File: fileRoster, Old: "if !r.entries[i].Status.Gone() {", New: "if i >= 0 {",
		Packages: rosterTests, Tests: "TestGoneTakeNoRoom",
	},
	{
		Name: "relics-open-to-a-hello", Rule: "a node that is reduced to a relic is not taken in again",
		File: fileRoster, Old: "if r.Reduced(e.ID) {", New: "if r.Reduced(e.ID) && e.Boot == 0 {",
		Packages: rosterTests, Tests: "TestReducedStayReduced",
	},
	{
		Name: "relics-open-to-hearsay", Rule: "no entry of a node that has a relic is merged, from one that was away for instance",
		File: fileRoster, Old: "if _, ok := reduced(e.ID); ok {\n\t\t\t\tcontinue", New: "if _, ok := reduced(e.ID); ok && !e.Storing {\n\t\t\t\tcontinue",
		Packages: rosterTests, Tests: "TestReducedStayReduced|TestMergeLaws",
	},
	{
		Name: "relics-beside-entries", Rule: "a relic that is heard of takes the place of the entry",
		File: fileRoster, Old: "if _, ok := reduced(a[0].ID); !ok {", New: "if _, ok := reduced(a[0].ID); !ok || a[0].Storing {",
		Packages: rosterTests, Tests: "TestReducedStayReduced|TestMergeLaws",
	},
	{
		Name: "relics-without-bound", Rule: "a roster remembers so many and no more",
		File: fileRelic, Old: "if room == 0 {", New: "if room == -1 {",
		Packages: rosterTests, Tests: "TestRelicsHaveABound",
	},
	{
		Name: "relics-of-those-that-run", Rule: "who runs is asked before it is gone by the word of another",
		File: "internal/roster/hear.go", Old: "t.ID != from && !known.Status.Gone() && alive(t.ID)", New: "t.ID != from && !known.Status.Gone() && !known.Storing",
		Packages: rosterTests, Tests: "TestHear",
	},
	{
		Name: "relics-change-the-storing-digest", Rule: "nodes make relics each in its time: the digest of the storing members stays (protocol A.7)",
		File: "internal/roster/member.go", Old: "\t\taddUntil(e.ID)\n", New: "",
		Packages: rosterTests, Tests: "TestReduceKeepsTheLast|TestF1_17",
	},
	{
		Name: "relics-before-the-place-is-taken", Rule: "a successor has its entry until its predecessor is gone, too",
		File: fileRelic, Old: "cmp.Compare(flag(r.ousts(b)), flag(r.ousts(a))), ", New: "",
		Packages: rosterTests, Tests: "TestReduceKeepsTheLast",
	},
	{
		Name: "relics-unknown-to-older-releases", Rule: "a node of a release without relics that has one for a member that is gone is told",
		File: "mesh/sync.go", Old: "range mine.Rebut(said) {", New: "range mine.Rebut(roster.Roster{}) {",
		Packages: meshTests, Tests: "TestRelicsAndOlderReleases",
	},
	{
		Name: "relics-are-not-compared", Rule: "relics come to all, to one that was away, too",
		File: "mesh/sync.go", Old: "if relics {", New: "if relics && peer == 0 {",
		Packages: meshTests, Tests: "TestGoneNodesDoNotFill",
	},
	{
		Name: "relics-of-members-looked-for", Rule: "nobody looks for a member that is a relic",
		File: "mesh/watch.go", Old: "if !gone && s.Reduced(id) {", New: "if gone && s.Reduced(id) {",
		Packages: meshTests, Tests: "TestRelicsAreHeard",
	},
	{
		Name: "relics-leave-their-notices", Rule: "what one has said that is in no view any more is forgotten, and nothing of one not seen yet",
		File: "partition/watch.go", Old: "return was && !is", New: "return (was || !is) && !is",
		Packages: "./partition", Tests: "TestNoticesOfThoseWhoAreReduced",
	},
	{
		Name: "mesh-full-in-silence", Rule: "a mesh that is full says so, and what to do",
		File: "mesh/watch.go", Old: `text := crowded(w.roster.Roster); text != ""`, New: `text := crowded(w.roster.Roster); text == "?"`,
		Packages: meshTests, Tests: "TestFullMeshSaysSo",
	},
	{
		Name: "mesh-kept-out-in-silence", Rule: "a node that is not let in for want of room says so",
		File: "mesh/refused.go", Old: "\t\t\tn.refusedForRoom()\n", New: "",
		Packages: meshTests, Tests: "TestFullMeshSaysSo",
	},
	{
		Name: "mesh-kept-out-for-seeds", Rule: "who is kept out for want of room does not blame its seeds",
		File: "mesh/seeds.go", Old: " || n.troubles.has(troubleFull)", New: "",
		Packages: meshTests, Tests: "TestFullMeshSaysSo",
	},
	{
		Name: "roster-successor-refused-for-room", Rule: "a new disk under an old name needs no room in a full mesh",
		File: "internal/roster/member.go", Old: "case !known && !r.ousts(e):", New: "case !known:",
		Packages: rosterTests, Tests: "TestSuccessorNeedsNoRoom",
	},
	{
		Name: "mesh-rosters-of-thousands-at-once", Rule: "a large roster is written seldom",
		File: "mesh/roster.go", Old: "max(100*time.Millisecond, time.Duration(entries)*50*time.Microsecond)", New: "100 * time.Millisecond",
		Packages: meshTests, Tests: "TestLargeRosters",
	},
	{
		Name: "relics-made-up-without-end", Rule: "of those said to be gone that were not known an eighth is taken in: a faulty member makes no mesh full for good",
		File: "internal/roster/ration.go", Old: "if g.unseen >= maxUnseen {", New: "if g.unseen >= 99*maxUnseen {",
		Packages: rosterTests, Tests: "TestHearsayOfTheGone",
	},
	{
		Name: "relics-believed-by-a-founder", Rule: "a node is new for a while after it has met another, not until it is told something",
		File: "mesh/watch.go", Old: "\t\tw.n.book.met()\n", New: "",
		Packages: meshTests, Tests: "TestMadeUpRelics",
	},
	{
		Name: "relics-kept-from-a-new-node", Rule: "a new node learns at once of all that are gone",
		File: "internal/roster/ration.go", Old: "now-g.first < believeFor; g.isNew {", New: "now-g.first < 0; g.isNew {",
		Packages: rosterTests, Tests: "TestNewNodeBelieves",
	},
}
