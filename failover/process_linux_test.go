package failover

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skeinmesh/skein/failover/service"
)

// TestMain is a leash too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "leash" {
		os.Exit(RunLeash(os.Args[2:], os.Stdout))
	}
	os.Exit(m.Run())
}

// alone is a command that notes in a directory when another one runs beside it, and its number;
// when it is asked to end, it notes that too.
const alone = `cd "$0"; for p in $(cat pids 2>/dev/null); do kill -0 $p 2>/dev/null && echo $p >> twice; done; echo $$ >> pids
trap 'echo $$ >> asked; exit 0' TERM; while :; do sleep 0.02; done`

// processRig is three nodes that serve a command, in real time.
type processRig struct {
	t     *testing.T
	dir   string
	mesh  *fakeMesh
	nodes []*Failover
}

func newProcessRig(t *testing.T, check Hook) *processRig {
	t.Helper()
	r := &processRig{t: t, dir: t.TempDir(), mesh: newFakeMesh("a", "b", "c")}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { r.mesh.run(ctx); close(ended) }()
	plan := service.Plan{Service: "press", Primary: "a", Backups: []string{"b"}, Check: service.Check{Interval: 50 * time.Millisecond}, Restarts: 1}
	for i := range r.mesh.names {
		f, err := Open(ctx, Config{Mesh: r.mesh.node(i + 1), Elections: r.mesh.node(i + 1)})
		if err != nil {
			t.Fatal(err)
		}
		s, err := Process{Args: []string{"sh", "-c", alone, r.dir}, Leash: []string{os.Args[0], "leash"}, Check: check}.Service(plan)
		if err == nil {
			err = f.Serve(s)
		}
		if err != nil {
			t.Fatal(err)
		}
		r.nodes = append(r.nodes, f)
	}
	t.Cleanup(func() {
		for _, f := range r.nodes {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
		cancel()
		<-ended
		for _, pid := range r.noted("pids") {
			if syscall.Kill(pid, 0) == nil {
				t.Errorf("%d is left", pid)
			}
		}
		if twice := r.noted("twice"); len(twice) > 0 {
			t.Errorf("others ran when one was started: %v", twice)
		}
	})
	return r
}

// noted returns the numbers in a file of the commands.
func (r *processRig) noted(name string) (pids []int) {
	data, _ := os.ReadFile(filepath.Join(r.dir, name))
	for _, word := range strings.Fields(string(data)) {
		pid, _ := strconv.Atoi(word)
		pids = append(pids, pid)
	}
	return pids
}

// runsAt waits until the service is healthy at a node, and returns its command's number.
func (r *processRig) runsAt(i int, former ...int) int {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		pids := r.noted("pids")
		if s := r.nodes[i].Status()[0]; s.Health == service.Healthy && len(pids) > len(former) {
			return pids[len(pids)-1]
		}
		if time.Now().After(end) {
			r.t.Fatalf("not healthy at %s: %+v, %v", r.mesh.names[i], r.nodes[i].Status()[0], pids)
		}
	}
}

// TestACommandAsAService has a command killed, its service moved, and its node cut off.
func TestACommandAsAService(t *testing.T) {
	t.Parallel()
	r := newProcessRig(t, nil)
	first := r.runsAt(0)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second := r.runsAt(0, first) // it is restarted where it was
	if err := r.nodes[0].Move("press", "b"); err != nil {
		t.Fatal(err)
	}
	third := r.runsAt(1, first, second)
	if asked := r.noted("asked"); len(asked) != 1 || asked[0] != second {
		t.Errorf("asked to end: %v, want %d", asked, second)
	}
	for end := time.Now().Add(2 * fakeLease); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if got := r.noted("pids"); len(got) != 3 || syscall.Kill(third, 0) != nil { // as if it were not told of renewals
			t.Fatalf("it has ended while the lease was renewed: %v", got)
		}
	}
	r.mesh.setCut(2, true)
	r.runsAt(0, first, second, third)
	if syscall.Kill(third, 0) == nil {
		t.Error("the command of a node that is cut off lives on")
	}
	if asked := r.noted("asked"); len(asked) != 1 {
		t.Errorf("asked to end when the lead was lost: %v", asked)
	}
}

