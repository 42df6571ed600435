//go:build unix

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/identity"
)

// TestMain is a node where the test starts it as one.
func TestMain(m *testing.M) {
	if os.Getenv("TELEMETRY_NODE") != "" {
		main()
	}
	os.Exit(m.Run())
}

// process is a node in a process of its own.
type process struct {
	t    *testing.T
	args []string
	web  string
	cmd  *exec.Cmd
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0], p.args...)
	p.cmd.Env = append(os.Environ(), "TELEMETRY_NODE=1")
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	cmd := p.cmd
	p.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) get(path string) string {
	client := http.Client{Timeout: 20 * time.Second}
	r, err := client.Get("http://" + p.web + path)
	if err != nil {
		return ""
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	return string(text)
}

// lastOf is the time of the last value of a sensor that the page shows.
func (p *process) lastOf(name string) string {
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+) \d+$`).FindStringSubmatch(p.get("/"))
	if m == nil {
		return ""
	}
	return m[1]
}

// reported is how many values of a sensor the report counts.
func (p *process) reported(name string) int {
	text := p.get("/report")
	m := regexp.MustCompile(`(?m)^` + name + `: (\d+) values, \d+ on average$`).FindStringSubmatch(text)
	if m == nil || strings.Contains(text, "not all is known") {
		return -1
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

func (p *process) await(what string, ok func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("not within two minutes: %s; the page of %s shows %q", what, p.web, p.get("/"))
		}
	}
}

// freePort returns an address of loopback where nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// A node is killed, another one stands still for longer than it takes to be missed: pages
// go on meanwhile, come back, and no value that a report has counted is lost.
func TestPageSurvivesAKillAndACut(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(identity.FormatSecret(identity.NewSecret())), 0o600); err != nil {
		t.Fatal(err)
	}
	var nodes []*process
	seed := freePort(t)
	for i := range 3 {
		listen := seed
		if i > 0 {
			listen = freePort(t)
		}
		p := &process{t: t, web: freePort(t)}
		p.args = []string{"-name", fmt.Sprint("press-", i+1), "-dir", t.TempDir(), "-secret-file", file, "-listen", listen, "-seed", seed, "-http", p.web}
		p.start()
		nodes = append(nodes, p)
	}
	first, killed, frozen := nodes[0], nodes[1], nodes[2]
	for _, p := range nodes {
		p.await("all sensors are on each page", func() bool { return strings.Count(p.get("/"), "press-") == 3 })
	}

	first.await("a report", func() bool { return first.reported("press-2") > 0 })
	counted := first.reported("press-2")
	killed.signal(syscall.SIGKILL)
	_ = killed.cmd.Wait()
	at := first.lastOf("press-3")
	first.await("the page goes on after a kill", func() bool { return first.lastOf("press-3") > at })

	frozen.signal(syscall.SIGSTOP)
	later := time.Now().Add(5 * time.Second).UTC().Format(timeInKey)
	first.await("the page goes on beside a node that stands still", func() bool { return first.lastOf("press-1") > later })
	at = first.lastOf("press-1")
	frozen.signal(syscall.SIGCONT)
	frozen.await("its page catches up", func() bool { return frozen.lastOf("press-1") >= at })

	killed.start()
	killed.await("the page of the one that was killed shows what it missed", func() bool { return killed.lastOf("press-1") >= at })
	first.await("and others show its values again", func() bool { return first.lastOf("press-2") > at })
	for _, p := range nodes {
		p.await("nothing that was counted is lost", func() bool { return p.reported("press-2") >= counted })
	}
}
