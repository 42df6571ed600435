package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/skeinmesh/skein/internal/bench/load"
)

// process is one running peer. It answers one command at a time.
type process struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan []byte // closed when the peer's output ends
	stderr *tail
}

// startPeer starts a peer's binary; it says hello when its nodes are ready.
func startPeer(name, binary string, args ...string) (*process, error) {
	argv := append(pinned(), binary)
	argv = append(argv, args...)
	p := &process{name: name, cmd: exec.Command(argv[0], argv[1:]...), lines: make(chan []byte), stderr: &tail{}}
	// A group of its own, so that close can end what the peer started too, and
	// so that an interrupt at the terminal reaches the driver alone.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stderr = p.stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		defer close(p.lines)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			p.lines <- bytes.Clone(lines.Bytes())
		}
	}()
	return p, nil
}

// pinned keeps every peer on the same two cores where the host has more, so
// that figures of different hosts can be compared.
func pinned() []string {
	if runtime.NumCPU() <= 2 {
		return nil
	}
	if path, err := exec.LookPath("taskset"); err == nil {
		return []string{path, "-c", "0,1"}
	}
	return nil
}

func (p *process) receive(into any, limit time.Duration) error {
	select {
	case line, open := <-p.lines:
		if !open {
			return fmt.Errorf("%s ended: %s", p.name, p.stderr)
		}
		if err := json.Unmarshal(line, into); err != nil {
			return fmt.Errorf("%s answered %q: %w", p.name, line, err)
		}
		return nil
	case <-time.After(limit):
		return fmt.Errorf("%s gave no answer in %v: %s", p.name, limit, p.stderr)
	}
}

func (p *process) readHello(limit time.Duration) (load.Hello, error) {
	var hello load.Hello
	return hello, p.receive(&hello, limit)
}

// runCommand sends one command and waits for its result.
func (p *process) runCommand(cmd load.Command) (load.Result, error) {
	return p.doWithin(cmd, 2*time.Minute+2*cmd.Duration)
}

func (p *process) doWithin(cmd load.Command, limit time.Duration) (load.Result, error) {
	line, err := json.Marshal(cmd)
	if err != nil {
		return load.Result{}, err
	}
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		return load.Result{}, fmt.Errorf("%s: %w: %s", p.name, err, p.stderr)
	}
	var result load.Result
	if err := p.receive(&result, limit); err != nil {
		return load.Result{}, err
	}
	if result.Error != "" {
		return load.Result{}, errors.New(result.Error)
	}
	return result, nil
}

// closeAndWait ends the peer by ending its input; one that does not obey in 15 s is
// killed with all it started.
func (p *process) closeAndWait() error {
	_ = p.stdin.Close()
	go func() {
		for range p.lines { // let the reader finish, whatever is still said
		}
	}()
	gone := make(chan error, 1)
	go func() { gone <- p.cmd.Wait() }()
	select {
	case err := <-gone:
		if err != nil {
			return fmt.Errorf("%s: %w: %s", p.name, err, p.stderr)
		}
		return nil
	case <-time.After(15 * time.Second):
		p.killGroup()
		<-gone
		return fmt.Errorf("%s had to be killed: %s", p.name, p.stderr)
	}
}

// killGroup ends the peer, with all it started, while it is busy.
func (p *process) killGroup() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// tail keeps the end of what a peer writes to stderr, for error messages.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(b []byte) (int, error) {
	const limit = 2048
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if len(t.kept) > limit {
		t.kept = append([]byte(nil), t.kept[len(t.kept)-limit:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if text := strings.TrimSpace(string(t.kept)); text != "" {
		return text
	}
	return "nothing on stderr"
}

// buildPeer compiles the package in dir to the file binary and returns its size.
// CGO is off: it is how the library is shipped, and it keeps all of a peer's
// memory on the Go heap, where it is counted.
func buildPeer(dir, binary string, extra ...string) (int64, error) {
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-o", binary}, extra...)
	cmd := exec.Command("go", append(args, ".")...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if output, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("go build in %s: %w %s", dir, err, bytes.TrimSpace(output))
	}
	info, err := os.Stat(binary)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
