// Quickstart runs a mesh of five nodes in three zones, each a process of its
// own with its own disk, on this machine. It stores this host's telemetry in
// it while one node is killed, the network is cut in two, one disk is lost for
// good and one node is drained, and then audits the nodes' disks against its own
// journal of what was acknowledged. While the network is cut, and after, it looks
// who leads each side. In the end it wipes all disks, and three new nodes restore what was
// backed up meanwhile, which is held against the same journal.
//
//	go run ./examples/quickstart          tells the story
//	go run ./examples/quickstart -json    also prints the outcome as its last line
//
// The exit status is 0 only if nothing acknowledged was lost, nothing deleted
// came back, all copies are equal, each side of the cut had one leader on which its
// nodes agreed, and so had the whole after it, with no lower token, and
// all of it came back from the backups when every disk was wiped. -plant makes the audits
// prove that they can fail: drop-ack, revive, diverge and late each plant one fault
// that they must find.
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
	Acked       int   `json:"acked"`
	Lost        int   `json:"lost"`
	Resurrected int   `json:"resurrected"`
	Diverged    int   `json:"diverged"`
	DetectMS    int64 `json:"detect_ms"`  // kill until the last node no longer counted on the dead one
	RejoinMS    int64 `json:"rejoin_ms"`  // restart until every copy was up to date again
	MergeMS     int64 `json:"merge_ms"`   // heal until all five agreed on members and data
	HealedMS    int64 `json:"healed_ms"`  // start on a new disk until every copy was there again
	DrainedMS   int64 `json:"drained_ms"` // order to leave until the node had handed over all it held, and gone
	Conflicts   int   `json:"conflicts"`  // keys written on both sides of the cut
	WritesPerS  int   `json:"writes_per_s"`

	LeadersDuringCut []leader `json:"leaders_during_cut"` // who led each side when the cut healed
	LeadersAfter     []leader `json:"leaders_after"`      // who led all five after it

	Restored  int  `json:"restored"`   // items that came back from the backups after all disks were wiped
	RestoreOK bool `json:"restore_ok"` // the audit of the disks that hold them found nothing, and all backups read

	OK bool `json:"ok"`
}

// noOutcome is that of a story that has not begun: lists are empty, not null.
func noOutcome() outcome { return outcome{LeadersDuringCut: []leader{}, LeadersAfter: []leader{}} }

func main() {
	asJSON := flag.Bool("json", false, "print the outcome as one JSON object on the last line")
	plant := flag.String("plant", "", "plant a fault that the audit must find: drop-ack, revive, diverge or late")
	dir := flag.String("dir", "", "keep here what is left at the end: the backups, their identity, the new nodes' data (must be empty or absent); default: a temporary directory, removed at the end")
	node := flag.String("node", "", "used by the quickstart itself: be the node that this describes")
	flag.Parse()
	if *node != "" {
		os.Exit(runChild(*node))
	}
	if err := checkFlags(*plant, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 150*time.Second)
	defer cancel()

	out, err := tellStory(ctx, *dir, *plant)
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
	}
	if *asJSON {
		json.NewEncoder(os.Stdout).Encode(out)
	}
	if err != nil || !out.OK {
		stop()
		os.Exit(1)
	}
}

func checkFlags(plant string, rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("quickstart: unexpected argument %q; see -h", rest[0])
	}
	switch plant {
	case "", "drop-ack", "revive", "diverge", "late":
		return nil
	}
	return fmt.Errorf("quickstart: -plant=%s: want drop-ack, revive, diverge or late", plant)
}
