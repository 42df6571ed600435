package mesh

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/jsonlog"
	"github.com/skeinmesh/skein/mesh/view"
)

// lines collects what several goroutines log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// all returns the lines so far.
func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSpace(l.b.String()), "\n")
}

// Every line of a log in JSON can be read by what reads logs: no key twice, no number
// that loses digits, no bytes one by one; and what is daily bread is not told.
func TestLogsAsJSON(t *testing.T) {
	bubble(t, 4, func(t *testing.T, w *world) {
		out := &lines{}
		log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if fault := jsonlog.FaultOfAttr(a); fault != "" {
				t.Errorf("%s: %v", fault, a)
			}
			return a
		}}))
		for _, b := range w.boxes {
			b.cfg.Logger, b.cfg.AllowAdmin = log, true
		}
		w.form(10 * time.Second)
		n := w.boxes[0].node
		c, err := Dial(t.Context(), ClientConfig{
			Addr: n.Addr().String(), Secret: testSecret, MeshName: "test", Network: w.net.Host(w.boxes[0].addr),
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.View(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		time.Sleep(time.Second)
		for _, line := range out.all() {
			if strings.Contains(line, "data connection broke") {
				t.Errorf("the end of a client: %s", line)
			}
		}
		id := w.boxes[3].node.ID()
		w.boxes[3].kill()
		w.eventually(30*time.Second, "one is given up", func() bool { return w.everySees(id, view.Failed) })
		if err := n.Evict(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if err := w.boxes[1].node.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		_ = w.boxes[2].node.Close()
		_ = n.Close()
		for _, line := range out.all() {
			if fault := jsonlog.FaultOf(line); fault != "" {
				t.Errorf("%s: %s", fault, line)
			}
			if strings.Count(line, `"node":"`) != 1 {
				t.Errorf("the node is not there once: %s", line)
			}
			if strings.Contains(line, "without a Leave") {
				t.Errorf("told at each Close: %s", line)
			}
		}
		for _, want := range []string{`"mesh":"` + n.Mesh().String(), `"member":"` + id.String(), `"why":"it does not answer"`} {
			if !strings.Contains(strings.Join(out.all(), "\n"), want) {
				t.Errorf("no line has %s", want)
			}
		}
	})
}

// The secret is in no Config, Node or line of a log that is printed.
func TestSecretIsNotPrinted(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		n := w.boxes[0].start()
		out := &lines{}
		cfg := w.boxes[0].cfg
		client := ClientConfig{Addr: "here", Secret: testSecret}
		slog.New(slog.NewTextHandler(out, nil)).Info("text", "config", cfg, "client", client)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			_, _ = fmt.Fprintf(out, verb+" "+verb+" "+verb+"\n", cfg, &client, n.cfg)
		}
		cfg.Network, cfg.Logger = nil, nil
		b, err := json.Marshal([]any{cfg, client})
		if err != nil {
			t.Fatal(err)
		}
		all := strings.Join(append(out.all(), string(b)), "\n")
		for _, form := range []string{"42 42 42", "[42", "0x2a, 0x2a", "2a2a2a", "****", "KioqKio"} {
			if strings.Contains(all, form) {
				t.Errorf("the secret is printed as %q:\n%s", form, all)
			}
		}
		if !strings.Contains(all, "Name:node-000") || !strings.Contains(all, "Addr:here") {
			t.Errorf("nothing else is printed either:\n%s", all)
		}
		if len(n.cfg.Secret) > 0 {
			t.Error("the node keeps the secret")
		}
	})
}

func TestSecretOfZeros(t *testing.T) {
	cfg := Config{Dir: "d", Secret: make([]byte, len(testSecret))}
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "zeros") {
		t.Errorf("a secret of zeros: %v", err)
	}
}
