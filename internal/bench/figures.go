package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/skeinmesh/skein/internal/bench/load"
)

// cell is one measurement of one system, repeated in every round.
type cell struct {
	system  string
	op      string
	level   string
	clients int
}

func (c cell) String() string {
	name := c.op
	if c.level != "" {
		name += " " + c.level
	}
	switch {
	case c.clients == 1:
		name += ", 1 client"
	case c.clients > 1:
		name = fmt.Sprintf("%s, %d clients", name, c.clients)
	}
	return c.system + ": " + name
}

func putCell(system string, clients int) cell { return cell{system, load.OpPut, "", clients} }
func getCell(system, level string) cell       { return cell{system, load.OpGet, level, 64} }
func batchCell(system string) cell            { return cell{system, load.OpBatch, "", 1} }
func listCell(system string) cell             { return cell{system, load.OpList, "", 1} }
func watchingCell(system string) cell         { return cell{system, load.OpWatch, "", 64} }
func memoryCell(system string) cell           { return cell{system, load.OpMemory, "", 0} }

// figure is one line of the report: a budget and how it is measured.
type figure struct {
	name, what string
	must       float64 // 0: none is set
	aim        float64 // 0: none is set
	larger     bool    // larger is better
	measure    measure
}

func (f figure) meetsGoal(value, goal float64) bool {
	if f.larger {
		return value >= goal
	}
	return value <= goal
}

// failsMust tells whether a value is below the must, if there is one.
func (f figure) failsMust(value float64) bool { return f.must != 0 && !f.meetsGoal(value, f.must) }

// measure says what must be run for a figure and how the figure follows.
type measure interface {
	neededCells() []cell
	computeValue(results) (float64, error)
}

// metric reads one number out of a result.
type metric func(load.Result) float64

func opsPerSecond(r load.Result) float64    { return r.OpsPerSecond }
func medianLatency(r load.Result) float64   { return r.P50 }
func heapPerLiveByte(r load.Result) float64 { return float64(r.HeapBytes) / float64(r.LiveBytes) }

// ratio is the median over the rounds of one cell's metric over another's.
type ratio struct {
	of, to cell
	metric metric
	after  []cell // loads that must have run before
}

func (m ratio) neededCells() []cell { return append(slices.Clone(m.after), m.of, m.to) }

func (m ratio) computeValue(all results) (float64, error) {
	of, err := all.series(m.of, m.metric)
	if err != nil {
		return 0, err
	}
	to, err := all.series(m.to, m.metric)
	if err != nil {
		return 0, err
	}
	return median(ratios(of, to))
}

// cpuRatio is the same ratio told by CPU time per operation, the other way round: how
// many operations of one the CPU time of another's would pay for. On a host that
// others use it stays truer than rates do.
func (m ratio) cpuRatio(all results) (float64, error) {
	return ratio{of: m.to, to: m.of, metric: func(r load.Result) float64 { return r.CPUPerOp }}.computeValue(all)
}

// wear is what each put made each copy write to its disk. It sums up all
// rounds: a compaction falls into whichever round happens to fill a table.
type wear struct{ cell cell }

func (m wear) neededCells() []cell { return []cell{m.cell} }

func (m wear) computeValue(all results) (float64, error) {
	if fault := all.faultOf(m.cell); fault != nil {
		return 0, fault
	}
	var bytes, puts float64
	for _, r := range all.rounds[m.cell] {
		bytes += float64(r.WriteBytes)
		puts += float64(r.WriteOps)
	}
	copies := all.hello[m.cell.system].Copies
	if puts == 0 || copies == 0 {
		return 0, errNothingMeasured
	}
	return bytes / puts / float64(copies), nil
}

// once is a value that one run yields, by name: the worst of the nodes when
// several were asked.
type once struct {
	cell cell
	name string
}

func (m once) neededCells() []cell { return []cell{m.cell} }

