package main

var lies = []Mutant{
	{
		Name: "link-gossips-about-anybody", Rule: "only what is said of nodes of the roster reaches memberlist and serf",
		File: "internal/link/sift.go", Old: "if c.err == nil && c.sift != nil && !c.sift.knows(id) {", New: "if c.err == nil && c.sift != nil && id == 0 {",
		Packages: linkTests, Tests: "TestSift",
	},
	{
		Name: "mesh-gossips-about-anybody", Rule: "nodes that gossip alone has named change nothing",
		File: "mesh/contact.go", Old: "	_, ok := n.book.get().Get(id)\n	return ok\n", New: "	return id != 0\n",
		Packages: meshTests, Tests: "TestGossipOfUnknownNodes",
	},
	{
		Name: "link-forgets-what-was-ahead", Rule: "what gossip says of a node before the roster holds it is not lost",
		File: "internal/link/sift.go", Old: "if message[0] == mlAlive {", New: "if message[0] == mlDead {",
		Packages: linkTests, Tests: "TestSiftPackets|TestGossipAheadOfTheRoster",
	},
	{
		Name: "link-holds-without-end", Rule: "how many nodes are held back is bounded",
		File: "internal/link/sift.go", Old: "!known && len(s.held) >= maxHeld {", New: "!known && len(s.held) < 0 {",
		Packages: linkTests, Tests: "TestSiftExchanges",
	},
	{
		Name: "link-leaps-to-the-end-of-time", Rule: "one message moves Lamport time by a leap at most",
		File: "internal/link/sift.go", Old: "if c.latest < t {", New: "if c.latest < 0 {",
		Packages: linkTests, Tests: "TestSiftBounds",
	},
	{
		Name: "link-goes-past-the-end-of-time", Rule: "honest nodes never turn each other away, whatever a third said the time is",
		File: "internal/link/sift.go", Old: "latest: min(s.lamport.Load()+lamportLeap, lamportEnd)}", New: "latest: s.lamport.Load() + lamportLeap}",
		Packages: linkTests, Tests: "TestSiftBounds",
	},
	{
		Name: "link-streams-for-anybody", Rule: "a gossip stream is for nodes of the roster",
		File: "internal/link/gossip.go", Old: "	if !g.link.knows(from) {\n		g.link.stats", New: "	if from == 0 {\n		g.link.stats",
		Packages: linkTests, Tests: "TestStrangersGetNoGossipStream",
	},
	{
		Name: "link-names-twice", Rule: "an exchange names a node once",
		File: "internal/link/sift.go", Old: "if seen[id] {", New: "if seen[id] && id == 0 {",
		Packages: linkTests, Tests: "TestScreen",
	},
	{
		Name: "link-guests-are-served-as-nodes", Rule: "what a connection may ask is said by its hello and stays",
		File: "internal/link/request.go", Old: "if c.peer.Guest {", New: "if c.peer.Guest && c.draining {",
		Packages: meshTests, Tests: "TestClient",
	},
	{
		Name: "link-guests-take-the-place-of-nodes", Rule: "connections of guests stand apart from those of nodes",
		File: "internal/link/peers.go", Old: "	if c.peer.Guest {\n", New: "	if c.peer.Guest && c.peer.Dialed {\n",
		Packages: linkTests, Tests: "TestVirtualGuestsStandApart",
	},
	{
		Name: "identity-secret-of-zeros", Rule: "a secret of zeros is nobody's",
		File: "mesh/identity/identity.go", Old: "if bytes.Count(secret, []byte{0}) == len(secret) {", New: "if bytes.Count(secret, []byte{0}) > len(secret) {",
		Packages: identityTests, Tests: "TestDeriveRefusesZeros",
	},
	{
		Name: "mesh-prints-the-secret", Rule: "the secret is in no Config that is printed",
		File: "mesh/config.go", Old: "	type plain Config\n	c.Secret = nil\n", New: "	type plain Config\n",
		Packages: meshTests, Tests: "TestSecretIsNotPrinted",
	},
	{
		Name: "mesh-keeps-the-secret", Rule: "a node keeps no secret once its keys are derived",
		File: "mesh/start.go", Old: "	cfg.Secret = nil\n", New: "",
		Packages: meshTests, Tests: "TestSecretIsNotPrinted",
	},
	{
		Name: "view-ids-as-numbers", Rule: "no log has numbers that readers of JSON round",
		File: "mesh/view/view.go", Old: "func (id NodeID) MarshalText() (", New: "func (id NodeID) marshalText() (",
		Packages: meshTests, Tests: "TestLogsAsJSON",
	},
	{
		Name: "mesh-logs-a-key-twice", Rule: "no line of a log has a key twice",
		File: "mesh/watch.go", Old: `"member", e.ID, "name"`, New: `"node", e.ID, "name"`,
		Packages: meshTests, Tests: "TestLogsAsJSON",
	},
	{
		Name: "link-remote-texts-as-they-come", Rule: "what another node says is cleaned before anybody prints it",
		File: "internal/link/errors.go", Old: "case !unicode.IsPrint(r):", New: "case !unicode.IsPrint(r) && r == 0:",
		Packages: linkTests, Tests: "TestRemoteTextIsReadable",
	},
	{
		Name: "mesh-no-ballast", Rule: "a node starts although the disk is full",
		File: "mesh/dir.go", Old: "if errors.Is(err, syscall.ENOSPC) && d.ballast.drop() {", New: "if errors.Is(err, syscall.EDQUOT) && d.ballast.drop() {",
		Packages: meshTests, Tests: "TestStartsOnAFullDisk",
	},
	{
		Name: "mesh-ballast-once", Rule: "the room for a start on a full disk is held again when there is room",
		File: "mesh/dir.go", Old: "		d.ballast.load()\n", New: "		if d.id.Boot == 1 {\n			d.ballast.load()\n		}\n",
		Packages: meshTests, Tests: "TestStartsOnAFullDisk",
	},
	{
		Name: "mesh-directory-of-everybody", Rule: "a directory that others may write is warned of",
		File: "mesh/dir.go", Old: "mode&0o022 != 0", New: "mode&0o022 == 0o1000",
		Packages: meshTests, Tests: "TestDirectoryThatOthersMayWrite",
	},
}
