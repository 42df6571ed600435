package main

const rosterTests = "./internal/roster"

var roster = []Mutant{
	{
		Name: "roster-status-of-the-later-writer", Rule: "status merges by maximum and never goes back (protocol B.1, F1.17)",
		File: "internal/roster/merge.go", Old: "m.Status = max(a.Status, b.Status)", New: "",
		Packages: rosterTests, Tests: "TestF1_17|TestMergeLaws",
	},
	{
		Name: "roster-left-returns", Rule: "left and evicted are final (F1.17)",
		File: "internal/roster/merge.go", Old: "m.Status = max(a.Status, b.Status)",
		New:      "m.Status = max(a.Status, b.Status)\n\tif b.Boot > a.Boot {\n\t\tm.Status = b.Status\n\t}",
		Packages: rosterTests, Tests: "TestF1_17",
	},
	{
		Name: "roster-boot-goes-back", Rule: "the boot counter merges by maximum: clones and rolled back disks are seen (protocol A.5)",
		File: "internal/roster/merge.go", Old: "m.Boot, m.Instance = b.Boot, b.Instance", New: "m.Boot, m.Instance = min(a.Boot, b.Boot), b.Instance",
		Packages: rosterTests, Tests: "TestF1_17|TestMergeLaws",
	},
	{
		Name: "roster-equal-dates-keep-mine", Rule: "attributes of equal date have one winner everywhere (protocol B.1)",
		File: "internal/roster/merge.go", Old: "cmp.Compare(a.Zone, b.Zone),", New: "",
		Packages: rosterTests, Tests: "TestMergeLaws",
	},
	{
		Name: "roster-half-is-a-majority", Rule: "nothing is decided without strictly more than half of the storing nodes (protocol B.3, F1.18)",
		File: "internal/roster/member.go", Old: "return 2*met > all", New: "return 2*met >= all",
		Packages: rosterTests, Tests: "TestF1_18",
	},
	{
		Name: "roster-majority-of-those-not-evicted", Rule: "those that left do not count towards a majority (protocol 0.6)",
		File: "internal/roster/member.go", Old: "if e.Storing && !e.Status.Gone() {\n\t\t\tall++", New: "if e.Storing && e.Status < view.Evicted {\n\t\t\tall++",
		Packages: rosterTests, Tests: "TestF1_18",
	},
	{
		Name: "roster-live-node-evicted-by-a-namesake", Rule: "a running node is not evicted by one that claims to replace it (protocol B.1)",
		File: "internal/roster/member.go", Old: " || old.Name != e.Name || alive(old.ID)", New: " || old.Name != e.Name",
		Packages: rosterTests, Tests: "TestSuccessor",
	},
	{
		Name: "roster-successor-of-a-live-node", Rule: "where both live, the second is refused (protocol B.1)",
		File: "internal/roster/name.go", Old: "case alive(id):", New: "case alive(id) && e.Predecessor != id:",
		Packages: rosterTests, Tests: "TestAdmit",
	},
	{
		Name: "roster-one-namesake-at-a-time", Rule: "a node takes the place of all of its name that are down, however many disks were lost",
		File: "internal/roster/name.go", Old: "if down(o) {", New: "if down(o) && len(evicted) == 0 {",
		Packages: rosterTests, Tests: "TestOust",
	},
	{
		Name: "roster-both-namesakes-yield", Rule: "of two that run under one name exactly one goes on",
		File: "internal/roster/name.go", Old: "return a < b", New: "return a != b",
		Packages: rosterTests, Tests: "TestOneOfTwoPrevails",
	},
	{
		Name: "roster-sensors-evict", Rule: "members that store nothing do not say of one that runs that it is gone",
		File: "internal/roster/hear.go", Old: "id != about && e.Storing &&", New: "id != about &&",
		Packages: rosterTests, Tests: "TestBelieve",
	},
	{
		Name: "roster-any-jump-of-boots", Rule: "a boot out of all reason is not believed of anybody",
		File: "internal/roster/hear.go", Old: "e.Boot-known.Boot > maxJump", New: "e.Boot-known.Boot > 1<<63",
		Packages: rosterTests, Tests: "TestHear",
	},
	{
		Name: "roster-old-boot-admitted", Rule: "a disk that was rolled back is refused (protocol A.5)",
		File: "internal/roster/member.go", Old: "case known && e.Boot < old.Boot:", New: "case false:",
		Packages: rosterTests, Tests: "TestAdmit",
	},
	{
		Name: "roster-full-forgets", Rule: "a full roster takes in no more, and pushes nobody out",
		File: fileRoster, Old: "if room <= 0 || !e.Status.Gone() && living <= 0 {", New: "if room <= 0 {",
		Packages: rosterTests, Tests: "TestLimit",
	},
	{
		Name: "roster-trusts-bytes", Rule: "entries from peers and disks are validated",
		File: "internal/roster/codec.go", Old: "err := out[i].Validate(); err != nil", New: "err := out[i].Validate(); false",
		Packages: rosterTests, Tests: "TestDecodeRefuses",
	},
	{
		Name: "roster-forged-date-wins", Rule: "what a node writes about itself is dated above all claims about it",
		File: "internal/roster/roster.go", Old: "min(max(now, old.HLC)+1, MaxHLC)", New: "now",
		Packages: rosterTests, Tests: "TestWriteWins",
	},
	{
		Name: "roster-purge-without-the-leaving", Rule: "leaving nodes must ack purges (protocol A.7)",
		File: "internal/roster/member.go", Old: "return e.Storing && !e.Status.Gone()", New: "return e.Storing && e.Status < view.Leaving",
		Packages: rosterTests, Tests: "TestStoringAndPlaced",
	},
	{
		Name: "roster-partners-by-place", Rule: "a join moves the partners of a few nodes only",
		File: "internal/roster/partners.go", Old: "k := bits.Len64(uint64(m.ID - v.Self))", New: "k := bits.Len64(uint64(i + 1))",
		Packages: rosterTests, Tests: "TestOneJoin",
	},
	{
		Name: "roster-partners-few-ways-in", Rule: "news comes to a node on several ways",
		File: "internal/roster/partners.go", Old: "nearPartners = 3", New: "nearPartners = 1",
		Packages: rosterTests, Tests: "TestPartnersConnectAll",
	},
	{
		Name: "roster-partners-dead", Rule: "the dead are no partners",
		File: "internal/roster/partners.go", Old: " || m.State != view.Alive", New: "",
		Packages: rosterTests, Tests: "TestPartnersLive",
	},
	{
		Name: "mesh-views-of-thousands-at-once", Rule: "a large roster makes fewer views",
		File: "mesh/watch.go", Old: "max(10*time.Millisecond, time.Duration(members)*20*time.Microsecond)", New: "10 * time.Millisecond",
		Packages: "./mesh", Tests: "TestViewsOfMany",
	},
}
