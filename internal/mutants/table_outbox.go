package main

const (
	fileOutbox      = "replica/outbox.go"
	fileOutboxDrain = "replica/outbox_drain.go"
	fileOutboxCore  = "internal/replicate/outbox.go"
)

// outbox: what a node that stores nothing keeps while it is out of reach (protocol B.5).
var outbox = []Mutant{
	{
		Name: "outbox-later-put-overtakes", Rule: "a write does not overtake an earlier one of its key that waits",
		File: fileOutbox, Old: "if !o.waits(ctx, key) {", New: "if !o.waits(ctx, key) || true {",
		Packages: replicaTests, Tests: "TestOutboxKeepsTheOrder",
	},
	{
		Name: "outbox-drops-an-equal", Rule: "what was accepted is not given up for its equal",
		File: fileOutboxCore, Old: "if c.priority >= priority {", New: "if c.priority > priority {",
		Packages: pkgReplicate + " " + replicaTests, Tests: "TestOutboxMakesRoom|TestOutboxFull|TestOutboxLikeItsModel",
	},
	{
		Name: "outbox-ignores-priority", Rule: "the highest priority goes out first",
		File: fileOutboxCore, Old: "for i := len(o.classes) - 1; i >= 0; i-- {", New: "for i := range o.classes {",
		Packages: pkgReplicate + " " + replicaTests, Tests: "TestOutboxDeliversByPriority|TestOutboxLikeItsModel",
	},
	{
		Name: "outbox-ages-by-the-wall-clock", Rule: "only time that the node has run makes an operation old (protocol 0.4)",
		File: fileOutboxDrain, Old: "return o.base + o.s.since() }", New: "return max(o.base, time.Duration(o.s.wall())*time.Millisecond) }",
		Packages: replicaTests, Tests: "TestOutboxAge",
	},
	{
		Name: "outbox-ages-begin-anew", Rule: "time that the node has run counts over restarts",
		File: "replica/outbox_open.go", Old: "o.base = max(o.base, accepted)", New: "accepted = 0",
		Packages: replicaTests, Tests: "TestOutboxAge",
	},
	{
		Name: "outbox-blind-write-covers-all", Rule: "a queued blind write replaces nothing that its client could not know (protocol B.5)",
		File: fileOutboxDrain, Old: "\tout, err := o.s.put(ctx, q)\n", New: "\tif len(rec.Ctx) == 0 {\n\t\tq.write.Seen = nil\n\t}\n\tout, err := o.s.put(ctx, q)\n",
		Packages: replicaTests, Tests: "TestOutboxDestroysNothing|TestOutboxSurvives",
	},
	{
		Name: "outbox-forgets-what-it-knew", Rule: "a queued write replaces what this node wrote before",
		File: fileOutbox, Old: "f, ok := o.known[key]\n", New: "f, ok := o.known[key]\n\tok = false\n",
		Packages: replicaTests, Tests: "TestOutboxDestroysNothing|TestOutboxContextHolds",
	},
	{
		Name: "outbox-concurrent-writes-replace-each-other", Rule: "what a client had not seen its write does not replace",
		File: fileOutbox, Old: "\tsees := after\n\tif blind {", New: "\tsees := after\n\tif blind || after == 0 {",
		Packages: replicaTests, Tests: "TestOutboxKeepsConcurrent",
	},
	{
		Name: "outbox-piles-up-siblings", Rule: "writes of one node do not become siblings of each other without end (protocol B.5)",
		File: fileOutboxDrain, Old: "left.all = reconcile.SeenOf(read.Item)", New: "_ = read",
		Packages: replicaTests, Tests: "TestOutboxOfManyCuts",
	},
	{
		Name: "outbox-follower-unaware", Rule: "a queued write replaces the one of its key that was on its way",
		File: fileOutboxDrain, Old: "if err != nil || left == nil {", New: "if true || err != nil || left == nil {",
		Packages: replicaTests, Tests: "TestOutboxFollowerReplaces",
	},
	{
		Name: "outbox-forgets-before-delivery", Rule: "an operation is deleted when a store has taken it, not before",
		File: fileOutboxDrain, Old: "if err != nil && !errors.Is(err, ErrDegraded) {", New: "if err != nil && !errors.Is(err, ErrDegraded) && ctx.Err() != nil {",
		Packages: replicaTests, Tests: "TestOutboxRefusedOperationHolds|TestOutboxKeepsTheOrder",
	},
	{
		Name: "outbox-acks-unsynced", Rule: "acknowledged means synced (protocol B.2)",
		File: fileOutbox, Old: "\tcase err = <-done:\n\t\treturn a.Op.Seq, o.s.diskError(\"queue\", err)\n\tcase <-ctx.Done():", New: "\tcase <-ran:\n\t\treturn a.Op.Seq, nil\n\tcase <-ctx.Done():",
		Packages: replicaTests, Tests: "TestOutboxCrash|TestOutboxFailedSync",
	},
	{
		Name: "outbox-waits-unseen", Rule: "what waits in an outbox is told, with what holds it up",
		File: fileOutbox, Old: "if st.OutboxOps > 0 && !o.s.layout.Load().meetsStores() {", New: "if false {",
		Packages: replicaTests, Tests: "TestHealthTellsWhatWaits",
	},
	{
		Name: "outbox-queued-untold", Rule: "a tool hears that a write waits in an outbox",
		File: "replica/admin_client.go", Old: "queued := m.Durable > 0 && m.Dot == version.Dot{}", New: "queued := m.Dot != m.Dot && m.Dot == version.Dot{}",
		Packages: replicaTests, Tests: "TestHealthTellsWhatWaits",
	},
}
