package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"
)

// errDied reports a request whose process ended before it replied: whether it
// took effect is not known.
var errDied = errors.New("the process ended before it replied")

// Node is one node of a Cluster, through all lives of its process. Put, Get and
// the methods that tell what it saw may be used concurrently.
type Node struct {
	Name string

	port int
	args []string // of the process
	log  string   // file with what the processes said of themselves

	mu     sync.Mutex
	proc   *process // nil while none runs
	states []State  // in all lives
	events []Event  // the same
}

// Put writes a value; it is acknowledged when the error is nil.
func (n *Node) Put(ctx context.Context, key, value string) error {
	_, err := n.sendRequest(ctx, Request{Op: "put", Key: key, Value: value})
	return err
}

// Get returns all concurrent values of each of the keys that has one.
func (n *Node) Get(ctx context.Context, keys []string) (map[string][]string, error) {
	r, err := n.sendRequest(ctx, Request{Op: "get", Keys: keys})
	return r.Values, err
}

// Move has the service that runs at the node go to another one.
func (n *Node) Move(ctx context.Context, to string) error {
	_, err := n.sendRequest(ctx, Request{Op: "move", Value: to})
	return err
}

func (n *Node) sendRequest(ctx context.Context, r Request) (Reply, error) {
	p := n.process()
	if p == nil {
		return Reply{}, errDied
	}
	reply, err := p.sendRequest(ctx, r)
	if err != nil {
		err = fmt.Errorf("%s of %s: %w", r.Op, n.Name, err)
	}
	return reply, err
}

func (n *Node) process() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc
}

// State returns what the node said last; its zero before it said anything.
func (n *Node) State() State {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.states) == 0 {
		return State{}
	}
	return n.states[len(n.states)-1]
}

// Since returns what the node saw from a time on: what it saw at that time, and
// every change.
func (n *Node) Since(at time.Time) []State {
	n.mu.Lock()
	defer n.mu.Unlock()
	first := 0
	for i, s := range n.states {
		if s.AtMS <= at.UnixMilli() {
			first = i
		}
	}
	return slices.Clone(n.states[first:])
}

func (n *Node) noteState(s State) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.states = append(n.states, s)
}

// Events returns what the node's work for the election "writer" did, in all lives
// of its process.
func (n *Node) Events() []Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.events)
}

func (n *Node) noteEvent(e Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, e)
}

// startProcess starts a process, which has seen nobody yet. died is told when it ends
// before quit or kill.
func (n *Node) startProcess(died func(error)) error {
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own
	cmd := exec.Command("ip", n.args...)
	cmd.Stderr = log
	// A paused process would outlive a test that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", n.Name, err)
	}
	p := &process{cmd: cmd, stdin: stdin, requests: make(chan Request), ended: make(chan struct{}), waiting: make(map[uint64]chan Reply)}
	n.mu.Lock()
	n.proc = p
	n.states = append(n.states, State{AtMS: time.Now().UnixMilli(), Node: n.Name})
	n.mu.Unlock()
	p.work.Go(p.writeRequests)
	p.work.Go(func() {
		p.readLines(stdout, n, func(err error) {
			n.noteEvent(Event{At: bootTime(), Kind: Died})
			if n.process() == p { // nobody ended it
				died(err)
			}
		})
	})
	return nil
}

// releaseProcess takes the process away from the node: its end is wanted.
func (n *Node) releaseProcess() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.proc
	n.proc = nil
	return p
}

// killProcess ends the process, if there is one, as a pulled plug would.
func (n *Node) killProcess() {
	if p := n.releaseProcess(); p != nil {
		p.killAndWait()
	}
}

// quitProcess has the node close, and tells whether it did so without fault.
func (n *Node) quitProcess(limit time.Duration) error {
	p := n.releaseProcess()
	if p == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	_, err := p.sendRequest(ctx, Request{Op: "quit"})
	select {
	case <-p.ended:
		p.work.Wait()
		return errors.Join(err, p.err)
	case <-ctx.Done():
		p.killAndWait()
		return fmt.Errorf("%s did not stop within %v", n.Name, limit)
	}
}

// process is one life of a node.
type process struct {
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	requests chan Request
	ended    chan struct{} // closed when the process is gone and its output is read
	err      error         // of its end; to be read after that
	work     sync.WaitGroup

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan Reply // nil when it has ended
}

func (p *process) killAndWait() {
	_ = p.cmd.Process.Kill() // fails only if it has ended
	p.work.Wait()
}

// line is any line that a node prints: a reply if it has an ID.
type line struct {
	Reply
	State
	EventLine
}

func (p *process) writeRequests() {
	enc := json.NewEncoder(p.stdin)
	for {
		select {
		case r := <-p.requests:
			_ = enc.Encode(r) // fails only when the process is dying, which read notices
		case <-p.ended:
			return
		}
	}
}

func (p *process) readLines(stdout io.Reader, n *Node, ended func(error)) {
	dec := json.NewDecoder(stdout)
	for {
		var l line
		if err := dec.Decode(&l); err == io.EOF {
			break
		} else if err != nil {
			_ = p.cmd.Process.Kill() // it is dying, or talks nonsense
			break
		}
		switch {
		case l.Event != nil:
			n.noteEvent(*l.Event)
			continue
		case l.ID == 0:
			n.noteState(l.State)
			continue
		}
		p.mu.Lock()
		reply := p.waiting[l.ID]
		delete(p.waiting, l.ID)
		p.mu.Unlock()
		if reply != nil {
			reply <- l.Reply // it has room for one
		}
	}
	p.err = p.cmd.Wait()
	p.mu.Lock()
	p.waiting = nil
	p.mu.Unlock()
	ended(p.err)
	close(p.ended)
}

// sendRequest sends a request and waits for the reply. errDied and the error of ctx
// leave open whether it took effect.
func (p *process) sendRequest(ctx context.Context, r Request) (Reply, error) {
	reply := make(chan Reply, 1)
	p.mu.Lock()
	if p.waiting == nil {
		p.mu.Unlock()
		return Reply{}, errDied
	}
	p.next++
	r.ID = p.next
	p.waiting[r.ID] = reply
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, r.ID)
		p.mu.Unlock()
	}()
	select {
	case p.requests <- r:
	case <-p.ended:
		return Reply{}, errDied
	case <-ctx.Done():
		return Reply{}, ctx.Err()
	}
	select {
	case a := <-reply:
		if a.Err != "" {
			return a, errors.New(a.Err)
		}
		return a, nil
	case <-p.ended:
		return Reply{}, errDied
	case <-ctx.Done():
		return Reply{}, ctx.Err()
	}
}
