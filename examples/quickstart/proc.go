package main

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

// errDied reports a request whose process ended before it answered: whether
// it took effect is not known.
var errDied = errors.New("the node's process died before it answered")

// proc is a node's process as the parent sees it.
type proc struct {
	plan  plan
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{} // closed when the process is gone and its output read

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan answer
	dead    bool
	outbox  chan request
}

// startProcess runs this program again as the node that p describes. Its unasked
// events go to seen, in order.
func startProcess(p plan, seen func(plan, event)) (*proc, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(p)
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
		return nil, fmt.Errorf("start node %s: %w", p.Name, err)
	}
	pr := &proc{plan: p, cmd: cmd, stdin: stdin, ended: make(chan struct{}),
		waiting: make(map[uint64]chan answer), outbox: make(chan request)}
	go pr.readAnswers(stdout, seen)
	go pr.writeRequests()
	return pr, nil
}

func (p *proc) writeRequests() {
	out := json.NewEncoder(p.stdin)
	for {
		select {
		case r := <-p.outbox:
			out.Encode(r) // fails only when the process is dying, which read notices
		case <-p.ended:
			return
		}
	}
}

func (p *proc) readAnswers(stdout io.Reader, seen func(plan, event)) {
	defer close(p.ended)
	dec := json.NewDecoder(bufio.NewReaderSize(stdout, 1<<16))
	for {
		var a answer
		if err := dec.Decode(&a); err != nil {
			break
		}
		if a.Event != nil {
			seen(p.plan, *a.Event)
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

// sendRequest sends a request and waits for its answer. A refusal by the node is an
// error; errDied and the context's error leave the outcome open.
func (p *proc) sendRequest(ctx context.Context, r request) (answer, error) {
	reply := make(chan answer, 1)
	p.mu.Lock()
	if p.dead {
		p.mu.Unlock()
		return answer{}, errDied
	}
	p.next++
	r.ID = p.next
	p.waiting[r.ID] = reply
	p.mu.Unlock()
	select {
	case p.outbox <- r:
	case <-p.ended:
		return answer{}, errDied
	}
	select {
	case a, open := <-reply:
		if !open {
			return answer{}, errDied
		}
		if a.Err != "" {
			return a, errors.New(a.Err)
		}
		return a, nil
	case <-ctx.Done():
		p.mu.Lock()
		delete(p.waiting, r.ID)
		p.mu.Unlock()
		return answer{}, ctx.Err()
	}
}

// killAndWait ends the process as a pulled plug would.
func (p *proc) killAndWait() {
	p.cmd.Process.Kill()
	<-p.ended
}

// closeNode asks the node to close, and kills it when it takes too long.
func (p *proc) closeNode() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := p.sendRequest(ctx, request{Op: "quit"})
	p.stdin.Close()
	select {
	case <-p.ended:
	case <-ctx.Done():
		p.killAndWait()
		return fmt.Errorf("node %s did not stop", p.plan.Name)
	}
	return err
}
