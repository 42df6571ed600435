package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
)

// serveOne runs a node of its own and returns where it is watched.
func serveOne(t *testing.T, storing bool) (url string, end func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	at, ended := make(chan net.Addr, 1), make(chan error, 1)
	cfg := mesh.Config{Dir: t.TempDir(), Secret: identity.NewSecret(), Storing: storing, Listen: "127.0.0.1:0"}
	go func() { ended <- runNode(ctx, cfg, "127.0.0.1:0", func(a net.Addr) { at <- a }) }()
	end = func() error { cancel(); return <-ended }
	select {
	case a := <-at:
		return "http://" + a.String(), end
	case err := <-ended:
		t.Fatal(err)
		return "", nil
	}
}

func get(t *testing.T, url string) (code int, body string) {
	t.Helper()
	client := http.Client{Timeout: 30 * time.Second}
	r, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

func TestNodeIsWatched(t *testing.T) {
	url, end := serveOne(t, true)
	if code, body := get(t, url+"/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("healthz: %d %q", code, body)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		code, body := get(t, url+"/readyz")
		if code == 200 && body == "ok\n" {
			break
		}
		if code != 503 || time.Now().After(deadline) {
			t.Fatalf("readyz: %d %q", code, body)
		}
	}
	code, text := get(t, url+"/metrics")
	if code != 200 {
		t.Fatalf("metrics: %d %q", code, text)
	}
	checkText(t, text)
	if err := end(); err != nil {
		t.Error(err)
	}
	url, end = serveOne(t, false) // it has an outbox
	_, more := get(t, url+"/metrics")
	checkText(t, more)
	checkDashboard(t, text+more)
	if err := end(); err != nil {
		t.Error(err)
	}
}

// checkDashboard finds what the dashboard asks for in what a node serves.
func checkDashboard(t *testing.T, text string) {
	data, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	name, histogramPart, asked := regexp.MustCompile(`skein_[a-z_]+`), regexp.MustCompile(`_(bucket|count)$`), 0
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			for _, m := range name.FindAllString(target.Expr, -1) {
				asked++
				if m = histogramPart.ReplaceAllString(m, ""); !strings.Contains("\n"+text, "\n# HELP "+m+" ") {
					t.Errorf("%q asks for %s, which is not served", p.Title, m)
				}
			}
		}
	}
	if asked < 15 {
		t.Errorf("the dashboard asks for %d figures", asked)
	}
}

// checkText judges the metrics by the rules of Prometheus, and has its own tool do so, where
// that is installed.
func checkText(t *testing.T, text string) {
	t.Helper()
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Errorf("metrics: %v", err)
	}
	for _, p := range problems {
		t.Errorf("metric %s: %s", p.Metric, p.Text)
	}
	checkByPromtool(t, text)
}

// The rules find what breaks them.
func TestBadMetricsAreFound(t *testing.T) {
	for what, text := range map[string]string{
		"no help":         "# TYPE a_bytes gauge\na_bytes 1\n",
		"a counter's end": "# HELP a_bytes A.\n# TYPE a_bytes counter\na_bytes 1\n",
		"a unit":          "# HELP a_milliseconds A.\n# TYPE a_milliseconds gauge\na_milliseconds 1\n",
	} {
		if problems, err := promlint.New(strings.NewReader(text)).Lint(); err != nil || len(problems) == 0 {
			t.Errorf("%s: %v, %v", what, problems, err)
		}
	}
}

// checkByPromtool has Prometheus' own tool judge the metrics, where it is installed.
func checkByPromtool(t *testing.T, text string) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Log("promtool is not installed")
		return
	}
	cmd := exec.Command(tool, "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}