func TestAProcessWithoutALeashIsRefused(t *testing.T) {
	plan := service.Plan{Service: "press"}
	for _, p := range []Process{{Args: []string{"true"}}, {Leash: []string{"leash"}}, {Args: []string{"true"}, Leash: []string{"leash"}, Grace: -1}} {
		if _, err := p.Service(plan); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "press") {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

func TestChecks(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
	}))
	addr := server.Listener.Addr().String()
	for _, c := range []struct {
		check  Hook
		status int
		well   bool
	}{
		{HTTPCheck(server.URL, 0), http.StatusOK, true}, {HTTPCheck(server.URL, 0), http.StatusNoContent, true}, {HTTPCheck(server.URL, 0), http.StatusFound, false},
		{HTTPCheck(server.URL, 0), http.StatusInternalServerError, false}, {HTTPCheck(server.URL, http.StatusTeapot), http.StatusTeapot, true},
		{HTTPCheck(server.URL, http.StatusTeapot), http.StatusOK, false}, {HTTPCheck("http://no host/", 0), http.StatusOK, false},
		{TCPCheck(addr), http.StatusOK, true}, {ExecCheck("true"), 0, true}, {ExecCheck("sh", "-c", "echo worn; exit 1"), 0, false},
	} {
		status = c.status
		if err := c.check(t.Context(), Run{}); (err == nil) != c.well {
			t.Errorf("with status %d: %v", c.status, err)
		}
	}
	if err := ExecCheck("sh", "-c", "echo worn; exit 1")(t.Context(), Run{}); !strings.Contains(err.Error(), "worn") {
		t.Errorf("%v", err)
	}
	server.Close()
	for _, check := range []Hook{HTTPCheck(server.URL, 0), TCPCheck(addr)} {
		if err := check(t.Context(), Run{}); err == nil {
			t.Error("a server that is gone is well")
		}
	}
}

func TestRateOfBadChecks(t *testing.T) {
	var result error
	check := RateCheck(func(context.Context, Run) error { return result }, 4, 50)
	var got strings.Builder
	for _, bad := range "..x.xx.....x" {
		if result = nil; bad == 'x' {
			result = errors.New("slow")
		}
		if err := check(t.Context(), Run{}); err == nil {
			fmt.Fprint(&got, ".")
		} else {
			fmt.Fprint(&got, "x")
		}
	}
	if want := ".....x......"; got.String() != want { // "x.xx" is three of four, ".xx." half
		t.Errorf("%s, want %s", &got, want)
	}
}

// TestUserAndLimitsOfAProcess that are none are refused at once.
func TestUserAndLimitsOfAProcess(t *testing.T) {
	p := Process{Args: []string{"true"}, Leash: []string{"true"}, User: "root", Limits: Limits{Memory: 1 << 30, Files: 64, Tasks: 8, Nice: 3}}
	s, err := p.makeSettings()
	if err != nil || s.User == nil || s.User.UID != 0 || s.Memory != 1<<30 || s.Files != 64 || s.Tasks != 8 || s.Nice != 3 {
		t.Errorf("%+v, %v", s, err)
	}
	p.User = "0"
	if s, err = p.makeSettings(); err != nil || s.User == nil || s.User.UID != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, c := range []struct {
		user string
		nice int
	}{{"nobody-at-all", 0}, {"", 20}, {"", -21}} {
		p.User, p.Limits.Nice = c.user, c.nice
		if _, err := p.Service(service.Plan{Service: "press"}); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestACommandOfACheckEndsWhole with what it has started, and what it prints is not kept.
func TestACommandOfACheckEndsWhole(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ExecCheck("sh", "-c", "sleep 100 & echo $! > "+pidFile+"; yes")(ctx, Run{}) }()
	var pid int
	for deadline := time.Now().Add(20 * time.Second); pid == 0 && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		text, _ := os.ReadFile(pidFile)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	cancel()
	if err := <-ended; err == nil || len(err.Error()) > 1000 {
		t.Errorf("%v", err)
	}
	for deadline := time.Now().Add(10 * time.Second); syscall.Kill(pid, 0) == nil; time.Sleep(5 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d lives", pid)
		}
	}
}
