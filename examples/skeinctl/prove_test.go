package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/backup/ledger"
	"github.com/skeinmesh/skein/mesh"
)

// What was written is proven through any node, and verified without one: proofs, and whole logs. What was
// changed, or is by somebody else, is told.
func TestWritesAreProven(t *testing.T) {
	nodes, _, buckets := startStores(t, mintSecret(t), 2, 16)
	addr := nodes[0].Addr().String()
	on := func(args ...string) []string {
		return append([]string{"prove", "-addr", addr, "-shards", "16"}, args...)
	}
	ctl("", on("-bucket", "b", "k1")...).want(t, exitFailed, "", "does not call its HandleAdmin")
	var ledgers []*ledger.Ledger
	dirs := []string{t.TempDir(), t.TempDir()}
	for i, node := range nodes {
		l, err := ledger.Open(t.Context(), ledger.Config{Mesh: node, Dir: dirs[i]})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.HandleAdmin(node, buckets[i].Writes()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- l.NewFeed(buckets[i].Writes()).Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			_ = l.Close()
		})
		ledgers = append(ledgers, l)
	}
	fillBucket(t, buckets[0])
	keys := []string{"k1", "k2", "k3", "k4", "k10"} // the last one is deleted
	waitFor(t, "all is entered", func() bool {
		return !slices.ContainsFunc(keys, func(key string) bool {
			_, err := ledgers[0].ProveKey(t.Context(), buckets[0].Writes(), key)
			return err != nil
		})
	})
	trust := ""
	for i, l := range ledgers {
		if err := l.Cosign(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, cosign := l.Keys()
		if trust += "witness " + cosign + "\n"; i == 1 {
			trust += "# a comment\n\nquorum 1\n"
		}
	}

	ctl("", on("k1")...).want(t, exitUsage, "", "no -bucket")
	ctl("", on("-bucket", "b", "-quorum", "1", "k1")...).want(t, exitUsage, "", "no use for -quorum")
	ctl("", on("-bucket", "b", "never")...).want(t, exitNotFound, "", "does not know key")
	ctl("", on("-bucket", "c", "k1")...).want(t, exitFailed, "", "has not named it")
	where := t.TempDir()
	for _, key := range keys {
		file := filepath.Join(where, key)
		var told proofJSON
		if err := json.Unmarshal([]byte(ctl("", on("-bucket", "b", "-o", file, "-json", key)...).want(t, exitOK, "", "").out), &told); err != nil {
			t.Fatal(err)
		}
		if told.File != file || told.Proof != "" || told.Proven.Key != key || !strings.Contains(told.Asked.Cosign, nodes[0].ID().String()) {
			t.Errorf("%+v", told)
		}
		if isZero := strings.Trim(told.Proven.Sum, "0") == ""; isZero != (key == "k10") {
			t.Errorf("%s: sum %s", key, told.Proven.Sum)
		}
		keys := writeKeyFile(t, "log "+told.Log+"\n"+trust)
		ctl("", "prove", "--verify", "-trust", keys, file).want(t, exitOK, "proven: write of bucket b, key "+key, "")
		ctl("", "prove", "-verify", "-trust", keys, "-json", file).want(t, exitOK, `"ok":true`, "")
		other, _ := ledgers[0].Keys()
		if told.Log == other {
			other, _ = ledgers[1].Keys()
		}
		ctl("", "prove", "-verify", "-log", other, file).want(t, exitProblems, "not proven: ", "")
		ctl("", "prove", "-verify", "-trust", keys, "-quorum", "2", file).want(t, exitUsage, "", "a second key")
	}
	if got := ctl("", on("-bucket", "b", "k1")...).want(t, exitOK, "c2sp.org/tlog-proof@v1\n", "").out; got != readFile(t, filepath.Join(where, "k1")) {
		t.Errorf("printed: %q", got)
	}
	ctl("", on("-bucket", "b", "-o", filepath.Join(where, "x"), "k1")...).want(t, exitOK, "\nwitness skein/", "")
	t.Run("offline", func(t *testing.T) { verifyOffline(t, ledgers[0], dirs[0], trust, filepath.Join(where, "k1")) })
	off := startNode(t, mintSecret(t), func(c *mesh.Config) { c.Name, c.AllowAdmin = "off", false })
	ctl("", "prove", "-addr", off.Addr().String(), "-bucket", "b", "k1").want(t, exitFailed, "", "AllowAdmin")
}

// verifyOffline verifies a whole log and bad input, with neither secret nor node.
func verifyOffline(t *testing.T, l *ledger.Ledger, dir, trust, proof string) {
	t.Setenv("SKEIN_SECRET_FILE", "")
	log, _ := l.Keys()
	keys := writeKeyFile(t, "log "+log+"\n"+trust)
	ctl("", "prove", "-verify", "-trust", keys, dir).want(t, exitOK, "is whole, and is that of its checkpoint; ", "")
	ctl("", "prove", "-verify", "-trust", keys, "-json", dir).want(t, exitOK, `"ok":true`, "")
	ctl("", "prove", "-verify", "-log", log, dir).want(t, exitOK, "of its checkpoint\n", "")
	ctl("", "prove", "-verify", proof).want(t, exitUsage, "", "no key of a log")
	ctl("", "prove", "-verify", "-log", log, "-quorum", "1", proof).want(t, exitUsage, "", "-quorum 1 of 0 witness keys")
	ctl("", "prove", "-verify", "-log", log, "-bucket", "b", proof).want(t, exitUsage, "", "no use for -bucket")
	ctl("", "prove", "-verify", "-trust", writeKeyFile(t, "key "+log), proof).want(t, exitUsage, "", "no line as")
	ctl("", "prove", "-verify", "-trust", writeKeyFile(t, "quorum many"), proof).want(t, exitUsage, "", "no line as")
	ctl("", "prove", "-verify", "-trust", keys+"x", proof).want(t, exitFailed, "", "no such file")
	ctl("", "prove", "-verify", "-log", log, proof+"x").want(t, exitFailed, "", "no such file")
	ctl("", "prove", "-verify", "-log", "no key", proof).want(t, exitProblems, "not proven: ", "")
	bad := []byte(readFile(t, proof))
	bad[100] ^= 1
	path := writeKeyFile(t, string(bad))
	ctl("", "prove", "-verify", "-log", log, path).want(t, exitProblems, "not proven: ", "")
	ctl("", "prove", "-verify", "-log", log, "-json", path).want(t, exitProblems, `"ok":false`, "")
	if _, err := l.Append(t.Context(), ledger.Leaf{Kind: ledger.Event, Bucket: "b"}); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	entries, err := filepath.Glob(filepath.Join(copied, "*", "tile", "entries", "000"))
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	data := []byte(readFile(t, entries[0]))
	data[50] ^= 1
	if err := os.WriteFile(entries[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	ctl("", "prove", "-verify", "-trust", keys, copied).want(t, exitProblems, "not proven: ", "")
}
