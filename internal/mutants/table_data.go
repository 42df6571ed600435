package main

// data is what stores hold of wrong clocks, and of members and clients that lie.
var data = []Mutant{
	{
		Name: "clock-behind-dates", Rule: "a clock that is behind dates nothing where the median is known",
		File: fileClock, Old: "	case own < lower-maxSkew:\n", New: "	case false:\n",
		Packages: pkgReconcile + " " + replicaTests, Tests: "TestPeersClocks|TestWrongClockEndsNoValueEarly",
	},
	{
		Name: "ttl-from-ones-own-clock", Rule: "a value lives for its TTL by the latest that it may be",
		File: "internal/reconcile/local.go", Old: "max(w.clock.Now(now), p.Late).Add(p.TTL)", New: "w.clock.Now(now).Add(p.TTL)",
		Packages: replicaTests, Tests: "TestWrongClockEndsNoValueEarly|TestTwoClocksApart",
	},
	{
		Name: "reader-ends-values-by-its-own-clock", Rule: "a value has ended by the earliest that it may be",
		File: "replica/bucket.go", Old: "read.Replies, s.clocks.early())", New: "read.Replies, s.now())",
		Packages: replicaTests, Tests: "TestWrongClockEndsNoValueEarly",
	},
	{
		Name: "clock-of-a-start-ends-values", Rule: "a store that knows no clock yet asks before it dates the end of a value",
		File: "replica/put.go", Old: "	if q.write.TTL > 0 {\n", New: "	if false {\n",
		Packages: replicaTests, Tests: "TestStartedWithAnOldClock",
	},
	{
		Name: "clock-of-a-start-ends-values-of-others", Rule: "a store that knows no clock yet asks before it dates the end of a value, for others too",
		File: "replica/put.go", Old: " && (q.write.TTL == 0 || len(s.unread()) == 0)", New: "",
		Packages: replicaTests, Tests: "TestStartedWithAnOldClock",
	},
	{
		Name: "clock-that-was-ahead-stays-ahead", Rule: "readings of a clock that was wrong do not date what comes after",
		File: fileClock, Old: "	if c.last > now.Add(c.maxSkew) {\n", New: "	if false {\n",
		Packages: pkgReconcile + " " + replicaTests, Tests: "TestCorrectedClock|TestClockThatWasAhead",
	},
	{
		Name: "clocks-of-the-dead-are-forgotten", Rule: "that the others are gone does not make a wrong clock a right one",
		File: "replica/clocks.go", Old: "in = append(in, away...)", New: "_ = away",
		Packages: replicaTests, Tests: "TestAheadAndAlone",
	},
	{
		Name: "anybody-merges", Rule: "only stores say to each other what stores say",
		File: "replica/serve.go", Old: "!stores && !open {", New: "false && !stores && !open {",
		Packages: replicaTests, Tests: "TestOnlyStoresSay",
	},
	{
		Name: "message-takes-any-memory", Rule: "a message takes at most four times its size in memory",
		File: "internal/wire/replica_codec.go", Old: "freeMemory; u.held > most {", New: "freeMemory; false && u.held > most {",
		Packages: "./internal/wire", Tests: "TestMemoryOfMessages",
	},
	{
		Name: "new-client-waits-for-the-layout", Rule: "a node that stores nothing is served as soon as it has joined",
		File: "replica/serve.go", Old: "!member && !(open && s.isNewClient(from))", New: "!member",
		Packages: replicaTests, Tests: "TestNewClientIsServedAtOnce",
	},
	{
		Name: "computed-name-opens-a-bucket", Rule: "a bucket's id opens only its own data",
		File: "replica/buckets.go", Old: "b != nil && !bytes.Equal(", New: "false && !bytes.Equal(",
		Packages: replicaTests, Tests: "TestComputedBucketName",
	},
	{
		Name: "forged-context-counts", Rule: "a context that a client has made up is refused",
		File: "internal/wire/context.go", Old: "body < 0 || !hmac.Equal(", New: "body < 0 || false && !hmac.Equal(",
		Packages: replicaTests, Tests: "TestForgedContext",
	},
	{
		Name: "last-date-ends-a-key", Rule: "a key that is dated at the end of time can be written and deleted",
		File: "internal/reconcile/local.go", Old: "	case !ok:\n		hlc = floor", New: "	case !ok:\n		return Wrote{}, ErrDate",
		Packages: replicaTests, Tests: "TestLastDate",
	},
	{
		Name: "context-counts-where-it-is-known", Rule: "a write replaces all that its client has seen, also what nobody in reach knows",
		File: "internal/reconcile/local.go", Old: "	ctx := l.Ctx.Join(seen.Ctx)\n", New: "	ctx := l.Ctx\n",
		Packages: replicaTests, Tests: "TestContextCrossesACut",
	},
	{
		Name: "others-are-said-to-say", Rule: "Health cites others only where there are some, and once they can know",
		File: "replica/witness.go", Old: "	case !slices.ContainsFunc(all, witness):\n", New: "	case false && !slices.ContainsFunc(all, witness):\n",
		Packages: replicaTests, Tests: "TestHealthTellsOfABrokenLink",
	},
}