func (m once) computeValue(all results) (float64, error) {
	if fault := all.faultOf(m.cell); fault != nil {
		return 0, fault
	}
	worst, found := math.Inf(-1), false
	for _, r := range all.rounds[m.cell] {
		if value, ok := r.Extra[m.name]; ok {
			worst, found = max(worst, value), true
		}
	}
	if !found {
		return 0, errNothingMeasured
	}
	return worst, nil
}

// The cells that are run once, outside the rounds.
var (
	placementCell = cell{"skein", load.OpExtra, "placement", 0}
	idleCell      = cell{"skein", "idle", "", 0}
	binaryCell    = cell{"skein", "binary", "", 0}
	entropyCell   = cell{"skein", "ae", "", 0}
	healCell      = cell{"skein", "heal", "", healClients}
	largeCell     = cell{"skein", "large", "", 0}
	scanCell      = cell{"skein", "scan", "", 0}
	watchCell     = cell{"skein", "watch", "", 0}
)

// workshopCells set up the nodes that they need by themselves.
func workshopCells() []cell { return []cell{entropyCell, healCell, largeCell, scanCell, watchCell} }

func foundFor(keys string) string {
	return "bytes for two stores of 10^6 keys (-quick: 10^5) to find " + keys + " of which both hold different versions, " +
		"over their number: all calls of the comparison, both ways, with frames and TLS, without those that carry items"
}

