// Package load is what every benchmarked system has in common: the line
// protocol between the driver and a peer process, the closed-loop load
// generator, and the readings of what a run cost. It uses the standard library
// only, so that a peer's binary holds the peer and nothing of another.
package load

import "time"

// Hello is the first line a peer process prints, when its nodes are ready.
type Hello struct {
	System  string `json:"system"`
	Version string `json:"version"`
	// Copies is how many copies of an item the peer's disks hold in all.
	Copies int `json:"copies"`
	// Config is the configuration the peer was started with.
	Config any `json:"config,omitempty"`
	// Absent, when not empty, says why this system cannot be measured here.
	Absent string `json:"absent,omitempty"`
}

// The operations a Command may ask for.
const (
	OpFill   = "fill"   // put every key once
	OpPut    = "put"    // overwrite random keys for Duration
	OpBatch  = "batch"  // as OpPut, BatchSize keys at a time; each counts as an operation
	OpGet    = "get"    // read random keys for Duration, at Level
	OpList   = "list"   // list all keys, again and again for Duration
	OpWatch  = "watch"  // overwrite random keys for Duration, while ten watch all keys
	OpVerify = "verify" // compare keys as read through different nodes
	OpMemory = "memory" // collect garbage, then report heap and RSS
	OpExtra  = "extra"  // a measurement of the peer's own, chosen by Level
)

// BatchSize is how many keys OpBatch writes at a time.
const BatchSize = 64

// The read levels of OpGet.
const (
	LevelOne    = "one"    // one copy answers
	LevelQuorum = "quorum" // two copies must agree
)

// Command is one line from the driver.
type Command struct {
	Op       string        `json:"op"`
	Level    string        `json:"level,omitempty"`
	Clients  int           `json:"clients,omitempty"`
	Keys     int           `json:"keys,omitempty"`
	Size     int           `json:"size,omitempty"`
	Duration time.Duration `json:"duration_ns,omitempty"`
	// Profile is a file for a CPU profile of the measured part of a load.
	Profile string `json:"profile,omitempty"`
}

// Result is one line to the driver. Fields that the operation does not
// measure are zero.
type Result struct {
	// Error is set when the command could not be carried out at all.
	Error string `json:"error,omitempty"`

	Ops          int64  `json:"ops,omitempty"`
	Failed       int64  `json:"failed,omitempty"`
	FirstFailure string `json:"first_failure,omitempty"`

	OpsPerSecond float64 `json:"ops_per_s,omitempty"`
	P50          float64 `json:"p50_us,omitempty"`
	P99          float64 `json:"p99_us,omitempty"`
	CPUPerOp     float64 `json:"cpu_us_per_op,omitempty"`

	// WriteBytes is what the peer's processes caused to be written to disk
	// during the load and until they were quiet again; WriteOps is how many
	// operations, the warm-up's included, caused it.
	WriteBytes int64 `json:"write_bytes,omitempty"`
	WriteOps   int64 `json:"write_ops,omitempty"`

	HeapBytes int64 `json:"heap_bytes,omitempty"`
	LiveBytes int64 `json:"live_bytes,omitempty"`
	RSSBytes  int64 `json:"rss_bytes,omitempty"`

	// Extra holds the values of an OpExtra measurement by name.
	Extra map[string]float64 `json:"extra,omitempty"`
}
