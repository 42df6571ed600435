package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh"
)

// keepPublishing has a node publish until the test ends: when a command has subscribed is not told.
func keepPublishing(t *testing.T, n *mesh.Node, topic, text string) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for pause := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				pause.Stop()
				return
			case <-pause.C:
				_ = n.Publish(ctx, topic, []byte(text))
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
}

func testTopics(t *testing.T, nodes []*mesh.Node) {
	heard := make(chan string, 4)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sub := nodes[1].Subscribe(ctx, "alarm")
	go func() {
		defer close(heard)
		for m, err := range sub {
			if err == nil {
				heard <- string(m.Payload)
			}
		}
	}()
	ctl("", at("publish", "alarm", "81 degrees")...).want(t, exitOK, "published\n", "")
	ctl("82\n", at("publish", "alarm", "-", "-json")...).want(t, exitOK, `{"topic":"alarm","bytes":3}`, "")
	got := map[string]bool{<-heard: true, <-heard: true}
	if !got["81 degrees"] || !got["82\n"] {
		t.Errorf("the other node heard %v", got)
	}
	large := strings.Repeat("x", maxMessage)
	ctl(large, at("publish", "large", "-")...).want(t, exitOK, "published", "")
	ctl(large+"x", at("publish", "large", "-")...).want(t, exitFailed, "", "the message exceeds 1024 bytes")
	ctl("", at("publish", "large", large+"x")...).want(t, exitFailed, "", "the message exceeds 1024 bytes")
	ctl("", at("publish", "\n", "x")...).want(t, exitUsage, "", "a topic is 1 to 64 bytes")
	ctl("", at("publish", "alarm")...).want(t, exitUsage, "", "takes 2 arguments")
	ctl("", at("subscribe", strings.Repeat("t", 65))...).want(t, exitUsage, "", "a topic is 1 to 64 bytes")
	ctl("", at("subscribe", "alarm", "-limit", "-1")...).want(t, exitUsage, "", "must not be negative")

	keepPublishing(t, nodes[1], "beat", "tick")
	keepPublishing(t, nodes[0], "bytes", "\x00\xff")
	ctl("", at("subscribe", "beat", "-limit", "2")...).want(t, exitOK, "press-2\ttick\npress-2\ttick\n", "")
	ctl("", at("subscribe", "bytes", "-limit", "1")...).want(t, exitOK, "press-1\t\"\\x00\\xff\"\n", "")
	line := ctl("", at("subscribe", "beat", "-limit", "1", "-json")...).want(t, exitOK, "", "").out
	var m messageJSON
	if err := json.Unmarshal([]byte(line), &m); err != nil || m.From != nodes[1].ID() || m.Name != "press-2" || m.Topic != "beat" || string(m.Payload.bytes()) != "tick" || strings.Count(line, "\n") != 1 {
		t.Errorf("subscribe -json printed %q: %v", line, err)
	}
	interrupted := &interrupter{after: "press-2\ttick\n"}
	code := runCommand(at("subscribe", "beat"), strings.NewReader(""), interrupted, &interrupted.err)
	ran{code, interrupted.String(), interrupted.err.String()}.want(t, exitOK, "press-2\ttick\n", "")
}

// Where more comes than is read it is said how much was lost.
func TestLostMessagesAreTold(t *testing.T) {
	var out, err strings.Builder
	s := &session{command: command{name: "subscribe"}, out: &out, err: &err}
	if err := (messagePrinter{session: s}).showMessage(&mesh.Message{From: 7, Topic: "t", Payload: []byte("x"), Lost: 3}); err != nil {
		t.Fatal(err)
	}
	if out.String() != "0000000000000007\tx\n" || err.String() != "skeinctl subscribe: warning: 3 messages lost here: not read in time\n" {
		t.Errorf("%q, %q", out.String(), err.String())
	}
}