// figures returns the budgets in the order of the report.
func figures() []figure {
	return []figure{
		{"put_durable_vs_nats_sync", "durable put/s, 64 clients, over NATS R3 SyncAlways", 2, 4, true,
			ratio{putCell("skein", 64), putCell("nats-sync", 64), opsPerSecond, nil}},
		{"put_durable_vs_olric_mem", "durable put/s, 64 clients, over Olric's 3 memory copies", 0.5, 1, true,
			ratio{putCell("skein", 64), putCell("olric", 64), opsPerSecond, nil}},
		{"put_p50_vs_fdatasync", "durable put p50, 1 client, over one write+fdatasync", 4, 2.5, false,
			ratio{putCell("skein", 1), putCell("raw", 1), medianLatency, nil}},
		{"put_many_vs_put", "durable puts/s of one client in batches of 64, over one by one", 3, 0, true,
			ratio{batchCell("skein"), putCell("skein", 1), opsPerSecond, nil}},
		{"put_many_vs_put_64", "the same, over 64 clients one by one", 0, 1, true,
			ratio{batchCell("skein"), putCell("skein", 64), opsPerSecond, nil}},
		{"get_one_vs_redis", "get One/s on a home, 64 clients, over Redis GET", 2, 5, true,
			ratio{getCell("skein", load.LevelOne), getCell("redis", load.LevelOne), opsPerSecond, nil}},
		{"get_quorum_vs_olric", "get quorum of 2/s, 64 clients, over Olric R3 with ReadQuorum 2", 1.2, 1.6, true,
			ratio{getCell("skein", load.LevelQuorum), getCell("olric", load.LevelQuorum), opsPerSecond, nil}},
		{"heap_vs_olric", "heap per live byte after load, over Olric's", 0.2, 0.1, false,
			ratio{memoryCell("skein"), memoryCell("olric"), heapPerLiveByte, []cell{putCell("skein", 64), putCell("olric", 64)}}},
		{"disk_bytes_per_put_64", "bytes each copy writes to disk per durable put, 64 clients", 12 << 10, 4 << 10, false,
			wear{putCell("skein", 64)}},
		{"moved_vs_ideal_join", "copies moved when a node joins, over the ideal", 1.3, 1.05, false,
			once{placementCell, "join"}},
		{"moved_vs_ideal_leave", "copies moved when a node leaves, over the ideal", 1.3, 1.05, false,
			once{placementCell, "leave"}},
		{"idle_rss_mib", "RSS of an idle node, MiB", 40, 25, false, once{idleCell, "rss_mib"}},
		{"idle_gossip_Bps", "bytes/s an idle node sends", 1000, 500, false, once{idleCell, "sent_Bps"}},
		{"idle_cpu_pct", "CPU of an idle node, % of a core", 0.5, 0.2, false, once{idleCell, "cpu_pct"}},
		{"ae_bytes_per_diff_key_10", foundFor("10"), 150, 100, false, once{entropyCell, "bytes_per_key_10"}},
		{"ae_bytes_per_diff_key_100", foundFor("100"), 150, 100, false, once{entropyCell, "bytes_per_key_100"}},
		{"ae_bytes_per_diff_key_1000", foundFor("1000"), 150, 100, false, once{entropyCell, "bytes_per_key_1000"}},
		{"ae_rtt", "calls one after another, without those that carry items, until two stores know which 100 keys differ, as they do when the last of these items are called for", 0, 3, false,
			once{entropyCell, "rtt"}},
		{"ae_vs_merkle", "bytes with which hash trees find the same keys, over those of ae_bytes_per_diff_key; the worst of the three", 0, 8, true,
			once{entropyCell, "vs_merkle"}},
		{"heal_mb_per_s", "values that come to a new store in the place of a lost one, from its start until all are there, MB/s", 0, 0, true,
			once{healCell, "mb_per_s"}},
		{"put_p99_during_heal_ratio", "p99 of 400 put/s of 16 clients while a lost store is healed, over that without; each node in a process of its own", 3, 1.5, false,
			once{healCell, "put_p99_ratio"}},
		{"large_goodput_ratio", "acknowledged 1 MiB values/s of three nodes, each in a process of its own, with 4, 64 and 200 clients, the median of three rounds in turn: the worst over the best", 0.8, 0.9, true,
			once{largeCell, "goodput_ratio"}},
		{"large_peak_rss_mib", "the most memory that one of these nodes held, MiB", 160, 0, false, once{largeCell, "peak_mib"}},
		{"scan_keys_per_s", "keys/s of a scan at the one store that holds them", 100_000, 0, true, once{scanCell, "one_keys_per_s"}},
		{"scan_keys_per_s_5", "keys/s of a scan over five stores at the default level, all in one process", 50_000, 0, true, once{scanCell, "five_keys_per_s"}},
		{"scan_vs_olric", "lists of all keys/s, of three nodes, over Olric's Scan with pages of 1000", 1, 0, true,
			ratio{listCell("skein"), listCell("olric"), opsPerSecond, nil}},
		{"scan_vs_nats", "lists of all keys/s, of three nodes, over ListKeys of NATS KV", 0, 1, true,
			ratio{listCell("skein"), listCell("nats"), opsPerSecond, nil}},
		{"watch_events_per_s", "changes/s that ten watchers of all keys are told of together, until each was told of each of the puts of 64 clients", 0, 0, true, once{watchCell, "events_per_s"}},
		{"watch_events_vs_puts", "the same over the puts/s meanwhile", 1, 9, true, once{watchCell, "events_vs_puts"}},
		{"put_beside_1000_watchers", "put/s while a thousand watch a thousandth of the keys each, over that while nobody does", 0.9, 0.97, true,
			once{watchCell, "puts_beside_1000"}},
		{"watch_vs_nats_kv", "changes/s that ten watchers of all keys are told of while 64 clients put, over NATS KV (not synced)", 1, 0, true,
			ratio{watchingCell("skein"), watchingCell("nats"), opsPerSecond, nil}},
		{"binary_mb", "stripped binary with everything, MB", 32, 0, false, once{binaryCell, "mb"}},
	}
}

// contextCells are measured beside the figures for a reader's judgement.
func contextCells() []cell {
	return []cell{
		putCell("nats", 64), putCell("redis", 64),
		putCell("nats-sync", 1), putCell("olric", 1),
		getCell("nats", load.LevelOne),
		memoryCell("nats"), memoryCell("nats-sync"), memoryCell("redis"),
	}
}
