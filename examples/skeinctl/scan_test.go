package main

import (
	"encoding/json"
	"fmt"
	"testing"
)

func testScan(t *testing.T) {
	on := func(command string, args ...string) []string {
		return at(command, append([]string{"-bucket", "readings"}, args...)...)
	}
	for i, key := range []string{"scan-b", "scan-a", "scan-c\x00"} {
		ctl("", on("put", key, fmt.Sprint(i))...).want(t, exitOK, "stored", "")
	}
	ctl("with\nline", on("put", "scan-d", "-")...).want(t, exitOK, "stored", "")
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "scan-a\t1\nscan-b\t0\n\"scan-c\\x00\"\t2\nscan-d\t\"with\\nline\"\n"},
		{[]string{"-keys", "-reverse", "-limit", "2"}, "scan-d\n\"scan-c\\x00\"\n"},
		{[]string{"-from", "scan-b", "-to", "scan-c"}, "scan-b\t0\n"},
	} {
		if got := ctl("", on("scan", append(c.args, "-prefix", "scan-")...)...).want(t, exitOK, "", "").out; got != c.want {
			t.Errorf("scan %q printed %q, want %q", c.args, got, c.want)
		}
	}
	var e entryJSON
	first := ctl("", on("scan", "-prefix", "scan-", "-limit", "1", "-json")...).want(t, exitOK, "", "").out
	if err := json.Unmarshal([]byte(first), &e); err != nil || e.Key != "scan-a" || *e.Value.Text != "1" || len(e.Values) != 1 {
		t.Fatalf("scan -json printed %q", first)
	}
	ctl("", on("scan", "-prefix", "scan-", "-after", e.Cursor, "-limit", "1")...).want(t, exitOK, "scan-b\t0\n", "")
	ctl("", on("scan", "-after", "?")...).want(t, exitUsage, "", "no cursor")
	ctl("", at("scan")...).want(t, exitUsage, "", "no -bucket")
	ctl("", at("scan", "-bucket", "redings")...).want(t, exitFailed, "", `there is no bucket "redings"`)
	ctl("", at("buckets")...).want(t, exitOK, "votes\t", "")
	ctl("", at("buckets", "-json")...).want(t, exitOK, `"readings"`, "")
}
