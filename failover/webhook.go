package failover

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/skeinmesh/skein/failover/service"
)

const (
	webhookLimit  = 10 * time.Second // for one request, if the Webhook does not say
	mostWebhooks  = 8
	mostOfAnswers = 4 << 10 // bytes that are read
)

// Webhook is where alarms of this node are sent: each Event as JSON by an HTTP POST, one at a
// time, the oldest first. One that is not answered, or with 408, 429 or 5xx, is sent again,
// within a second at first and a minute at the most; any other answer but 2xx is logged, and
// the event counts in Dropped. The latest 1 024 wait. The same event may come twice.
type Webhook struct {
	// URL is http or https. Required. Passwords in it are not logged.
	URL string
	// Header is sent along, as for a token. It is not logged.
	Header http.Header
	// All has every event be sent. Otherwise those are that a person should see: alarms, what
	// has failed, and how drills have ended.
	All bool
	// Timeout is for one request. Zero: 10 s.
	Timeout time.Duration
	// Client sends the requests. Nil: one of its own, which follows no redirects.
	Client *http.Client
}

func (w Webhook) validate() error {
	u, err := url.Parse(w.URL)
	switch {
	case err != nil:
		return errors.New("the URL of a webhook cannot be read") // it may have a password in it
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("the URL of a webhook is neither http nor https: %.60q", u.Redacted())
	case w.Timeout < 0:
		return fmt.Errorf("negative Timeout of the webhook %.60q: %v", u.Redacted(), w.Timeout)
	}
	return nil
}

// wantsEvent tells whether an event is sent.
func (w Webhook) wantsEvent(e Event) bool {
	return w.All || e.What == Alarm || e.What == DrillEnded || e.Error != "" ||
		e.What == HealthChanged && e.Health == service.Failed
}

// webhook is one with what waits for it.
type webhook struct {
	Webhook
	journal *journal
}

// journalOf returns the journal that sends to a webhook.
func journalOf(w Webhook, log *slog.Logger) *journal {
	w = w.withDefaults()
	j, silent := newJournal(nil), false
	j.record = func(ctx context.Context, e numbered) error {
		refusal, err := w.sendEvent(ctx, e.Event)
		if fails := err != nil; fails != silent { // said once: it is tried again and again
			silent = fails
			log.Warn("a webhook does not answer, or answers again", "silent", silent, "error", err)
		}
		if refusal != "" {
			log.Warn("a webhook has refused an event", "service", e.Service, "what", string(e.What), "answer", refusal)
			j.countOne()
		}
		return err
	}
	return j
}

func (w Webhook) withDefaults() Webhook {
	if w.Timeout == 0 {
		w.Timeout = webhookLimit
	}
	if w.Client == nil {
		w.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return w
}

// sendEvent sends one event. An error is worth another attempt, a refusal is not.
func (w Webhook) sendEvent(ctx context.Context, e Event) (refusal string, err error) {
	text, err := json.Marshal(e)
	if err != nil {
		return err.Error(), nil
	}
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(text))
	if err != nil {
		return "the request could not be made", nil
	}
	for key, values := range w.Header {
		req.Header[http.CanonicalHeaderKey(key)] = values
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.Client.Do(req)
	var told *url.Error
	if errors.As(err, &told) {
		err = told.Err // without the URL, which may have a token in it
	}
	if err != nil {
		return "", err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, mostOfAnswers))
	_ = resp.Body.Close()
	switch s := resp.StatusCode; {
	case s/100 == 2:
		return "", nil
	case s/100 == 5, s == http.StatusRequestTimeout, s == http.StatusTooManyRequests:
		return "", errors.New(resp.Status)
	}
	return resp.Status, nil
}
