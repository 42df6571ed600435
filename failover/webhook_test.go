package failover

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/failover/service"
)

// fakeReceiver answers a webhook as the test says, one answer after the other, and then well.
type fakeReceiver struct {
	mu      sync.Mutex
	answers []int // status; 0: none
	got     []string
	at      []time.Time
}

func (r *fakeReceiver) RoundTrip(req *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	var e Event
	if err := json.Unmarshal(text, &e); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got, r.at = append(r.got, e.Why), append(r.at, time.Now())
	status := http.StatusNoContent
	if len(r.answers) > 0 {
		status, r.answers = r.answers[0], r.answers[1:]
	}
	if status == 0 {
		return nil, errors.New("no answer")
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: http.NoBody, Request: req}, nil
}

// TestAWebhookIsSentAgain until it answers, in order; what it refuses is dropped.
func TestAWebhookIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &fakeReceiver{answers: []int{0, 503, 429, 200, 400, 302, 200}}
		var log strings.Builder
		j := journalOf(Webhook{URL: "http://x/", Client: &http.Client{Transport: r, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, slog.New(slog.NewTextHandler(&log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		var sends sync.WaitGroup
		sends.Go(func() { j.recordAll(ctx) })
		for _, why := range []string{"a", "b", "c", "d"} {
			j.addEvent(Event{What: Alarm, Why: why})
		}
		time.Sleep(time.Minute)
		cancel()
		sends.Wait()
		if want := []string{"a", "a", "a", "a", "b", "c", "d"}; !slices.Equal(r.got, want) {
			t.Errorf("%q", r.got)
		}
		for i := 1; i < 4; i++ {
			if pause := r.at[i].Sub(r.at[i-1]); pause < 100*time.Millisecond {
				t.Errorf("sent again after %v", pause)
			}
		}
		if strings.Contains(log.String(), "http://") || strings.Count(log.String(), "does not answer, or") != 2 {
			t.Errorf("logged: %s", log.String())
		}
		if n := j.countDropped(); n != 2 || strings.Count(log.String(), "refused") != 2 {
			t.Errorf("%d dropped: %s", n, log.String())
		}
	})
}

// TestAWebhookGetsWhatAPersonShouldSee over a connection.
func TestAWebhookGetsWhatAPersonShouldSee(t *testing.T) {
	type request struct{ auth, kind, text string }
	got := make(chan request, 8)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost {
			t.Errorf("%s, %v", r.Method, err)
		}
		got <- request{r.Header.Get("Authorization"), r.Header.Get("Content-Type"), string(text)}
	}))
	defer server.Close()
	w := Webhook{URL: server.URL, Header: http.Header{"authorization": {"Bearer secret"}}}
	refusal, err := w.withDefaults().sendEvent(t.Context(), Event{Service: "press", What: Alarm, Why: "it does not stop"})
	if refusal != "" || err != nil {
		t.Fatal(refusal, err)
	}
	if r := <-got; r.auth != "Bearer secret" || r.kind != "application/json" || !strings.Contains(r.text, `"Why":"it does not stop"`) {
		t.Errorf("%+v", r)
	}
	for _, c := range []struct {
		e    Event
		want bool
	}{
		{Event{What: Alarm}, true}, {Event{What: DrillEnded}, true}, {Event{What: StepEnded, Error: "x"}, true}, {Event{What: HealthChanged, Health: service.Failed}, true},
		{Event{What: StepEnded}, false}, {Event{What: Led}, false}, {Event{What: HealthChanged, Health: service.Healthy}, false},
	} {
		if w.wantsEvent(c.e) != c.want || !(Webhook{All: true}).wantsEvent(c.e) {
			t.Errorf("%+v", c.e)
		}
	}
}

// TestBadWebhooks are refused, and no password is told.
func TestBadWebhooks(t *testing.T) {
	for _, w := range []Webhook{{}, {URL: "ftp://x/"}, {URL: "http://"}, {URL: "http://me:pass%word@x/"}, {URL: "http://x/", Timeout: -1}, {URL: "gopher://me:password@x/"}} {
		_, err := Open(t.Context(), Config{Webhooks: []Webhook{w}})
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "webhook") || strings.Contains(err.Error(), "word@") {
			t.Errorf("%+v: %v", w, err)
		}
	}
	if err := (Config{Webhooks: make([]Webhook, mostWebhooks+1)}).Validate(); !strings.Contains(err.Error(), "the most") {
		t.Error(err)
	}
}

// TestAlarmsReachAWebhook from the runner of a service.
func TestAlarmsReachAWebhook(t *testing.T) {
	inBubble(t, func(r *rig) {
		a := r.nodes[0]
		receiver := &fakeReceiver{answers: []int{500}}
		w := Webhook{URL: "http://x/", Client: &http.Client{Transport: receiver}}
		j := journalOf(w, slog.New(slog.DiscardHandler))
		a.Failover.hooks = []webhook{{w, j}}
		a.watcher.Go(j.recordAll)
		r.serveAll()
		r.wait(5 * time.Second)
		for _, n := range r.nodes[1:] {
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
		}
		a.set(func() { a.holds = true })
		r.wait(time.Minute)
		if want := "the node does not fit, and no other one does"; !slices.Equal(receiver.got, []string{want, want}) {
			t.Errorf("%q", receiver.got)
		}
	})
}
