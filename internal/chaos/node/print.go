package main

import (
	"encoding/json"
	"io"
	"reflect"
	"time"

	"github.com/skeinmesh/skein/internal/chaos"
)

// printer is the one goroutine that writes to the parent, and what it writes.
type printer struct {
	lines chan func(enc *json.Encoder, last *chaos.State)
	done  chan struct{}
}

func newPrinter(name string, out io.Writer) *printer {
	p := &printer{lines: make(chan func(*json.Encoder, *chaos.State)), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		enc, last := json.NewEncoder(out), chaos.State{Node: name}
		for line := range p.lines {
			line(enc, &last)
		}
	}()
	return p
}

// closeAndWait waits until all is written. Nothing may be printed after it.
func (p *printer) closeAndWait() {
	close(p.lines)
	<-p.done
}

// printReply prints a reply. That fails only when the parent is gone, which ends the
// standard input, too.
func (p *printer) printReply(r chaos.Reply) {
	p.lines <- func(enc *json.Encoder, _ *chaos.State) { _ = enc.Encode(r) }
}

// printEvent prints an Event.
func (p *printer) printEvent(e chaos.Event) {
	p.lines <- func(enc *json.Encoder, _ *chaos.State) { _ = enc.Encode(chaos.EventLine{Event: &e}) }
}

// printChange changes what was printed of the node's state last, and prints it if
// that makes a difference. Each source of news has its own fields to change.
func (p *printer) printChange(change func(*chaos.State)) {
	p.lines <- func(enc *json.Encoder, last *chaos.State) {
		next := *last
		change(&next)
		if reflect.DeepEqual(next, *last) {
			return
		}
		next.AtMS = time.Now().UnixMilli()
		*last = next
		_ = enc.Encode(next)
	}
}
