package main

const (
	meshTests     = "./mesh"
	identityTests = "./mesh/identity"
)

var mesh = []Mutant{
	{
		Name: "mesh-evicted-needs-two-starts", Rule: "one start of a node that was given up is enough",
		File: "mesh/again.go", Old: "if err != nil || !n.wasGivenUp(ctx) {", New: "if err != nil || !n.wasGivenUp(ctx) || true {",
		Packages: meshTests, Tests: "TestEvictedNodeStarts",
	},
	{
		Name: "mesh-start-does-not-hear-doubts-out", Rule: "one start of a node that was given up is enough",
		File: "mesh/again.go", Old: "for n.doubts.Load() && ctx", New: "for n.doubts.Load() && n.id == 0 && ctx",
		Packages: meshTests, Tests: "TestEvictedNodeStarts",
	},
	{
		Name: "mesh-start-waits-for-the-silent", Rule: "a node starts with nobody in reach",
		File: "mesh/profile.go", Old: "news: time.Second, seek", New: "news: time.Hour, seek",
		Packages: meshTests, Tests: "TestStartWaits",
	},
	{
		Name: "mesh-close-waits-for-probes", Rule: "closing is bounded, whoever is silent",
		File: "mesh/start.go", Old: "const closePatience = time.Second", New: "const closePatience = 5 * time.Second",
		Packages: "./mesh", Tests: "TestCloseIsBounded",
	},
	{
		Name: "mesh-close-waits-for-leave", Rule: "closing is bounded, whatever goes on",
		File: "mesh/gossip.go", Old: "case <-time.After(patience):", New: "case <-time.After(time.Hour):",
		Packages: "./mesh", Tests: "TestCloseIsBounded",
	},
	{
		Name: "mesh-any-authority", Rule: "a certificate is signed by the mesh authority",
		File: "mesh/identity/identity.go", Old: "if !ed25519.Verify(a.Key, cert.RawTBSCertificate, cert.Signature) {", New: "if len(a.Key) == 0 {",
		Packages: identityTests, Tests: "TestCertificate|FuzzVerify",
	},
	{
		Name: "mesh-certificate-of-another-mesh", Rule: "a certificate is bound to the MeshID",
		File: "mesh/identity/identity.go", Old: "got != want {", New: "got == want+want {",
		Packages: identityTests, Tests: "TestVerifyChecksWhatIsSigned",
	},
	{
		Name: "mesh-twins-both-stop", Rule: "of two copies that start together one goes on",
		File: "mesh/refused.go", Old: "return lead > 2*n.pace.dial", New: "return lead > -2*n.pace.dial",
		Packages: meshTests, Tests: "TestTwoCopiesStartedTogether",
	},
	{
		Name: "mesh-name-not-in-keys", Rule: "meshes of another name never merge (protocol B.1)",
		File: "mesh/identity/identity.go", Old: "uint64(shards))) + meshName", New: "uint64(shards)))",
		Packages: identityTests, Tests: "TestDeriveSeparatesMeshes|TestDeriveGolden",
	},
	{
		Name: "mesh-handler-answers-for-another", Rule: "the handler of a call that a handler makes cannot answer that one's caller",
		File: "mesh/call.go", Old: "n.serve(plain{ctx}, to,", New: "n.serve(ctx, to,",
		Packages: meshTests, Tests: "TestCallLater",
	},
	{
		Name: "mesh-starts-without-secret", Rule: "there is no mode without a secret",
		File: "mesh/config.go", Old: `fault(len(c.Secret) == 0, "%w", ErrNoSecret)`, New: "",
		Packages: meshTests, Tests: "TestNoSecret",
	},
	{
		Name: "mesh-boot-not-counted", Rule: "Boot grows with every start, on disk (protocol 0.2)",
		File: "mesh/dir.go", Old: "d.id.Boot++", New: "",
		Packages: meshTests, Tests: "TestDirectoryCountsBoots",
	},
	{
		Name: "mesh-store-of-another-node", Rule: "identity and data are both there and equal, or the NodeID is new (protocol 0.1)",
		File: "mesh/dir.go", Old: "case f.owner.Node != f.id.Node:", New: "case f.owner.Node == 0:",
		Packages: meshTests, Tests: "TestDirectoryThatMustNotBeUsedOn",
	},
	{
		Name: "mesh-empty-disk-old-identity", Rule: "an identity whose data is gone is not used on (protocol A.5, F2.4)",
		File: "mesh/dir.go", Old: "case f.owner.Initialised && !f.manifest:", New: "case f.owner.Initialised && !f.store:",
		Packages: meshTests, Tests: "TestDirectoryThatMustNotBeUsedOn",
	},
	{
		Name: "mesh-left-comes-back", Rule: "left and evicted are final (protocol B.1)",
		File: "mesh/dir.go", Old: "case f.id.End != wire.Running:", New: "case f.id.End > wire.EndRolled:",
		Packages: meshTests, Tests: "TestDirectoryThatMustNotBeUsedOn",
	},
	{
		Name: "mesh-identity-before-owner", Rule: "a crash leaves no identity whose store belongs to nobody (protocol 0.1)",
		File: "mesh/dir.go", Old: "\tif storing {\n\t\tif err := d.fs.MkdirAll(d.join(storeName)", New: "\tif err := d.writeIdentity(); err != nil {\n\t\treturn err\n\t}\n\tif !storing {\n\t\tif err := d.fs.MkdirAll(d.join(storeName)",
		Packages: meshTests, Tests: "TestDirectory",
	},
	{
		Name: "mesh-newer-format-overwritten", Rule: "a newer format is left untouched",
		File: "mesh/dir.go", Old: "case errors.Is(err, file.ErrNewerFormat), errors.Is(err, wire.ErrNewerVersion):", New: "case errors.Is(err, wire.ErrNewerVersion):\n\t\treturn err, nil\n\tcase errors.Is(err, file.ErrNewerFormat):",
		Packages: meshTests, Tests: "TestNewerFormatIsLeftAlone",
	},
	{
		Name: "mesh-roster-forgotten", Rule: "the roster outlives the process: a node finds its mesh by what it remembers (F2.7)",
		File: "mesh/dir.go", Old: "d.roster = f.roster", New: "",
		Packages: meshTests, Tests: "TestF2_07|TestRestartKeepsIdentity",
	},
	{
		Name: "mesh-roster-used-before-disk", Rule: "a roster is on disk before it is used (protocol B.1)",
		File: "mesh/roster.go", Old: "if err := b.write(next); err != nil {", New: "if err := b.write(next); err != nil && next.Len() == 0 {",
		Packages: meshTests, Tests: "TestRosterOnAFullDisk",
	},
	{
		Name: "mesh-clone-admitted", Rule: "a copy of a running node is refused (protocol B.1)",
		File: "mesh/contact.go", Old: "\treturn inUse\n}", New: "\t_ = inUse\n\treturn nil\n}",
		Packages: meshTests, Tests: "TestCloneOfRunningNodeIsRefused",
	},
	{
		Name: "mesh-clone-of-the-same-boot", Rule: "another process of the same boot is a copy (protocol B.1)",
		File: "mesh/contact.go", Old: "if e.Boot > known.Boot {", New: "if e.Boot >= known.Boot {",
		Packages: meshTests, Tests: "TestCopyStartedBesideItsDeadOriginal",
	},
	{
		Name: "mesh-deaf-to-its-own-later-life", Rule: "a node told of a later life of its own stops (protocol A.5.4, F2.13)",
		File: "mesh/contact.go", Old: "case e.Boot > boot || e.Boot == boot && e.Instance > n.instance:\n\t\tn.fail", New: "case false:\n\t\tn.fail",
		Packages: meshTests, Tests: "TestNewsOfItselfStopANode",
	},
	{
		Name: "mesh-waits-for-old-streams", Rule: "who is seen again is called on a new connection",
		File: "mesh/watch.go", Old: "w.n.link.Renew(e.ID)", New: "_ = e.ID",
		Packages: meshTests, Tests: "TestCallsGoOn",
	},
	{
		Name: "mesh-name-of-a-living-node", Rule: "where two nodes of one name live, the second is refused (protocol B.1)",
		File: "mesh/contact.go", Old: "if n.answers(ctx, o.ID, 0) {", New: "if false {",
		Packages: meshTests, Tests: "TestNewDiskUnderTheNameOfALivingNodeIsRefused",
	},
	{
		Name: "mesh-unnamed-predecessor-stays", Rule: "who was let in by nodes that had not heard of the store before it takes its place all the same",
		File: "mesh/name.go", Old: "case w.Confirmed && n.mayOust():", New: "case w.Confirmed && n.id == 0:",
		Packages: meshTests, Tests: "TestDisksLostAtOnce",
	},
	{
		Name: "mesh-namesakes-obey-each-other", Rule: "of two new nodes of one name exactly one goes on",
		File: "mesh/refused.go", Old: "both && prevails(instance)", New: "both && instance == 0 && prevails(instance)",
		Packages: meshTests, Tests: "TestRivals",
	},
	{
		Name: "mesh-one-refusal-ends-a-node", Rule: "what one member says of this node is a hint",
		File: "mesh/refused.go", Old: "case len(accept) > 0 && (len(refuse) == 0", New: "case len(accept) < 0 && (len(refuse) == 0",
		Packages: meshTests, Tests: "TestRefusalIsAHint",
	},
	{
		Name: "mesh-heeds-clients", Rule: "what one that is no member says of this node does not count",
		File: "mesh/refused.go", Old: "if !member && n.met.Load() {", New: "if by == 0 && member {",
		Packages: meshTests, Tests: "TestRefusalOfAClient",
	},
	{
		Name: "mesh-evicts-on-hearsay", Rule: "what one member says of another that runs does not count against that one's word",
		File: "internal/roster/hear.go", Old: "if advances(e, known) && alive(e.ID) {", New: "if advances(e, known) && len(doubts) > 9 {",
		Packages: meshTests, Tests: "TestHearsayDoesNotEvict",
	},
	{
		Name: "mesh-copy-speaks-of-the-original", Rule: "what a copy claimed under the id of the original is not spread by the node that it becomes",
		File: "mesh/dir.go", Old: "f.id.End == wire.EndRolled {", New: "f.id.End > wire.EndRolled {",
		Packages: meshTests, Tests: "TestCloneOfRunningNodeIsRefused",
	},
	{
		Name: "mesh-hears-the-evicted", Rule: "packets and gossip of those that are gone are not taken",
		File: "mesh/start.go", Old: "Admit: n.belongs,", New: "",
		Packages: meshTests, Tests: "TestTheEvictedAreNotHeard",
	},
	{
		Name: "mesh-done-before-the-mark", Rule: "an identity that may not be used again is marked before anybody hears that the node stopped",
		File: "mesh/start.go", Old: "if end != wire.Running {", New: "if end > wire.EndRolled {",
		Packages: meshTests, Tests: "TestDoneComesAfterTheMark",
	},
	{
		Name: "mesh-client-is-a-node", Rule: "who only asks may not change the roster",
		File: "mesh/client.go", Old: "if !strings.HasPrefix(method, adminPrefix) {", New: "if !strings.HasPrefix(method, adminPrefix) && method == methodView {",
		Packages: meshTests, Tests: "TestClient",
	},
	{
		Name: "mesh-admin-always", Rule: "admin requests are refused unless allowed",
		File: "mesh/call.go", Old: "if strings.HasPrefix(method, adminPrefix) && !n.cfg.AllowAdmin {", New: "if false {",
		Packages: meshTests, Tests: "TestCall",
	},
	{
		Name: "mesh-goes-although-nothing-was-handed-over", Rule: "a node that cannot hand over stays",
		File: "mesh/leave.go", Old: `return fmt.Errorf("mesh: leave: hand over: %w", err)`, New: "break",
		Packages: meshTests, Tests: "TestLeaveStaysWhenHandOverFails",
	},
	{
		Name: "mesh-dated-by-the-clock-alone", Rule: "what a node says of itself counts, whatever its clock says (F2.6)",
		File: "internal/roster/roster.go", Old: "self.HLC = min(max(now, old.HLC)+1, MaxHLC)", New: "self.HLC = min(now+1, MaxHLC)",
		Packages: meshTests, Tests: "TestF2_06",
	},
	{
		Name: "store-becomes-none", Rule: "a node that holds data starts without storing only after it has left",
		File: "mesh/dir.go", Old: "case f.id.Storing && !storing:", New: "case false:",
		Packages: meshTests, Tests: "TestDirectoryOfAnotherKind",
	},
	{
		Name: "beginning-store-keeps-its-id", Rule: "a node that begins to store does so under a new id",
		File: "mesh/dir.go", Old: "case storing && !f.id.Storing:", New: "case false:",
		Packages: meshTests, Tests: "TestNodeThatBeginsToStore",
	},
}
