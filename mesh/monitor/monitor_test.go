package monitor

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func ask(h http.Handler, method, path string) (code int, body string, header http.Header) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, w.Body.String(), w.Header()
}

func wantAnswer(t *testing.T, h http.Handler, path string, code int, body string) {
	t.Helper()
	if c, b, _ := ask(h, "GET", path); c != code || b != body {
		t.Errorf("GET %s: %d %q, want %d %q", path, c, b, code, body)
	}
}

func TestNothingToCheckIsWell(t *testing.T) {
	h := Handler(Checks{})
	wantAnswer(t, h, "/healthz", 200, "ok\n")
	wantAnswer(t, h, "/readyz", 200, "ok\n")
	wantAnswer(t, h, "/metrics", 200, "")
	if c, _, _ := ask(h, "POST", "/healthz"); c != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", c)
	}
	if c, _, _ := ask(h, "GET", "/"); c != http.StatusNotFound {
		t.Errorf("another path: %d", c)
	}
}

func TestFaultsAreTold(t *testing.T) {
	var stopped error
	ready := []func(context.Context) error{
		func(context.Context) error { return nil },
		func(context.Context) error { return errors.New("store is closed") },
	}
	c := Checks{Alive: []func() error{func() error { return nil }, func() error { return stopped }}, Ready: ready}
	wantAnswer(t, Handler(c), "/healthz", 200, "ok\n") // what is not ready is alive
	wantAnswer(t, Handler(c), "/readyz", 503, "store is closed\n")
	stopped = errors.New("node was evicted")
	wantAnswer(t, Handler(c), "/healthz", 503, "node was evicted\n")
	wantAnswer(t, Handler(c), "/readyz", 503, "store is closed\nnode was evicted\n")
	c.Ready = ready[:1]
	wantAnswer(t, Handler(c), "/readyz", 503, "node was evicted\n") // what has stopped is not ready
}

// A node that still looks for others has said nothing wrong, and is not ready.
func TestReadinessIsNotWaitedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		waits := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		h := Handler(Checks{Ready: []func(context.Context) error{waits, waits, func(context.Context) error { return errors.New("disk") }}})
		code, body, _ := ask(h, "GET", "/readyz")
		if took := time.Since(begun); code != 503 || strings.Count(body, "not ready yet") != 2 || !strings.Contains(body, "disk") || took != patience {
			t.Errorf("%d %q after %v", code, body, took)
		}
	})
}

func TestMetricsStandInOneAnswer(t *testing.T) {
	write := func(text string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, text); return err }
	}
	c := Checks{Metrics: []func(io.Writer) error{write("a 1\n"), write("b 2\n")}}
	code, body, header := ask(Handler(c), "GET", "/metrics")
	if code != 200 || body != "a 1\nb 2\n" || header.Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("%d %q %v", code, body, header)
	}
	c.Metrics = append(c.Metrics, func(io.Writer) error { return errors.New("store is closed") })
	wantAnswer(t, Handler(c), "/metrics", 500, "store is closed\n")
}

// Scrapes that take long do not pile up.
func TestMetricsAreWrittenForOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		writing, most := 0, 0
		h := Handler(Checks{Metrics: []func(io.Writer) error{func(io.Writer) error {
			writing++
			most = max(most, writing)
			time.Sleep(time.Minute)
			writing--
			return nil
		}}})
		var answered atomic.Int32
		var scrapes sync.WaitGroup
		for range 3 {
			scrapes.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
				defer cancel()
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil).WithContext(ctx))
				if w.Header().Get("Content-Type") != "" {
					answered.Add(1)
				}
			})
		}
		scrapes.Wait()
		if most != 1 || answered.Load() != 2 { // the third had given up before its turn came
			t.Errorf("%d at a time, %d answered", most, answered.Load())
		}
	})
}

// stuckWriter is the answer to one who does not read.
type stuckWriter struct {
	*httptest.ResponseRecorder
	begun, end chan struct{}
}

func (w stuckWriter) Write(b []byte) (int, error) {
	close(w.begun)
	<-w.end
	return w.ResponseRecorder.Write(b)
}

// Who does not read the metrics holds up nobody who asks for them.
func TestSlowReaderHoldsUpNobody(t *testing.T) {
	h := Handler(Checks{Metrics: []func(io.Writer) error{func(w io.Writer) error { _, err := io.WriteString(w, "a 1\n"); return err }}})
	stuck := stuckWriter{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(stuck, httptest.NewRequest("GET", "/metrics", nil))
	}()
	<-stuck.begun
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	other := httptest.NewRecorder()
	h.ServeHTTP(other, httptest.NewRequest("GET", "/metrics", nil).WithContext(ctx))
	if other.Body.String() != "a 1\n" {
		t.Errorf("another one who asks gets %q", other.Body)
	}
	close(stuck.end)
	<-done
}
