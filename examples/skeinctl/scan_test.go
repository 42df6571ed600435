package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

func testTransfer(t *testing.T) {
	on := func(command string, args ...string) []string {
		return at(command, append([]string{"-bucket", "readings"}, args...)...)
	}
	file := filepath.Join(t.TempDir(), "lines")
	lines := `{"key":"move-a","value":{"text":"1"}}
{"key":"?","key_base64":"bW92ZS3/","value":{"base64":"/w=="}}
{"key":"move-a","value":{"text":"2"}}
`
	ctl(lines, on("import")...).want(t, exitOK, "3 values written\n", "")
	ctl("", on("export", "-prefix", "move-", "-o", file)...).want(t, exitOK, "", "")
	ctl("", on("get", "move-a")...).want(t, exitOK, "2", "")
	ctl("", on("put", "move-a", "3")...).want(t, exitOK, "stored", "")
	ctl("", on("del", "move-\xff")...).want(t, exitOK, "deleted", "")
	text := readFile(t, file)
	if !strings.Contains(text, `"key_base64":"bW92ZS3/","value":{"base64":"/w=="}`) || strings.Count(text, "\n") != 2 {
		t.Fatalf("exported %q", text)
	}
	if all, err := os.ReadDir(filepath.Dir(file)); err != nil || len(all) != 1 {
		t.Errorf("the export left %v, %v", all, err)
	}
	ctl(text, on("import", "-missing")...).want(t, exitOK, "1 value written, 1 key left alone\n", "")
	ctl("", on("get", "move-\xff")...).want(t, exitOK, "\xff", "")
	ctl("", on("get", "move-a")...).want(t, exitOK, "3", "")
	ctl(text, on("import", "-json")...).want(t, exitOK, `{"degraded":0,"queued":0,"skipped":0,"written":2}`, "")
	ctl("", on("get", "move-a")...).want(t, exitOK, "2", "")
	for _, bad := range []struct{ line, want string }{
		{`{"key":"move-a"}`, "line 3 of the input has no key or no value"},
		{`{"value":{"text":"2"}}`, "line 3 of the input has no key or no value"},
		{`{"key"`, "line 3 of the input"},
		{`{"key":"` + strings.Repeat("k", 1<<16) + `","value":{"text":"2"}}`, "line 3, key"},
	} {
		ctl(text+bad.line, on("import")...).want(t, exitFailed, "2 values written", bad.want)
	}
	ctl("", on("export", "-o", filepath.Join(file, "nowhere"))...).want(t, exitFailed, "", "not a directory")
	ctl("", on("export", "-timeout", "1ns")...).want(t, exitFailed, "", "no answer from the node")
	ctl("", at("import")...).want(t, exitUsage, "", "no -bucket")
}
