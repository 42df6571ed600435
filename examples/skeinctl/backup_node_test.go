package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/backup/dir"
	"github.com/skeinmesh/skein/mesh"
)

// A node makes a backup when it is asked to, and tells how its backups do.
func TestNodesAreAskedForBackups(t *testing.T) {
	nodes, stores, buckets := startStores(t, mintSecret(t), 1, 16)
	addr := nodes[0].Addr().String()
	on := func(verb string, args ...string) []string {
		return append([]string{"backup", verb, "-addr", addr, "-shards", "16"}, args...)
	}
	ctl("", on("status")...).want(t, exitFailed, "", "does not call its HandleAdmin")
	where := filepath.Join(t.TempDir(), "usb") // not there yet
	tier, err := dir.New(dir.Options{Dir: where})
	if err != nil {
		t.Fatal(err)
	}
	b, err := backup.Open(t.Context(), backup.Config{
		Mesh: nodes[0], Store: stores[0],
		Tiers:    []backup.TierConfig{{Name: "usb", Tier: tier, Recipients: []string{testRecipient}}},
		Policies: []backup.Policy{{Name: "all", Levels: []backup.Level{{Tier: "usb"}}}, {Name: "few", Prefix: "k1", Levels: []backup.Level{{Tier: "usb"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	if err := b.HandleAdmin(nodes[0]); err != nil {
		t.Fatal(err)
	}
	fillBucket(t, buckets[0])

	ctl("", on("status")...).want(t, exitOK, "never", "")
	ctl("", on("now", "-policy", "all")...).want(t, exitFailed, "", "policy all, tier usb: ")
	ctl("", on("status")...).want(t, exitProblems, "failed: ", "")
	if err := os.Mkdir(where, 0o700); err != nil {
		t.Fatal(err)
	}
	ctl("", on("now")...).want(t, exitOK, "all at usb: 16 slices of 16 slices changed, 1000 records, ", "")
	out := ctl("", on("now", "-policy", "all", "-tier", "usb", "-json")...).want(t, exitOK, `{"policy":"all","tier":"usb","done":{"segments":0,`, "").out
	if strings.Count(out, "\n") != 1 {
		t.Errorf("now: %q", out)
	}
	var got struct{ Levels []levelJSON }
	if err := json.Unmarshal([]byte(ctl("", on("status", "-json")...).want(t, exitOK, "", "").out), &got); err != nil || len(got.Levels) != 2 || got.Levels[1].LastGood.IsZero() || got.Levels[1].Done.Records != 111 || got.Levels[0].Running {
		t.Errorf("status: %+v, %v", got, err)
	}
	ctl("", on("now", "-policy", "other")...).want(t, exitFailed, "", "none that fits")
	ctl("", on("status", "-keep", "all=1d")...).want(t, exitUsage, "", "status has no use for -keep")
	ctl("", "backup", "list", "-tier", "dir:"+where, "-addr", addr).want(t, exitUsage, "", "list has no use for -addr")
	ctl("", "backup", "verify", "-tier", "dir:"+where).want(t, exitOK, "3 backups, ", "")
	off := startNode(t, mintSecret(t), func(c *mesh.Config) { c.Name, c.AllowAdmin = "off", false })
	ctl("", "backup", "status", "-addr", off.Addr().String()).want(t, exitFailed, "", "AllowAdmin")
	t.Setenv("SKEIN_SECRET_FILE", "")
	ctl("", "backup", "status", "-addr", addr).want(t, exitUsage, "", "SKEIN_SECRET_FILE")
}
