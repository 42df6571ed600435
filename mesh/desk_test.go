package mesh

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
)

// dialDesk forms a mesh of two, the first of which answers admins, and connects to that.
func (w *world) dialDesk(t *testing.T) *Client {
	t.Helper()
	w.boxes[0].cfg.AllowAdmin = true
	w.form(10 * time.Second)
	c, err := Dial(t.Context(), ClientConfig{
		Addr: w.boxes[0].node.Addr().String(), Secret: testSecret, MeshName: "test", Network: w.net.Host(netip.MustParseAddr("10.9.9.9")),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (d *desk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.all)
}

// A program that is no node hears all nodes, and they hear it as the node it asks.
func TestClientPublishesAndSubscribes(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		c := w.dialDesk(t)
		a, b := w.boxes[0].node, w.boxes[1].node
		ctx, cancel := context.WithCancel(t.Context())
		at := listen(ctx, b, "alarm")
		mine := c.Subscribe(t.Context(), "alarm")
		if err := c.Publish(t.Context(), "alarm", []byte("of a program")); err != nil {
			t.Fatal(err)
		}
		mustPublish(t, b, "other", "not of this topic")
		time.Sleep(2 * time.Second)
		mustPublish(t, b, "alarm", "of a node")
		time.Sleep(time.Minute / 4) // longer than an answer waits
		heard := 0
		for m, err := range mine {
			if err != nil {
				t.Fatal(err)
			}
			want := Message{From: a.ID(), Topic: "alarm", Payload: []byte("of a program")}
			if heard == 1 {
				want.From, want.Payload = b.ID(), []byte("of a node")
			}
			if m.From != want.From || m.Topic != want.Topic || string(m.Payload) != string(want.Payload) || m.Lost != 0 {
				t.Errorf("%+v, want %+v", m, want)
			}
			if heard++; heard == 2 {
				break
			}
		}
		if got := at.texts(); !slices.Equal(got, []string{"of a program", "of a node"}) || at.heard[0].From != a.ID() {
			t.Errorf("the other node heard %q", got)
		}
		if n, m := a.desk.count(), a.topics.subscribers(); n != 0 || m != 0 {
			t.Errorf("%d subscriptions of programs are kept, %d in all", n, m)
		}
		for _, err := range mine {
			t.Errorf("a second loop gets %v", err)
		}
		cancel()
		<-at.done
	})
}

// What waits for half a minute is given up, and who asks for it then is told.
func TestSubscriptionOfAClientEndsIdle(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		c, n := w.dialDesk(t), w.boxes[0].node
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		quiet, flooded := c.Subscribe(ctx, "alarm"), c.Subscribe(t.Context(), "flood")
		next, stop := iter.Pull2(flooded)
		defer stop()
		for i := range maxUnread + 10 {
			mustPublish(t, n, "flood", fmt.Sprint(i))
		}
		if m, err, _ := next(); err != nil || string(m.Payload) != "10" || m.Lost != 10 {
			t.Errorf("%+v, %v", m, err)
		}
		for i := range maxUnread - 1 {
			if m, err, _ := next(); err != nil || string(m.Payload) != fmt.Sprint(i+11) || m.Lost != 0 {
				t.Fatalf("%d: %+v, %v", i, m, err)
			}
		}
		time.Sleep(deskIdle + time.Second)
		if n.desk.count() != 0 || n.topics.subscribers() != 0 {
			t.Error("it is kept")
		}
		for _, err := range quiet {
			if !errors.Is(err, ErrNoSubscription) {
				t.Errorf("%v", err)
			}
		}
	})
}

// One that is read is kept, however long nothing is published.
func TestSubscriptionOfAClientStays(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		c, n := w.dialDesk(t), w.boxes[0].node
		sub := c.Subscribe(t.Context(), "alarm")
		begun := time.Now()
		time.AfterFunc(5*time.Minute, func() { _ = n.Publish(context.Background(), "alarm", []byte("late")) })
		for m, err := range sub {
			if err != nil || string(m.Payload) != "late" || time.Since(begun) > 5*time.Minute+time.Second {
				t.Errorf("%q, %v after %v", m.Payload, err, time.Since(begun))
			}
			break
		}
	})
}

func TestClientIsRefusedMessages(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		c, n := w.dialDesk(t), w.boxes[0].node
		last := func(sub iter.Seq2[Message, error]) (last error) {
			for _, last = range sub {
			}
			return last
		}
		if err := c.Publish(t.Context(), "", nil); !errors.Is(err, ErrTopic) {
			t.Error(err)
		}
		if err := c.Publish(t.Context(), "t", make([]byte, wire.MaxPayload+1)); !errors.Is(err, ErrTooLarge) {
			t.Error(err)
		}
		if err := last(c.Subscribe(t.Context(), strings.Repeat("t", wire.MaxTopic+1))); !errors.Is(err, ErrTopic) {
			t.Error(err)
		}
		if _, err := c.askMessages(t.Context(), &wire.AdminSubscribe{Topic: "\n"}); !errors.Is(err, ErrTopic) { // a program of another kind
			t.Error(err)
		}
		var open []iter.Seq2[Message, error]
		for range mostDeskSubscriptions {
			open = append(open, c.Subscribe(t.Context(), "t"))
		}
		if n.desk.count() != mostDeskSubscriptions {
			t.Errorf("%d are kept", n.desk.count())
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := last(c.Subscribe(short, "t")); !errors.Is(err, ErrOverloaded) {
			t.Error(err)
		}
		if err := w.boxes[0].node.Close(); err != nil { // it ends all
			t.Error(err)
		}
		if err := last(open[0]); !errors.Is(err, ErrUnreachable) {
			t.Error(err)
		}
	})
}

// A node that allows no admin requests neither publishes nor subscribes for others, nodes
// neither.
func TestNoDeskWithoutAdmin(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		w.dialDesk(t)
		a, b := w.boxes[0].node, w.boxes[1].node
		for method, req := range map[string][]byte{
			wire.MethodAdminPublish:   wire.AppendAdminPublish(nil, &wire.AdminPublish{Topic: "t"}),
			wire.MethodAdminSubscribe: wire.AppendAdminSubscribe(nil, &wire.AdminSubscribe{Topic: "t"}),
		} {
			if _, err := a.Call(t.Context(), b.ID(), method, req); !errors.Is(err, ErrAdminOff) {
				t.Errorf("%s: %v", method, err)
			}
		}
		if b.desk.count() != 0 {
			t.Error("a subscription was begun")
		}
	})
}
