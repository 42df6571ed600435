// Package monitor answers those who watch a node over HTTP: /metrics for Prometheus,
// /healthz for who starts processes anew that have failed, /readyz for who sends clients
// here. It serves nobody by itself: hand the Handler to a server of yours, on an
// address that only they reach, for it asks nobody who they are.
package monitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Checks say how a node is looked at. What is left out is taken to be well.
type Checks struct {
	// Alive tell, at once, why the process is of no more use and should be started
	// anew; nil if it is of use. Err of the node and of its store are meant. A node
	// that is alone, or whose peers are gone, is alive.
	Alive []func() error
	// Ready tell, each within half a second, why clients should not be sent here; nil
	// if they may. What is not alive is not ready either. Ready of the node is meant,
	// which waits until it has met others or has tried all that it knows of: a gateway
	// that is cut off serves what it has.
	Ready []func(context.Context) error
	// Metrics write metrics in the text format of Prometheus, one after the other into
	// the same answer: WriteMetrics of a node, of its store and of its Partition. Of
	// several nodes in one process each wants a handler of its own, as the format has
	// each name once.
	Metrics []func(io.Writer) error
}

// patience is how long a check of readiness may take: those who ask give up after a second,
// often, and are to hear the reason.
const patience = time.Second / 2

// Handler answers GET and HEAD of /metrics, /healthz and /readyz. The latter two say "ok"
// with code 200, or what is wrong with code 503, a line for each fault. When something
// cannot write its metrics the answer has code 500 and no metrics: half of them would
// pass for all. It may be used concurrently; metrics are written for one at a time.
func Handler(c Checks) http.Handler {
	turn := make(chan struct{}, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answerCheck(w, c.findFailed())
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { answerCheck(w, c.findUnready(r.Context())) })
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		select {
		case turn <- struct{}{}:
		case <-r.Context().Done(): // who asked has given up
			return
		}
		text, err := c.writeMetrics(turn)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(text) // who has gone needs no answer
	})
	return mux
}

// writeMetrics gives the turn back before the text is sent, so that who reads slowly holds
// up nobody.
func (c Checks) writeMetrics(turn <-chan struct{}) ([]byte, error) {
	defer func() { <-turn }()
	var text bytes.Buffer
	var faults []error
	for _, write := range c.Metrics {
		faults = append(faults, write(&text))
	}
	return text.Bytes(), errors.Join(faults...)
}

func (c Checks) findFailed() error {
	var faults []error
	for _, alive := range c.Alive {
		faults = append(faults, alive())
	}
	return errors.Join(faults...)
}

// findUnready asks all checks at the same time, so that one that hangs does not hide the
// others.
func (c Checks) findUnready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	faults := make([]error, len(c.Ready)+1)
	ended := make(chan struct{}, len(c.Ready))
	for i, ready := range c.Ready {
		go func() {
			defer func() { ended <- struct{}{} }()
			if faults[i] = ready(ctx); errors.Is(faults[i], context.DeadlineExceeded) {
				faults[i] = fmt.Errorf("not ready yet: %w", faults[i])
			}
		}()
	}
	for range c.Ready {
		<-ended
	}
	faults[len(c.Ready)] = c.findFailed()
	return errors.Join(faults...)
}

func answerCheck(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintln(w, err)
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}
