package mesh

import (
	"bytes"
	"context"
	"runtime/pprof"
	"strconv"
	"time"
)

const labelKey = "skein-gossip"

// runLabelled runs fn; goroutines that it starts, and those that they start,
// carry the label.
func runLabelled(label string, fn func()) {
	pprof.Do(context.Background(), pprof.Labels(labelKey, label), func(context.Context) { fn() })
}

// awaitLabelledEnd waits until no goroutine carries the label any more, or patience
// runs out. Memberlist's Shutdown only signals its goroutines; one that
// probes goes on until its probe times out. Their labels are the only thing
// by which they can be told from outside.
func awaitLabelledEnd(label string, patience time.Duration) {
	text := []byte(strconv.Quote(labelKey) + ":" + strconv.Quote(label))
	pause := time.Millisecond
	for waited := time.Duration(0); waited < patience; waited += pause {
		var profile bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil || !bytes.Contains(profile.Bytes(), text) {
			return
		}
		pause = min(2*pause, 250*time.Millisecond)
		time.Sleep(pause)
	}
}
