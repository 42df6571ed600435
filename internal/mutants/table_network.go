package main

var network = []Mutant{
	{
		Name: "net-other-is-left", Rule: "whoever answers at an address tells who it is",
		File: "internal/link/greet.go", Old: "if want != 0 && id != want && l.peers.works(id) {", New: "if want != 0 && id != want {",
		Packages: linkTests + " " + meshTests, Tests: "TestOtherNodeAtAddress|TestAddressesDealtAnew",
	},
	{
		Name: "net-other-greeted-for-ever", Rule: "a node in contact is not greeted anew for another's address",
		File: "internal/link/greet.go", Old: "id != want && l.peers.works(id) {", New: "id == want {",
		Packages: linkTests, Tests: "TestOtherNodeAtAddress",
	},
	{
		Name: "net-other-speaks-for-all", Rule: "what another says at an address is no sign of life of the one dialled",
		File: "internal/link/greet.go", Old: `%v: %v", ErrOther, addr, peer.ID, want, err)`, New: `%v: %w", ErrOther, addr, peer.ID, want, err)`,
		Packages: linkTests, Tests: "TestOtherNodeAtAddress",
	},
	{
		Name: "net-seed-has-first-addresses-only", Rule: "all addresses of a seed are tried over time",
		File: "mesh/names.go", Old: "return int(int64(n.tried[a]) - int64(n.tried[b]))", New: "return 0",
		Packages: meshTests, Tests: "TestStaleAddressesOfASeed",
	},
	{
		Name: "net-slow-names-dropped", Rule: "an answer of DNS is used however late it comes",
		File: "mesh/names.go", Old: "lookupPatience = time.Minute", New: "lookupPatience = 3 * time.Second",
		Packages: meshTests, Tests: "TestSlowNames",
	},
	{
		Name: "net-ready-waits-for-names", Rule: "DNS is asked apart from dialling",
		File: "mesh/seeds.go", Old: "patience := time.NewTimer(n.pace.dial)", New: "patience := time.NewTimer(time.Hour)",
		Packages: meshTests, Tests: "TestSlowNames",
	},
	{
		Name: "net-loopback-made-known", Rule: "a host that lost its network for a while keeps its address",
		File: "mesh/address.go", Old: "(err != nil || a.IsLoopback())", New: "err != nil",
		Packages: meshTests, Tests: "TestAddressThatIsLost",
	},
	{
		Name: "net-no-link-local", Rule: "on a bare switch the link-local address of IPv4 is made known",
		File: "mesh/address.go", Old: "return a.IsLinkLocalUnicast() && a.Is4()", New: "return false",
		Packages: meshTests, Tests: "TestHostAddress",
	},
	{
		Name: "net-mdns-once", Rule: "mDNS starts when there is a network",
		File: "mesh/address.go", Old: "n.beacon.renew(n)", New: "",
		Packages: meshTests, Tests: "TestMulticastComes",
	},
	{
		Name: "net-place-forgotten", Rule: "a member is reached where it answered",
		File: "mesh/places.go", Old: "p.listed == listed && p.proved.IsValid()", New: "false",
		Packages: meshTests, Tests: "TestMemberIsReached|TestPlaces",
	},
	{
		Name: "net-name-wavers", Rule: "a name that still has the known address keeps it",
		File: "mesh/address.go", Old: "case slices.Contains(addrs, now.Addr()):", New: "case false:",
		Packages: meshTests, Tests: "TestAdvertisedName",
	},
	{
		Name: "net-segments-unbounded", Rule: "TCP keeps its segments as small as datagrams",
		File: "internal/link/segment.go", Old: "return c.Control(setMaxSegment)", New: "return nil",
		Packages: linkTests, Tests: "TestSegmentsAreBounded",
	},
	{
		Name: "net-handshake-of-two-seconds", Rule: "the handshake's time follows the profile",
		File: "mesh/profile.go", Old: "shake: 6 * time.Second", New: "shake: 2 * time.Second",
		Packages: meshTests, Tests: "TestLongRoundTrips",
	},
	{
		Name: "net-probes-in-a-hurry", Rule: "a sign of life is waited for as long as the way is",
		File: "internal/detect/params.go", Old: "min(max(p.ProbeTimeout, roundTrip*5/4), p.ProbeTimeout*19/10)", New: "p.ProbeTimeout",
		Packages: detectTests, Tests: "TestProbeWait",
	},
	{
		Name: "net-nat-idles", Rule: "a connection that only the other side can make is kept in use",
		File: "mesh/start.go", Old: "n.work.Go(n.keepReached)", New: "",
		Packages: meshTests, Tests: "TestBehindNAT",
	},
	{
		Name: "net-nat-deaf", Rule: "packets to a node behind NAT go where its own come from",
		File: "internal/link/peers.go", Old: "return s.packets\n", New: "return addr\n",
		Packages: meshTests, Tests: "TestBehindNAT",
	},
	{
		Name: "net-nat-repeats", Rule: "that a member is behind NAT, or reached only by others, is said once",
		File: "mesh/sync.go", Old: "told[m.ID] = true", New: "_ = told",
		Packages: meshTests, Tests: "TestBehindNAT|TestReachedThroughAThird",
	},
	{
		Name: "net-log-floods", Rule: "what the detector says once is not said again by memberlist",
		File: "mesh/logbridge.go", Old: "if strings.Contains(text, daily) {", New: "if strings.Contains(text, daily) && daily == \"\" {",
		Packages: meshTests, Tests: "TestLogBridge",
	},
	{
		Name: "net-strangers-untold", Rule: "a node of another mesh that dials is told of",
		File: "internal/link/secure.go", Old: "l.cfg.OnStranger(addrPort(raw.RemoteAddr()))", New: "_ = proto",
		Packages: meshTests, Tests: "TestMeshesThatDoNotFit",
	},
	{
		Name: "net-trouble-repeats", Rule: "a trouble is logged once",
		File: "mesh/troubles.go", Old: "return fresh, show", New: "return true, show",
		Packages: meshTests, Tests: "TestMeshesThatDoNotFit",
	},
	{
		Name: "net-shows-who-knocked-once", Rule: "one who knocks once does not belong here, and is no trouble",
		File: "mesh/troubles.go", Old: "t.at.Sub(t.first) >= lasts", New: "t.at.Sub(t.first) >= 0",
		Packages: meshTests, Tests: "TestTroubleIsShownOnceItLasts",
	},
	{
		Name: "net-trouble-stays", Rule: "a trouble that is not seen again ends",
		File: "mesh/sync.go", Old: "if n.troubles.expire() {", New: "if false {",
		Packages: meshTests, Tests: "TestMeshesThatDoNotFit",
	},
	{
		Name: "net-dead-seeds-untold", Rule: "a node that never met anybody says that its seeds do not answer",
		File: "mesh/seeds.go", Old: "n.uptime() < seedPatience ||", New: "n.uptime() > 0 ||",
		Packages: meshTests, Tests: "TestSeedsThatDoNotAnswer",
	},
	{
		Name: "net-relayed-is-down", Rule: "a member that others reach is not called down",
		File: "replica/health.go", Old: "case !m.Unreachable:", New: "case !m.Unreachable || m.ID != 0:",
		Packages: replicaTests, Tests: "TestMissingNodes",
	},
}
