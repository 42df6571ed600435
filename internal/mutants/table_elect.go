package main

var elections = []Mutant{
	{
		Name: "elect-grants-twice", Rule: "L1: no grant while another holds one (protocol E.2)",
		File: "internal/elect/voter.go", Old: "held && id != from {\n\t\treturn Busy", New: "held && id == 0 {\n\t\treturn Busy",
		Packages: electTests, Tests: "TestF1_24",
	},
	{
		Name: "elect-grants-after-restart", Rule: "a voter that may have forgotten when its grant ends is silent for a lease",
		File: "internal/elect/voter.go", Old: "v.silent = now + d.Lease", New: "v.silent = now",
		Packages: electTests, Tests: "TestF1_24|TestVoter",
	},
	{
		Name: "elect-answers-before-saving", Rule: "a grant is on disk before it is answered",
		File: "internal/elect/voter.go", Old: "save := !again || a.Lease > v.d.Lease", New: "save := false",
		Packages: electTests, Tests: "TestF1_24|TestVoter",
	},
	{
		Name: "elect-old-terms", Rule: "L5: a voter grants growing terms only",
		File: "internal/elect/voter.go", Old: "if a.Term <= v.d.Max {", New: "if a.Term+1 <= v.d.Max {",
		Packages: electTests, Tests: "TestF1_24|TestVoter",
	},
	{
		Name: "elect-half-is-enough", Rule: "L3: more than half of the electorate",
		File: "internal/elect/electorate.go", Old: "len(e.Voters)/2 + 1", New: "(len(e.Voters) + 1) / 2",
		Packages: electTests, Tests: "TestF1_24",
	},
	{
		Name: "elect-counts-from-the-answer", Rule: "a leader's lease counts from when it asked, not from the answer",
		File: "internal/elect/election.go", Old: "ends: max(g.ends, sent+e.par.own(a.Lease))", New: "ends: max(g.ends, e.now+e.par.own(a.Lease)+0*sent)",
		Packages: electTests, Tests: "TestF1_24",
	},
	{
		Name: "elect-clocks-run-alike", Rule: "drift and guard are taken off a leader's lease",
		File: "internal/elect/params.go", Old: "return lease - lease*time.Duration(p.Drift)/1000 - p.Guard", New: "return lease",
		Packages: electTests, Tests: "TestF1_24|TestLeaseEnds",
	},
	{
		Name: "elect-term-not-written-down", Rule: "L5: a candidate writes its term down before it leads with it",
		File: "internal/elect/bid.go", Old: "if e.voter.d.Max = max(e.voter.d.Max, a.Term); e.voter.d != before && !e.voter.saving {", New: "if e.voter.d != before && !e.voter.saving {",
		Packages: electTests, Tests: "TestF1_24|TestCandidate",
	},
	{
		Name: "elect-gives-back-while-it-leads", Rule: "a bid of a leader that is lost frees no grant: its lease stands on it",
		File: "internal/elect/bid.go", Old: "	e.bid = nil\n	if e.lead == nil {\n		e.giveBack(0)", New: "	e.bid = nil\n	if true {\n		e.giveBack(0)",
		Packages: electTests, Tests: "TestLeaderLosesABid",
	},
	{
		Name: "elect-frees-before-work-ends", Rule: "grants are given back when the work has ended, not before",
		File: "internal/elect/reign.go", Old: "e.draining, e.nominee, e.bid = true, nominee, nil", New: "e.draining, e.nominee, e.bid = true, nominee, nil\n	e.giveBack(nominee)",
		Packages: electTests, Tests: "TestF1_24|TestHandOver",
	},
	{
		Name: "elect-released-is-renewed", Rule: "a grant that was given back is not renewed by a late request",
		File: "internal/elect/voter.go", Old: "if v.released {\n			return OldTerm", New: "if v.released && now < 0 {\n			return OldTerm",
		Packages: electTests, Tests: "TestVoter",
	},
	{
		Name: "elect-split-vote-forgets", Rule: "a lost bid does not revive the lease of a leader that is gone",
		File: "internal/elect/voter.go", Old: "\tif v.lapsed == from {\n\t\tv.lapsed = 0\n\t}\n\tv.nominee", New: "\tv.lapsed = 0\n\tv.nominee",
		Packages: electTests, Tests: "TestSplitVote",
	},
	{
		Name: "elect-claims-for-ever", Rule: "the claim of a node that is not in contact is believed for a lease",
		File: "internal/elect/bid.go", Old: "other.Node == e.mute && e.now-e.muteAt >= e.par.Lease", New: "false",
		Packages: electTests, Tests: "TestClaimOfTheSilent",
	},
	{
		Name: "elect-silent-lease-is-cut", Rule: "a claim is believed for as long as its lease may last",
		File: "internal/elect/bid.go", Old: "other.Node == e.mute && e.now-e.muteAt >= e.par.Lease", New: "other.Node == e.mute",
		Packages: electTests, Tests: "TestClaimOfTheSilent",
	},
	{
		Name: "elect-waits-for-the-silent", Rule: "a bid that is lost without those that do not answer is given up",
		File: "internal/elect/election.go", Old: "e.grants[from].term < a.Term {", New: "false {",
		Packages: electTests, Tests: "TestNobodyWaits",
	},
	{
		Name: "elect-grant-is-forgotten", Rule: "a voter that has granted has not refused",
		File: "internal/elect/election.go", Old: "e.grants[from].term < a.Term {", New: "true {",
		Packages: electTests, Tests: "TestNobodyWaits",
	},
	{
		Name: "elect-others-electorate", Rule: "a voter grants only if it computes the same electorate",
		File: "internal/elect/voter.go", Old: "if a.Electorate != f.Electorate.Sum {", New: "if a.Electorate == 1 {",
		Packages: electTests, Tests: "TestVoter",
	},
	{
		Name: "elect-other-component", Rule: "a voter grants only within its component",
		File: "internal/elect/voter.go", Old: "if !f.Component[from] && from != v.self {", New: "if !f.Component[from] && from == v.self {",
		Packages: electTests, Tests: "TestVoter",
	},
	{
		Name: "elect-worse-candidate", Rule: "a voter refuses whom another beats by the margin",
		File: "internal/elect/voter.go", Old: "if from != v.nominee && !v.idle(now, a.Lease) && f.beaten(from, a.Score, v.lapsed) {", New: "if from == 0 {",
		Packages: electTests, Tests: "TestVoter",
	},
	{
		Name: "elect-waits-for-the-dead", Rule: "one who let its lease run out is not waited for",
		File: "internal/elect/field.go", Old: "return p.ID != candidate && p.ID != lapsed && Beats(p.Score, score)", New: "return p.ID != candidate && Beats(p.Score, score)",
		Packages: electTests, Tests: "TestLeaderKilled|TestVoter",
	},
	{
		Name: "elect-never-yields", Rule: "the lower token yields when leaders meet",
		File: "internal/elect/reign.go", Old: "e.lead.token.Less(other) {", New: "e.lead.token.Less(other) && e.now < 0 {",
		Packages: electTests, Tests: "TestCutAndHeal",
	},
	{
		Name: "elect-yields-to-the-few", Rule: "the return of the few does not end the work of the many",
		File: "internal/elect/reign.go", Old: "if done.term == other.Term || ", New: "if e.now >= 0 || done.term == other.Term || ",
		Packages: electTests, Tests: "TestLargerSide|TestLeaderRaises",
	},
	{
		Name: "elect-few-raise", Rule: "who is followed by half of the mesh or less yields to the higher token",
		File: "internal/elect/reign.go", Old: "return 2*n*voters.Of > e.f.Electors*len(voters.Voters)", New: "return n*voters.Of*e.f.Electors > 0",
		Packages: electTests, Tests: "TestLeaderOfFew",
	},
	{
		Name: "elect-raises-in-vain", Rule: "a leader whose followers refuse a higher term yields",
		File: "internal/elect/reign.go", Old: "if done.term == other.Term || ", New: "if ",
		Packages: electTests, Tests: "TestLeaderOfFew",
	},
	{
		Name: "elect-raises-for-ever", Rule: "two leaders do not go on raising their terms above each other's",
		File: "internal/elect/reign.go", Old: "raises{other.Term, done.times + 1}", New: "raises{other.Term, done.times}",
		Packages: electTests, Tests: "TestRaisesEnd",
	},
	{
		Name: "elect-raises-thrice-ever", Rule: "a node that comes and goes costs the others no leader the fourth time either",
		File: "internal/elect/election.go", Old: "return !slices.ContainsFunc(f.Claims, func(t token.Token) bool { return t.Node == id })", New: "return false && len(slices.Clone(f.Claims)) > 0",
		Packages: electTests, Tests: "TestRaisesEnd|TestLargerSide",
	},
	{
		Name: "elect-leads-those-who-do-not-vote", Rule: "those who store nothing outnumber nobody",
		File: "internal/elect/electorate.go", Old: "!stores(v) {\n			of = len(voters)", New: "len(v.Members) > 0 {\n			of = len(voters)",
		Packages: electTests, Tests: "TestOutnumbers",
	},
	{
		Name: "elect-counts-whom-it-sees", Rule: "those who are not in reach may follow another leader",
		File: "internal/elect/electorate.go", Old: "if !m.Status.Gone() && (m.Storing || all) {", New: "if m.State == view.Alive && (m.Storing || all) {",
		Packages: electTests, Tests: "TestOutnumbers",
	},
	{
		Name: "elect-hears-only-the-latest", Rule: "who follows an earlier term of a leader follows it",
		File: "internal/elect/reign.go", Old: "if e.grants[id].ends > e.now {", New: "if e.grants[id].ends > e.now && e.grants[id].term >= e.lead.token.Term {",
		Packages: electTests, Tests: "TestManyReturn",
	},
	{
		Name: "elect-joining-is-renewing", Rule: "a term that a voter was asked to join may never have begun",
		File: "internal/elect/voter.go", Old: "if again { // else", New: "if a.Term > 0 { // else",
		Packages: electTests, Tests: "TestUnheardGrant",
	},
	{
		Name: "elect-claims-the-last-term", Rule: "a claim above which no term would be believed is not believed",
		File: "internal/elect/bid.go", Old: "e.voter.exceeds(t.Term) && high", New: "e.voter.believes(t.Term) && high",
		Packages: electTests, Tests: "TestFaults",
	},
	{
		Name: "elect-committee-of-the-past", Rule: "a committee votes for those who are there now",
		File: "internal/elect/election.go", Old: "e.lead.voters = f.Electorate // a", New: "_ = f.Electorate // a",
		Packages: electTests, Tests: "TestCommittee",
	},
	{
		Name: "elect-outbids-among-the-past", Rule: "who outbids asks those who vote now",
		File: "internal/elect/bid.go", Old: "if e.bid.renews {", New: "if e.bid != nil {",
		Packages: electTests, Tests: "TestCandidateOutbids",
	},
	{
		Name: "elect-one-way-raises", Rule: "a leader that cannot hear another is not outdone for ever",
		File: "internal/elect/reign.go", Old: "done.times == maxRaises || ", New: "",
		Packages: electTests, Tests: "TestOneWayClaims|TestRaisesEnd",
	},
	{
		Name: "elect-led-by-the-past", Rule: "a grant that has run out is nobody's following",
		File: "internal/elect/reign.go", Old: "if e.grants[id].ends > e.now {", New: "if e.grants[id].term > 0 {",
		Packages: electTests, Tests: "TestOutnumbers",
	},
	{
		Name: "elect-raises-on-others", Rule: "a term is raised by those who follow, whatever electorate they see meanwhile",
		File: "internal/elect/reign.go", Old: "e.run(e.lead.voters, true)", New: "e.run(e.f.Electorate, false)",
		Packages: electTests, Tests: "TestLeaderRaises",
	},
	{
		Name: "elect-hands-over-at-once", Rule: "a challenger must be better for Hold",
		File: "internal/elect/reign.go", Old: "e.now-e.betterAt >= e.hold()", New: "e.now >= e.betterAt",
		Packages: electTests, Tests: "TestHandOver",
	},
	{
		Name: "elect-asks-for-ever", Rule: "who cannot hear the leader asks less and less often",
		File: "internal/elect/bid.go", Old: "if e.bid.busy > e.par.Lease/2 {", New: "if e.bid.busy > MaxLease {",
		Packages: electTests, Tests: "TestF2_09",
	},
	{
		Name: "elect-late-grant-is-kept", Rule: "a grant that comes too late is given back",
		File: "internal/elect/election.go", Old: "e.emit(Effect{Action: GiveBack, To: from, Term: a.Term})", New: "_ = from",
		Packages: electTests, Tests: "TestLateGrant",
	},
	{
		Name: "elect-late-grant-frees-too-soon", Rule: "a late grant is given back when the work has ended, not before",
		File: "internal/elect/election.go", Old: "if e.lead == nil && e.draining {", New: "if false {",
		Packages: electTests, Tests: "TestLateGrantWhileWorkEnds",
	},
	{
		Name: "elect-revives-a-lease", Rule: "a lease that ran out unseen is lost, whatever is answered then",
		File: "internal/elect/election.go", Old: "e.now = max(e.now, now)\n	if e.lead != nil && e.until(e.lead) <= e.now {", New: "e.now = max(e.now, now)\n	if e.lead != nil && e.until(e.lead) <= e.now && len(e.grants) == 0 {",
		Packages: electTests, Tests: "TestLeaseThatEndedUnseen",
	},
	{
		Name: "elect-vain-bids-count", Rule: "one who asks in vain keeps nobody from leading",
		File: "internal/elect/voter.go", Old: "return now-v.led > 3*lease", New: "return now-v.until > 3*lease",
		Packages: electTests, Tests: "TestVainBids",
	},
	{
		Name: "elect-hands-over-in-vain", Rule: "who was handed the lead and cannot take it must be better for longer each time",
		File: "internal/elect/reign.go", Old: "return e.par.Hold << e.offered", New: "return e.par.Hold",
		Packages: electTests, Tests: "TestBestCannotWin",
	},
	{
		Name: "elect-asks-out-of-contact", Rule: "no bid, and no write of flash for one, without a majority in contact",
		File: "internal/elect/field.go", Old: "if f.Contact[id] {", New: "if f.Component[id] {",
		Packages: electTests, Tests: "TestNoBidOutOfContact",
	},
	{
		Name: "elect-believes-a-freed-claim", Rule: "who gave its grants back leads no more, whatever its last notice says",
		File: "internal/elect/bid.go", Old: "t.Term > e.freed[t.Node] && ", New: "",
		Packages: electTests, Tests: "TestClaimThatWasGivenBack",
	},
	{
		Name: "elect-overlooks-a-later-claim", Rule: "a leader whose grant lapsed here and that claims a later term leads",
		File: "internal/elect/voter.go", Old: "(claim.Term == v.lapsedIn || claim.Term <= v.lapsedBy)", New: "true",
		Packages: electTests, Tests: "TestClaimAbove",
	},
	{
		Name: "elect-follows-silence-at-once", Rule: "a leader that fell silent is given a lease by those who do not vote, too",
		File: "internal/elect/election.go", Old: "!f.Component[was.Node] && !e.voter.supports(was)", New: "!f.Component[was.Node] && f.Component[was.Node]",
		Packages: electTests, Tests: "TestClaimThatFellSilent",
	},
	{
		Name: "elect-uses-up-the-terms", Rule: "a term far above those known is refused",
		File: "internal/elect/voter.go", Old: "term-v.d.Max <= maxLeap", New: "term > maxLeap",
		Packages: electTests, Tests: "TestVoter|TestFaults",
	},
	{
		Name: "elect-believes-any-answer", Rule: "a voter's highest term is believed within bounds only",
		File: "internal/elect/election.go", Old: "if e.voter.exceeds(ans.Max) {", New: "if ans.Max > 0 {",
		Packages: electTests, Tests: "TestFaults",
	},
	{
		Name: "elect-waits-as-long-as-told", Rule: "a voter's answer silences a candidate for a longest lease at most",
		File: "internal/elect/election.go", Old: "ans.Wait = min(ans.Wait, MaxLease)", New: "ans.Wait = max(ans.Wait, 0)",
		Packages: electTests, Tests: "TestFaults",
	},
	{
		Name: "elect-counts-what-it-gave-back", Rule: "L2: a leader does not stand on a grant that it has given back",
		File: "internal/elect/election.go", Old: "			delete(e.grants, from) // what", New: "			_ = from // what",
		Packages: electTests, Tests: "TestGrantGivenBack",
	},
	{
		Name: "token-fence-forgets", Rule: "F1.25: a resource remembers the highest token",
		File: "partition/token/token.go", Old: "	f.High = t\n	return true", New: "	return true",
		Packages: electTests + " ./partition/token", Tests: "TestF1_25|TestFence",
	},
	{
		Name: "elect-forgets-which-term-lapsed", Rule: "a leader whose grant lapsed here once is believed when it leads again",
		File: "internal/elect/voter.go", Old: "(claim.Term == v.lapsedIn || claim.Term <= v.lapsedBy)", New: "claim.Term <= v.d.Grant.Term",
		Packages: electTests, Tests: "TestLapsedLeaderIsBack",
	},
	{
		Name: "elect-takes-a-lost-bid-for-the-lead", Rule: "a grant for a term that was not won says nothing about the term that its node leads with",
		File: "internal/elect/voter.go", Old: "claim.Term <= v.lapsedBy", New: "claim.Term <= v.lapsedIn",
		Packages: electTests, Tests: "TestUnheardGrant",
	},
	{
		Name: "elect-nominated-again", Rule: "a copy of a nomination that comes late is none",
		File: "internal/elect/election.go", Old: "if nominee == e.self && term > e.freed[from] {", New: "if nominee == e.self {",
		Packages: electTests, Tests: "TestNomination",
	},
	{
		Name: "elect-sees-the-end-of-others-grants", Rule: "when a leader's lease ends is known by a grant of its own term",
		File: "internal/elect/election.go", Old: "!e.voter.supports(was) {", New: "e.voter.d.Grant.Node != was.Node {",
		Packages: electTests, Tests: "TestUnheardGrantKnows",
	},
	{
		Name: "elect-forgets-what-it-renewed", Rule: "who renewed a term here and fell silent leads no more, whatever it asked for last",
		File: "internal/elect/voter.go", Old: "			v.renewed = a.Term\n", New: "",
		Packages: electTests, Tests: "TestUnheardGrant",
	},
	{
		Name: "elect-low-term-waits", Rule: "a term that was too low for a voter that is free costs no time",
		File: "internal/elect/bid.go", Old: "ans.Holder.IsZero() && ans.Max >= e.bid.token.Term && !e.bid.outbids", New: "false",
		Packages: electTests, Tests: "TestCandidateOutbids",
	},
	{
		Name: "elect-outbids-for-ever", Rule: "two candidates do not go on outbidding each other",
		File: "internal/elect/bid.go", Old: "		e.bid.outbids = true\n", New: "",
		Packages: electTests, Tests: "TestCandidateOutbids",
	},
	{
		Name: "elect-outbids-a-vote", Rule: "who has voted for another is not asked at once again",
		File: "internal/elect/voter.go", Old: "			out.Holder = v.d.Grant\n		}\n		return out, false\n	default", New: "		}\n		return out, false\n	default",
		Packages: electTests, Tests: "TestCandidateOutbids|TestSplitVote",
	},
	{
		Name: "elect-leads-unsaved", Rule: "L5: nobody leads with a term that is not on disk",
		File: "internal/elect/election.go", Old: "e.bid.token.Term > e.voter.kept.Max || ", New: "",
		Packages: electTests, Tests: "TestBidWaits|TestF1_24",
	},
	{
		Name: "elect-tells-unsaved-grants", Rule: "L1: a grant is on disk before it is told",
		File: "internal/elect/disk.go", Old: "return v.d != v.kept && v.d.Grant.Node == from", New: "return v.d == v.kept && v.d.Grant.Node == from",
		Packages: electTests, Tests: "TestGrantIsTold|TestF1_24",
	},
	{
		Name: "elect-tells-of-unsaved-terms", Rule: "L5: what a leader takes for a grant of its later term is on disk",
		File: "internal/elect/disk.go", Old: "(r == OldTerm || r == Granted", New: "(r == Granted",
		Packages: electTests, Tests: "TestGrantIsTold",
	},
	{
		Name: "elect-believes-what-it-read", Rule: "what was read may never have reached the disk: it is saved before it counts",
		File: "internal/elect/election.go", Old: "e.voter.first = true", New: "e.voter.first, e.voter.kept = true, d",
		Packages: electTests, Tests: "TestWhatWasRead",
	},
	{
		Name: "elect-gives-back-unsaved", Rule: "L1: what gives a term back does not come when the term is used once more",
		File: "internal/elect/election.go", Old: "if eff.Action == GiveBack && eff.Term > e.voter.kept.Max {", New: "if false {",
		Packages: electTests, Tests: "TestNothingIsGivenBack",
	},
	{
		Name: "elect-promises-while-it-saves", Rule: "one save is under way at most",
		File: "internal/elect/voter.go", Old: "if save && v.saving {", New: "if false {",
		Packages: electTests, Tests: "TestGrantIsTold|TestF1_24",
	},
	{
		Name: "elect-promises-on-a-broken-disk", Rule: "a disk that takes nothing promises nothing",
		File: "internal/elect/voter.go", Old: "if save && v.broken {", New: "if false {",
		Packages: electTests, Tests: "TestLeaderIsRenewed|TestF1_24",
	},
	{
		Name: "elect-never-tries-the-disk-again", Rule: "a disk that took nothing is tried again",
		File: "internal/elect/disk.go", Old: "if e.voter.broken && !e.voter.saving && e.now >= e.voter.retry {", New: "if false {",
		Packages: electTests, Tests: "TestNoBidWithoutADisk|TestLeaderIsRenewed",
	},
	{
		Name: "elect-wears-a-broken-disk", Rule: "a disk that takes nothing is tried less and less often",
		File: "internal/elect/disk.go", Old: "min(firstRetry<<min(v.tries, 10), lastRetry)", New: "firstRetry",
		Packages: electTests, Tests: "TestNoBidWithoutADisk",
	},
	{
		Name: "elect-bids-on-a-broken-disk", Rule: "who cannot write its term down asks for none",
		File: "internal/elect/bid.go", Old: "e.voter.saving || e.voter.broken || !e.free()", New: "e.voter.saving || !e.free()",
		Packages: electTests, Tests: "TestNoBidWithoutADisk",
	},
	{
		Name: "elect-slow-disk-costs-the-lead", Rule: "the present term is renewed while the next one is saved",
		File: "internal/elect/voter.go", Old: "return a.Renew && grant == v.kept.Grant", New: "return false && grant == v.kept.Grant",
		Packages: electTests, Tests: "TestLeaderIsRenewed",
	},
	{
		Name: "elect-askers-wait-for-ever", Rule: "whoever asks a voter that saves learns that it does",
		File: "internal/elect/disk.go", Old: "e.now >= e.askers[0].at+e.patience() {", New: "e.now < 0 {",
		Packages: electTests, Tests: "TestGrantIsTold",
	},
	{
		Name: "elect-gives-up-those-that-save", Rule: "a bid waits for voters that save",
		File: "internal/elect/bid.go", Old: "if ans.Reason == Saving {", New: "if ans.Reason == Saving && e.now < 0 {",
		Packages: electTests, Tests: "TestGrantThatCameLate",
	},
	{
		Name: "elect-lets-grants-lapse", Rule: "a bid that waits for voters that save keeps what it has",
		File: "internal/elect/bid.go", Old: "if e.lead != nil || e.now < e.bid.keepAt {", New: "if e.now >= 0 || e.lead != nil {",
		Packages: electTests, Tests: "TestBidWaits",
	},
}

const electTests = "./internal/elect"
