package main

const linkTests = "./internal/link"

var link = []Mutant{
	{
		Name: "link-serves-anything-twice", Rule: "only requests that may be handled twice are taken by packet",
		File: "internal/link/datagram.go", Old: "if !l.cfg.Idempotent(method) {", New: "if method == \"\" {",
		Packages: linkTests, Tests: "TestDatagramFallsBack",
	},
	{
		Name: "link-one-key-for-all-packets", Rule: "requests by packet are sealed with keys that only the ends of a connection have",
		File: "internal/link/pair.go", Old: "if !dialed {", New: "if clear(keys); !dialed {",
		Packages: linkTests, Tests: "TestDatagramOfAStranger",
	},
	{
		Name: "link-waits-for-a-stream", Rule: "a request that may be handled twice is not held up by what was lost before it",
		File: "internal/link/datagram.go", Old: "if !bounded || l.peers.use(to) == nil ||", New: "if !bounded || l.peers.use(to) != nil ||",
		Packages: linkTests, Tests: "TestDatagramPassesTheStream",
	},
	{
		Name: "link-trusts-udp", Rule: "what gets no answer by packet goes over the connection",
		File: "internal/link/datagram.go", Old: "if r.beside != nil {", New: "if r.beside == nil {",
		Packages: linkTests, Tests: "TestDatagramFallsBack",
	},
	{
		Name: "link-serves-a-packet-again", Rule: "a packet for a connection is opened once",
		File: "internal/link/pair.go", Old: "p.window.mark(h.Counter)", New: "_ = p",
		Packages: linkTests, Tests: "TestDatagramOfAStranger",
	},
	{
		Name: "link-packets-without-a-share", Rule: "the requests by packet of one peer are bounded",
		File: "internal/link/datagram.go", Old: "newGate[view.NodeID](datagramsTotal, datagramsEach)", New: "newGate[view.NodeID](datagramsTotal, datagramsTotal)",
		Packages: linkTests, Tests: "TestDatagramsAreBounded",
	},
	{
		Name: "link-anybody-answers", Rule: "an answer by packet counts from whom was asked",
		File: "internal/link/datagram.go", Old: "if d != nil && d.to == from {", New: "if d != nil {",
		Packages: linkTests, Tests: "TestDatagramErrors",
	},
	{
		Name: "link-renews-by-the-wrong-end", Rule: "a connection dialled to replace another one wins at both ends",
		File: "internal/link/peers.go", Old: "s.dial != nil || id < p.link.cfg.Self {", New: "s.dial != nil || id > p.link.cfg.Self {",
		Packages: linkTests, Tests: "TestVirtualRenew",
	},
	{
		Name: "link-renews-what-is-new", Rule: "a connection that was made just now is not replaced",
		File: "internal/link/peers.go", Old: "time.Since(s.conn.since) < stillNew ||", New: "time.Since(s.conn.since) < 0 ||",
		Packages: linkTests, Tests: "TestVirtualRenewIsRare",
	},
	{
		Name: "link-renews-again-and-again", Rule: "who does not take the call is not dialled as fast as it fails",
		File: "internal/link/peers.go", Old: "|| time.Since(s.renewed) < stillNew {", New: "{",
		Packages: linkTests, Tests: "TestVirtualRenewIsRare",
	},
	{
		Name: "link-serves-by-packet-whom-it-shut-out", Rule: "who is shut out, or runs under an earlier boot, is not served by packet",
		File: "internal/link/datagram.go", Old: "|| !l.cfg.Admit(c.peer.ID) || c.peer.Boot < l.cfg.Floor(c.peer.ID) {", New: "{",
		Packages: linkTests, Tests: "TestDatagramOfOneThat",
	},
	{
		Name: "link-end-that-may-not-dial-is-silent", Rule: "either end can have a connection replaced",
		File: "internal/link/datagram.go", Old: "l.peers.renew(from)", New: "_ = from",
		Packages: linkTests, Tests: "TestVirtualRenew",
	},
	{
		Name: "link-gives-up-with-the-stream", Rule: "that the connection fails does not end a call that a packet may answer",
		File: "internal/link/datagram.go", Old: "if !passing || r.streamOnly || !r.send(ctx) {", New: "if passing || !passing {",
		Packages: linkTests, Tests: "TestDatagramWhen",
	},
	{
		Name: "link-forgets-later-answers", Rule: "who closes waits for all that is being handled, also for what is answered later",
		File: "internal/link/request.go", Old: "r.c.handlers.Add(1)", New: "",
		Packages: linkTests, Tests: "TestAnswersLater",
	},
	{
		Name: "link-reader-waits-for-room", Rule: "the reader waits for nothing but bytes",
		File: "internal/link/read.go", Old: "r.serve(false)", New: "r.serve(true)",
		Packages: linkTests, Tests: "TestPromptHandlers",
	},
	{
		Name: "link-rests-without-bound", Rule: "few goroutines are kept for the next request, whatever peers ask at once",
		File: "internal/link/read.go", Old: "!c.link.resting.take(1)", New: "!c.link.resting.take(1) && false",
		Packages: linkTests, Tests: "TestHandlersRest",
	},
	{
		Name: "link-replay", Rule: "a packet is taken once (protocol G.2)",
		File: "internal/link/seal.go", Old: "} else if p.window.seen(h.Counter) {", New: "} else if h.Counter == 0 {",
		Packages: linkTests, Tests: "TestPacketsAreBound",
	},
	{
		Name: "link-packet-for-anybody", Rule: "a seal binds the receiver (protocol G.2)",
		File: "internal/link/seal.go", Old: "PutUint64(s.aad[n:], uint64(to))", New: "PutUint64(s.aad[n:], uint64(to)*0)",
		Packages: linkTests, Tests: "TestPacketsAreBound",
	},
	{
		Name: "link-earlier-boot", Rule: "packets of an earlier boot are refused (protocol G.2)",
		File: "internal/link/seal.go", Old: "if h.Boot < floor {", New: "if h.Boot < floor && h.Boot == 0 {",
		Packages: linkTests, Tests: "TestPacketsAreBound",
	},
	{
		Name: "link-floor-from-packets", Rule: "a copy's packets do not shut out the node that runs",
		File: "internal/link/seal.go", Old: "o.remember(h.From, p, floor)\n\t}\n\tp.window", New: "o.remember(h.From, p, floor)\n\t\to.floor = func(view.NodeID) uint64 { return h.Boot }\n\t}\n\tp.window",
		Packages: linkTests, Tests: "TestPacketsAreBound",
	},
	{
		Name: "link-forger-remembered", Rule: "a forged packet leaves nothing behind (protocol G.2)",
		File: "internal/link/seal.go", Old: "\t\treturn h, nil, errForged", New: "\t\to.remember(h.From, p, floor)\n\t\treturn h, nil, errForged",
		Packages: linkTests, Tests: "TestPacketsAreBound",
	},
	{
		Name: "link-any-node-at-the-address", Rule: "whoever is dialled must be the node that was meant",
		File: "internal/link/secure.go", Old: "case want != 0 && id != want:", New: "case want != 0 && id == 0:",
		Packages: linkTests, Tests: "TestWrongNodeAtAddress",
	},
	{
		Name: "link-own-refusal-as-the-peers", Rule: "who refuses a peer is not refused itself",
		File: "internal/link/greet.go", Old: "fmt.Errorf(\"%w: %v\", ErrNotAccepted, err)", New: "fmt.Errorf(\"%w: %w\", ErrNotAccepted, err)",
		Packages: linkTests, Tests: "TestRefusedHello",
	},
	{
		Name: "link-replies-without-budget", Rule: "replies that nobody reads are bounded (protocol G.3)",
		File: "internal/link/request.go", Old: "if c.link.outbound.take(n) {", New: "if n >= 0 {",
		Packages: linkTests, Tests: "TestHundredThirsts|TestReaderIsServed",
	},
	{
		Name: "link-readers-pay-for-others", Rule: "who reads its replies is served whatever others do",
		File: "internal/link/request.go", Old: "if !c.link.outbound.tight() || c.unread() < smallReply {", New: "if !c.link.outbound.tight() {",
		Packages: linkTests, Tests: "TestHundredThirsts",
	},
	{
		Name: "link-hello-of-another", Rule: "a hello names the node of the certificate",
		File: "internal/link/greet.go", Old: "if g.Node != peer.ID {", New: "if g.Node == 0 {",
		Packages: linkTests, Tests: "TestInsidersFrames",
	},
	{
		Name: "link-shut-out-packets", Rule: "a peer that is shut out is shut out of packets",
		File: "internal/link/packet.go", Old: " || !l.cfg.Admit(h.From))", New: ")",
		Packages: linkTests, Tests: "TestShutOutByAdmit",
	},
	{
		Name: "link-shut-out-streams", Rule: "a peer that is shut out is shut out of connections",
		File: "internal/link/secure.go", Old: "case cs.NegotiatedProtocol == alpnGossip && !l.cfg.Admit(id):", New: "case l == nil:",
		Packages: linkTests, Tests: "TestShutOutByAdmit",
	},
	{
		Name: "link-unscreened-packets", Rule: "memberlist sees no packet that was not screened (protocol G.4)",
		File: "internal/link/gossip.go", Old: "kept, strange, err := g.sift.siftPacket(from, b)\n", New: "kept, strange, err := b, false, error(nil)\n",
		Packages: linkTests, Tests: "TestGossipAddressing",
	},
	{
		Name: "link-unscreened-streams", Rule: "memberlist sees no stream that was not screened (protocol G.4)",
		File: "internal/link/gossipconn.go", Old: "kept, strange, err := c.gossip.sift.siftStream(c.peer, message)\n", New: "kept, strange, err := message, false, error(nil)\n",
		Packages: linkTests, Tests: "TestGossipStreams",
	},
	{
		Name: "link-answers-to-others", Rule: "a ping is answered to its sender only (protocol G.4)",
		File: "internal/link/screen.go", Old: "if id := c.nodeName(); id != from {", New: "if id := c.nodeName(); id == 0 {",
		Packages: linkTests, Tests: "TestScreen$",
	},
	{
		Name: "link-prune", Rule: "no peer may erase a member (protocol G.4)",
		File: "internal/link/screenserf.go", Old: "if t != serfLeave || c.lead() != 0xc2 {", New: "if t != serfLeave || c.lead() == 0 {",
		Packages: linkTests, Tests: "TestScreen$",
	},
	{
		Name: "link-versions-of-any-length", Rule: "version vectors have six entries (protocol G.4)",
		File: "internal/link/screen.go", Old: "c.err == nil && (len(v) != 6 ||", New: "c.err == nil && len(v) == 6 && (len(v) != 6 ||",
		Packages: linkTests, Tests: "TestScreen$",
	},
	{
		Name: "link-nameless-address", Rule: "no address is used on a peer's word",
		File: "internal/link/gossip.go", Old: "if !ok || err != nil {", New: "if !ok && err != nil {",
		Packages: linkTests, Tests: "TestGossipAddressing",
	},
	{
		Name: "link-window-unguarded", Rule: "a peer that ignores its window is cut off",
		File: "internal/link/read.go", Old: "if twice || !within {", New: "if twice || !within && size < 0 {",
		Packages: linkTests, Tests: "TestInsidersFrames",
	},
	{
		Name: "link-unbounded-handlers", Rule: "requests handled at once are bounded",
		File: "internal/link/read.go", Old: "if !c.link.handlers.take(1) {", New: "if !c.link.handlers.take(1) && size < 0 {",
		Packages: linkTests, Tests: "TestOverload",
	},
	{
		Name: "link-unbounded-requests", Rule: "bytes of requests are bounded whatever peers send",
		File: "internal/link/receive.go", Old: "if b.used.Add(int64(n)) <= limit {", New: "if b.used.Add(int64(n)) <= limit || n > 0 {",
		Packages: linkTests, Tests: "TestHundredFloods",
	},
	{
		Name: "link-patient-with-strangers", Rule: "a stranger has two seconds (protocol G.3)",
		File: "internal/link/server.go", Old: "context.WithTimeout(ctx, l.cfg.Limits.HandshakeTimeout)", New: "context.WithTimeout(ctx, 100*l.cfg.Limits.HandshakeTimeout)",
		Packages: linkTests, Tests: "TestVirtualStrangerHasTwoSeconds",
	},
	{
		Name: "link-each-keeps-its-own", Rule: "both ends keep the same of two connections",
		File: "internal/link/peers.go", Old: "return c.peer.Dialed == lower", New: "return c.peer.Dialed",
		Packages: linkTests, Tests: "TestBothEndsKeepTheSame",
	},
	{
		Name: "link-waits-for-the-silent", Rule: "a silent peer is given up",
		File: "internal/link/conn.go", Old: "case c.quiet >= limits.Silence:", New: "case c.quiet >= 1000*limits.Silence:",
		Packages: linkTests, Tests: "TestVirtualSilentPeer",
	},
	{
		Name: "link-charges-what-is-announced", Rule: "a payload counts as it comes, not as it is announced",
		File: "internal/link/receive.go", Old: "next := min(size, max(firstPart, growBy*got))", New: "next := max(size, got)",
		Packages: linkTests, Tests: "TestVirtualAnnouncedIsNotHeld",
	},
	{
		Name: "link-keeps-nothing-for-small-ones", Rule: "an eighth of the budget is for small payloads",
		File: "internal/link/receive.go", Old: "limit-limit/8", New: "limit",
		Packages: linkTests, Tests: "TestVirtualSlowHonestPeers",
	},
	{
		Name: "link-waits-for-tricklers", Rule: "a payload that trickles gives its memory back while others are refused",
		File: "internal/link/receive.go", Old: "if slow && !p.given {", New: "if slow && p.given {",
		Packages: linkTests, Tests: "TestVirtualTrickler",
	},
	{
		Name: "link-one-peer-takes-all", Rule: "a peer holds a quarter of a budget, or one payload",
		File: "internal/link/receive.go", Old: "int64(others+size) <= limit/4", New: "int64(others+size) <= 1<<40",
		Packages: linkTests, Tests: "TestShareOfABudget",
	},
}
