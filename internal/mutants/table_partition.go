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
		File: "partition/notices.go", Old: "if !known || m.Status.Gone() || boot > m.Boot", New: "if m.Status.Gone() || known && boot > m.Boot",
		Packages: partitionTests, Tests: "TestFaulty",
	},
	{
		Name: "partition-believes-later-lives", Rule: "no notice is believed of a life that the roster does not know of",
		File: "partition/notices.go", Old: "boot > m.Boot || ", New: "",
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
		File: "partition/voters.go", Old: "		if next.Version == 0 && p.believes(v, n.Voters) {", New: "		if next.Version > 0 && p.believes(v, n.Voters) {",
		Packages: partitionTests, Tests: "TestVotersOfOthers",
	},
	{
		Name: "partition-keeps-all-notices", Rule: "a message of notices takes no more room than the roster has members",
		File: "partition/notices.go", Old: "if kept[node] || !n.takes(", New: "if !n.takes(",
		Packages: partitionTests, Tests: "TestNoticesTakeLittleRoom",
	},
	{
		Name: "partition-gives-a-notice-often", Rule: "a notice that is asked for often is given once",
		File: "partition/notices.go", Old: "ok && !given[id] {", New: "ok {",
		Packages: partitionTests, Tests: "TestNoticesTakeLittleRoom",
	},
	{
		Name: "partition-reads-all-at-once", Rule: "few messages of notices are read at a time",
		File: "partition/notices.go", Old: "	case p.swaps <- struct{}{}:\n		defer func() { <-p.swaps }()\n", New: "	case <-p.mesh.Done():\n	default:\n",
		Packages: partitionTests, Tests: "TestNoticesTakeLittleRoom",
	},
	{
		Name: "partition-believes-any-voters", Rule: "L4: no node makes itself or strangers the voters",
		File: "partition/voters.go", Old: "if !ok || !m.Storing ||", New: "if !ok && m.Storing ||",
		Packages: partitionTests, Tests: "TestVotersOfOthers",
	},
	{
		Name: "partition-fewer-voters", Rule: "L4: where voters are named, others than these are not believed",
		File: "partition/voters.go", Old: "return len(p.cfg.Voters) == 0 || len(voters.IDs) == len(p.cfg.Voters)", New: "return true",
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
		Name: "partition-asks-by-stream", Rule: "a leader is not lost because of packets that are",
		File: "partition/notices.go", Old: "return p.mesh.CallIdempotent(", New: "return p.mesh.(interface {\n\t\tCall(context.Context, view.NodeID, string, []byte) ([]byte, error)\n\t}).Call(",
		Packages: partitionTests, Tests: "TestLeaderStaysUnderLoss",
	},
	{
		Name: "partition-stands-for-too-many", Rule: "a node stands for no more elections than its notice holds",
		File: "partition/work.go", Old: "if p.standing == maxStanding {", New: "if p.standing < 0 {",
		Packages: partitionTests, Tests: "TestElectionsOfOthers",
	},
	{
		Name: "partition-old-rows-cut-off", Rule: "who was just met takes its row back before it is heeded",
		File: "internal/split/doubts.go", Old: "now-at > metGrace", New: "now-at >= 0",
		Packages: splitTests, Tests: "TestRowsFromBeforeTheMeeting",
	},
	{
		Name: "partition-lease-for-ever", Rule: "a leader that slept knows by its clock that its time is over",
		File: "partition/election.go", Old: "if e.now() >= e.until {", New: "if e.now() >= e.until+time.Hour {",
		Packages: partitionTests, Tests: "TestF2_10_SuspendedLeader_Mesh",
	},
	{
		Name: "partition-checks-no-other", Rule: "Check refuses another's token below the highest known",
		File: "partition/lead.go", Old: "\tif t.Less(high) {", New: "\tif t.Less(high) && high.IsZero() {",
		Packages: partitionTests, Tests: "TestCheckAndGuard|TestF2_10_SuspendedLeader_Mesh",
	},
	{
		Name: "partition-earlier-leadership", Rule: "Check refuses a token of an earlier leadership of this node",
		File: "partition/lead.go", Old: " || t.Term < e.firstTerm() {", New: " {",
		Packages: partitionTests, Tests: "TestCheckAndGuard",
	},
	{
		Name: "partition-guards-another", Rule: "Guard runs nothing under another node's token",
		File: "partition/lead.go", Old: "\tif t.Node != p.id {\n\t\treturn fmt", New: "\tif t.IsZero() {\n\t\treturn fmt",
		Packages: partitionTests, Tests: "TestCheckAndGuard",
	},
	{
		Name: "partition-guard-outlives", Rule: "what Guard runs ends with the lease",
		File: "partition/lead.go", Old: "context.WithTimeout(ctx, e.left())", New: "context.WithTimeout(ctx, e.left()+time.Hour)",
		Packages: partitionTests, Tests: "TestCheckAndGuard",
	},
	{
		Name: "partition-guard-is-sure", Rule: "Guard tells when the lease ended meanwhile",
		File: "partition/lead.go", Old: "late := p.Check(election, t); late != nil {", New: "late := p.Check(election, t); late != nil && err == nil {",
		Packages: partitionTests, Tests: "TestCheckAndGuard",
	},
	{
		Name: "partition-forgets-terms", Rule: "L5: terms outlive restarts",
		File: "partition/keep.go", Old: "return elect.Durable{Max: s.Max, Grant: s.Grant, Lease: s.Lease}, nil", New: "return elect.Durable{}, nil",
		Packages: partitionTests, Tests: "TestTermsOutliveRestarts|TestVotersAreKept",
	},
	{
		Name: "partition-keeps-no-state", Rule: "what is granted is on disk first",
		File: "partition/keep.go", Old: "\treturn e.slots.Write(data)", New: "\t_ = e.slots.Write(data)\n\treturn nil",
		Packages: partitionTests, Tests: "TestFullDisk|TestDisksTakeNothing",
	},
	{
		Name: "partition-keeps-no-voters", Rule: "L4: voters outlive restarts",
		File: "partition/voters.go", Old: "err := file.Write(p.cfg.fs, p.votersPath(), wire.AppendVoters(nil, next))", New: "err := p.cfg.fs.RemoveAll(p.votersPath() + string(wire.AppendVoters(nil, next)[:0]))",
		Packages: partitionTests, Tests: "TestVotersAreKept",
	},
	{
		Name: "partition-majority-of-those-here", Rule: "L4: voters of majority scope are those named, not those in reach",
		File: "partition/voters.go", Old: "if scope == ScopeMajority {", New: "if scope > ScopeMajority {",
		Packages: partitionTests, Tests: "TestMajorityLeads|TestFewNodes",
	},
	{
		Name: "partition-gives-back-at-work", Rule: "grants are given back on Close when work has ended",
		File: "partition/work.go", Old: "\t\t\t<-w.over\n", New: "",
		Packages: partitionTests, Tests: "TestCloseEndsWork",
	},
	{
		Name: "partition-rows-of-earlier-lives", Rule: "whom a node did not reach before it was restarted counts no more",
		File: "partition/rows.go", Old: "if n.Boot >= m.Boot && (", New: "if n.Boot+m.Boot > 0 && (",
		Packages: partitionTests, Tests: "TestEarlierLivesHaveNoSay",
	},
	{
		Name: "partition-reports-age", Rule: "that the cloud is lost is repeated while it lasts",
		File: "partition/modes.go", Old: "code != ableToProbe && now-", New: "code == noProbes && now-",
		Packages: partitionTests, Tests: "TestCloudIsLost",
	},
	{
		Name: "partition-levels-alone", Rule: "a mode rests what those below it rest",
		File: "partition/modes.go", Old: "for m := Local; m <= p.modes.Get(); m++ {", New: "for m := p.modes.Get(); m <= p.modes.Get(); m++ {",
		Packages: partitionTests, Tests: "TestModesOfACut",
	},
	{
		Name: "partition-asks-the-lost-cloud", Rule: "who may do what is asked here while the cloud is lost",
		File: "partition/partition.go", Old: "if p.modes.Get() != Normal {", New: "if p.modes.Get() > Alone {",
		Packages: partitionTests, Tests: "TestCloudIsLost",
	},
	{
		Name: "partition-meets-by-itself-only", Rule: "who is reached again by others was met again",
		File: "partition/watch.go", Old: "!slices.Contains(now, id) && !m.Status.Gone() {", New: "!slices.Contains(now, id) && m.State == view.Alive && !m.Status.Gone() {",
		Packages: partitionTests, Tests: "TestModesOfACut",
	},
	{
		Name: "partition-looks-all-the-time", Rule: "a node with nothing to say rests",
		File: "partition/watch.go", Old: "w.cloud.Next(), w.doubts.Next())", New: "w.cloud.Next(), 0)",
		Packages: partitionTests, Tests: "TestQuietNodeRests",
	},
	{
		Name: "partition-leader-denies-itself", Rule: "a node whose lease holds says that it leads, whatever others claim",
		File: "partition/tell.go", Old: "			return l\n", New: "",
		Packages: partitionTests, Tests: "TestReturnOfOne",
	},
	{
		Name: "partition-believes-the-loudest", Rule: "of several that claim to lead a node names the one that it follows",
		File: "internal/elect/field.go", Old: "if t.Node == granted {", New: "if t.Node == granted && t.Term == 0 {",
		Packages: partitionTests, Tests: "TestNames",
	},
	{
		Name: "partition-follows-the-past", Rule: "a grant that has run out says nobody leads by it",
		File: "partition/election.go", Old: "if e.now() >= e.lapses {", New: "if e.now() < 0 {",
		Packages: partitionTests, Tests: "TestNames",
	},
	{
		Name: "partition-keeps-the-first-token", Rule: "a Fence is shown the token with which a node leads now",
		File: "internal/elect/election.go", Old: "	return e.lead.token, until, max(now, e.now) < until", New: "	return token.Token{Term: 1, Node: e.self}, until, max(now, e.now) < until",
		Packages: partitionTests, Tests: "TestReturnOfOne",
	},
}

const partitionTests = "./partition"
