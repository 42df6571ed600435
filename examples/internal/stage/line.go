package stage

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Line is a node's end of the line to the parent. All methods may be used concurrently.
type Line[Q, A, E any] struct {
	mu  sync.Mutex // one line at a time; the parent always reads
	out *json.Encoder
}

// NewLine returns the line that is written to out.
func NewLine[Q, A, E any](out io.Writer) *Line[Q, A, E] {
	return &Line[Q, A, E]{out: json.NewEncoder(out)}
}

// Tell tells the parent something unasked.
func (l *Line[Q, A, E]) Tell(e E) { l.sendLine(answer[A, E]{Event: &e}) }

func (l *Line[Q, A, E]) sendLine(a answer[A, E]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out.Encode(a) // fails only when the parent is gone, which Answer notices
}

// Answer answers requests, each on its own goroutine, until the parent is gone or asks the
// node to quit. It waits for those under way, whose context has ended then.
func (l *Line[Q, A, E]) Answer(ctx context.Context, in io.Reader, reply func(context.Context, Q) (A, error)) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	dec := json.NewDecoder(bufio.NewReaderSize(in, 1<<16))
	for {
		var r request[Q]
		if err := dec.Decode(&r); err == io.EOF {
			return nil // the parent is gone
		} else if err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
		if r.Quit {
			l.sendLine(answer[A, E]{ID: r.ID})
			return nil
		}
		wg.Go(func() {
			say, err := reply(ctx, r.Ask)
			a := answer[A, E]{ID: r.ID, Say: &say}
			if err != nil {
				a = answer[A, E]{ID: r.ID, Err: err.Error()}
			}
			l.sendLine(a)
		})
	}
}
