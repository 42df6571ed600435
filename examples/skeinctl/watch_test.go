package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

func testWatch(t *testing.T) {
	on := func(command string, args ...string) []string {
		return at(command, append([]string{"-bucket", "readings"}, args...)...)
	}
	for i, key := range []string{"watch-b", "watch-a\x00"} {
		ctl("", on("put", key, fmt.Sprint(i))...).want(t, exitOK, "stored", "")
	}
	got := strings.Split(ctl("", on("watch", "-prefix", "watch-", "-present", "-limit", "2")...).want(t, exitOK, "", "").out, "\n")
	if len(got) != 3 || got[0] != "put\t\"watch-a\\x00\"\t1" && got[1] != "put\t\"watch-a\\x00\"\t1" {
		t.Fatalf("watch printed %q", got)
	}
	first := ctl("", on("watch", "-prefix", "watch-", "-present", "-limit", "2", "-json")...).want(t, exitOK, "", "").out
	lines := strings.Split(strings.TrimSpace(first), "\n")
	var c changeJSON
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &c); err != nil || c.Kind != "put" || c.Key == nil || c.Value == nil || len(c.Values) != 1 {
		t.Fatalf("watch -json printed %q", first)
	}
	interrupted := &interrupter{after: "put\twatch-later\t3\n"}
	done := make(chan ran)
	go func() {
		code := runCommand(on("watch", "-prefix", "watch-", "-present"), strings.NewReader(""), interrupted, &interrupted.err)
		done <- ran{code, interrupted.String(), interrupted.err.String()}
	}()
	ctl("", on("put", "watch-later", "3")...).want(t, exitOK, "stored", "")
	(<-done).want(t, exitOK, "put\twatch-later\t3\n", "")
	ctl("", on("watch", "-from", "?")...).want(t, exitUsage, "", "no cursor")
	ctl("", at("watch")...).want(t, exitUsage, "", "no -bucket")
	ctl("", at("watch", "-bucket", "redings")...).want(t, exitFailed, "", `there is no bucket "redings"`)
}

// interrupter is an output that presses Ctrl-C when it has come to a text.
type interrupter struct {
	bytes.Buffer
	after string
	err   bytes.Buffer
}

func (i *interrupter) Write(b []byte) (int, error) {
	n, err := i.Buffer.Write(b)
	if strings.Contains(i.String(), i.after) {
		self, _ := os.FindProcess(os.Getpid())
		_ = self.Signal(os.Interrupt)
	}
	return n, err
}
