package stage

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// ErrDied reports a request whose process ended before it answered: whether
// it took effect is not known.
var ErrDied = errors.New("the node's process died before it answered")

// request and answer are the lines that a parent and a node's process write. Requests overlap;
// answers name theirs.
type request[Q any] struct {
	ID   uint64 `json:"id"`
	Quit bool   `json:"quit,omitempty"`
	Ask  Q      `json:"ask"`
}

type answer[A, E any] struct {
	ID    uint64 `json:"id,omitempty"`
	Err   string `json:"err,omitempty"`
	Say   *A     `json:"say,omitempty"`
	Event *E     `json:"event,omitempty"` // unasked
}

// Process is a node's process as the parent sees it: it is asked Q, answers A, and tells E
// unasked. All methods may be used concurrently.
type Process[Q, A, E any] struct {
	Role  Role
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{} // closed when the process is gone and its output read

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan answer[A, E]
	dead    bool
	outbox  chan request[Q]
}

// StartProcess runs this program again as the node that r describes. Its unasked
// events go to seen, in order.
func StartProcess[Q, A, E any](r Role, seen func(Role, E)) (*Process[Q, A, E], error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-node", string(text))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start node %s: %w", r.Name, err)
	}
	p := &Process[Q, A, E]{Role: r, cmd: cmd, stdin: stdin, ended: make(chan struct{}),
		waiting: make(map[uint64]chan answer[A, E]), outbox: make(chan request[Q])}
	go p.readAnswers(stdout, seen)
	go p.writeRequests()
	return p, nil
}

func (p *Process[Q, A, E]) writeRequests() {
	out := json.NewEncoder(p.stdin)
	for {
		select {
		case r := <-p.outbox:
			out.Encode(r) // fails only when the process is dying, which readAnswers notices
		case <-p.ended:
			return
		}
	}
}

func (p *Process[Q, A, E]) readAnswers(stdout io.Reader, seen func(Role, E)) {
	defer close(p.ended)
	dec := json.NewDecoder(bufio.NewReaderSize(stdout, 1<<16))
	for {
		var a answer[A, E]
		if err := dec.Decode(&a); err != nil {
			break
		}
		if a.Event != nil {
			seen(p.Role, *a.Event)
			continue
		}
		p.mu.Lock()
		reply := p.waiting[a.ID]
		delete(p.waiting, a.ID)
		p.mu.Unlock()
		if reply != nil {
			reply <- a
		}
	}
	p.cmd.Wait()
	p.mu.Lock()
	p.dead = true
	for _, reply := range p.waiting {
		close(reply)
	}
	clear(p.waiting)
	p.mu.Unlock()
}

// Ask sends a request and waits for its answer. A refusal by the node is an
// error; ErrDied and the context's error leave the outcome open.
func (p *Process[Q, A, E]) Ask(ctx context.Context, ask Q) (A, error) {
	return p.sendRequest(ctx, request[Q]{Ask: ask})
}

func (p *Process[Q, A, E]) forgetRequest(id uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, id)
}

func (p *Process[Q, A, E]) sendRequest(ctx context.Context, r request[Q]) (say A, err error) {
	reply := make(chan answer[A, E], 1)
	p.mu.Lock()
	if p.dead {
		p.mu.Unlock()
		return say, ErrDied
	}
	p.next++
	r.ID = p.next
	p.waiting[r.ID] = reply
	p.mu.Unlock()
	select {
	case p.outbox <- r:
	case <-p.ended:
		return say, ErrDied
	case <-ctx.Done():
		p.forgetRequest(r.ID)
		return say, ctx.Err()
	}
	select {
	case a, open := <-reply:
		if !open {
			return say, ErrDied
		}
		if a.Say != nil {
			say = *a.Say
		}
		if a.Err != "" {
			return say, errors.New(a.Err)
		}
		return say, nil
	case <-ctx.Done():
		p.forgetRequest(r.ID)
		return say, ctx.Err()
	}
}

// Kill ends the process as a pulled plug would.
func (p *Process[Q, A, E]) Kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// Close asks the node to close, and kills it when it takes too long.
func (p *Process[Q, A, E]) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := p.sendRequest(ctx, request[Q]{Quit: true})
	p.stdin.Close()
	select {
	case <-p.ended:
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("node %s did not stop", p.Role.Name)
	}
	return err
}
