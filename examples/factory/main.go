// Factory is a factory with five edge nodes, each a process of its own with its own disk, on
// this machine, and two services with a plan each: production monitoring, which runs at one node
// of all, and quality control, which goes on in each part of a cut factory. A pump fails, a
// drill is held, nodes are killed, and line A is cut off; both services run on elsewhere.
// Two policies back up what they write to three tiers all the while.
//
//	go run ./examples/factory          tells the story
//	go run ./examples/factory -json    also prints the outcome as its last line
//
// The exit status is 0 only if all of it went as it should: production monitoring never ran at
// two nodes at once, the drill passed, nothing that was written down when the pump failed
// was missing at the end, and each policy has made backups at each of its tiers, all of which read.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// outcome is what -json prints.
type outcome struct {
	Failovers    int   `json:"failovers"`     // of production monitoring, after a kill or a cut
	P50MS        int64 `json:"p50_ms"`        // kill or cut until it was verified elsewhere
	MaxMS        int64 `json:"max_ms"`        //
	DoubleStarts int   `json:"double_starts"` // pairs of its runs that overlap
	UnservedMS   int64 `json:"unserved_ms"`   // in which it was verified nowhere, moves and the drill included

	Backups       int `json:"backups"`        // made, by all policies at all tiers
	BackupsFailed int `json:"backups_failed"` // policies by which none was made at a tier, and last tries that failed

	OK bool `json:"ok"`
}

func main() {
	asJSON := flag.Bool("json", false, "print the outcome as one JSON object on the last line")
	node := flag.String("node", "", "used by the factory itself: be the node that this describes")
	flag.Parse()
	if *node != "" {
		os.Exit(runChild(*node))
	}
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "factory: unexpected argument %q; see -h\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()

	out, err := tellStory(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "factory:", err)
	}
	if *asJSON {
		json.NewEncoder(os.Stdout).Encode(out)
	}
	if !out.OK {
		cancel()
		stop()
		os.Exit(1)
	}
}
