package main

var partitions = []Mutant{
	{
		Name: "partition-leads-after-its-farewell", Rule: "who gives its grants back on Close leads no more by its own word before (L2)",
		File: "partition/work.go", Old: "e.lead, e.until, e.holder = token.Token{}, 0, token.Token{}", New: "e.holder = token.Token{}",
		Packages: partitionTests, Tests: "TestClosedLeaderKnows",
	},
	{
		Name: "partition-leaves-its-notice", Rule: "a Partition that is closed takes back what its notice says",
		File: "partition/partition.go", Old: "		p.depart()\n", New: "",
		Packages: partitionTests, Tests: "TestClosedPartition",
	},
	{
		Name: "partition-believes-strangers", Rule: "no notice is kept of who is not in the roster",
		File: "partition/notices.go", Old: "if !known || m.Status.Gone() || got.Boot > m.Boot", New: "if m.Status.Gone() || known && got.Boot > m.Boot",
		Packages: partitionTests, Tests: "TestFaulty",
	},
	{
		Name: "partition-believes-later-lives", Rule: "no notice is believed of a life that the roster does not know of",
		File: "partition/notices.go", Old: "got.Boot > m.Boot || ", New: "",
		Packages: partitionTests, Tests: "TestFaulty",
	},
	{
		Name: "partition-is-spoken-for", Rule: "a node has the last word on itself",
		File: "partition/notices.go", Old: "			got = n.mine\n", New: "",
		Packages: partitionTests, Tests: "TestOwnNotice",
	},
	{
		Name: "partition-earlier-life", Rule: "what a node said before it was restarted counts no more",
		File: "partition/watch.go", Old: " || n.Boot < m.Boot {", New: " {",
		Packages: partitionTests, Tests: "TestClaimOfAnEarlierLife",
	},
	{
		Name: "partition-own-voters-first", Rule: "L4: voters that others have fixed come before those named here",
		File: "partition/voters.go", Old: "		if next.Version == 0 {\n			next = n.Voters", New: "		if next.Version > 0 {\n			next = n.Voters",
		Packages: partitionTests, Tests: "TestVotersOfOthers",
	},
	{
		Name: "partition-ambiguous-voters", Rule: "L4: a name that two members bear names no voter",
		File: "partition/voters.go", Old: " || slices.ContainsFunc(v.Members[i+1:], bears) {", New: " {",
		Packages: partitionTests, Tests: "TestVotersOfOthers",
	},
	{
		Name: "partition-others-fill-it", Rule: "elections that others ask for leave room for this node's own",
		File: "partition/election.go", Old: "fromWire(a.Election), maxAsked)", New: "fromWire(a.Election), maxAsked+maxStanding)",
		Packages: partitionTests, Tests: "TestElectionsOfOthers",
	},
	{
		Name: "partition-stands-for-too-many", Rule: "a node stands for no more elections than its notice holds",
		File: "partition/work.go", Old: "if e.p.standing() > maxStanding {", New: "if e.p.standing() < 0 {",
		Packages: partitionTests, Tests: "TestElectionsOfOthers",
	},
	{
		Name: "partition-old-rows-cut-off", Rule: "who was just met takes its row back before it is heeded",
		File: "partition/rows.go", Old: "w.p.since()-at > metGrace", New: "w.p.since()-at >= 0",
		Packages: "./partition", Tests: "TestRowsFromBeforeTheMeeting",
	},
}

const partitionTests = "./partition"
