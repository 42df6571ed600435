package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/skeinmesh/skein/replica"
)

// What a bad run has overwritten and deleted is listed, and put back; what was written since it was
// listed stays.
func TestABadRunIsUndone(t *testing.T) {
	nodes, stores, buckets := startStores(t, mintSecret(t), 1, 16)
	fillBucket(t, buckets[0])
	where, b := t.TempDir(), buckets[0]
	backUp(t, where, nodes, stores)
	t.Setenv("SKEIN_ADDR", nodes[0].Addr().String())
	put := func(key, value string) {
		if _, err := b.Put(t.Context(), key, []byte(value), nil); err != nil {
			t.Fatal(err)
		}
	}
	put("k1", "bad")
	put("k2", "bad")
	if _, err := b.Delete(t.Context(), "k3", nil); err != nil {
		t.Fatal(err)
	}
	on := func(args ...string) []string {
		return append([]string{"restore", "-put-back", "-shards", "16", "-tier", "dir:" + where, "-identity", writeKeyFile(t, testIdentity)}, args...)
	}
	ctl("", on()...).want(t, exitUsage, "", "no -bucket")
	ctl("", on("-bucket", "b", "-yes", "-plan", "x")...).want(t, exitUsage, "", "give one")
	ctl("", "restore", "-tier", "dir:"+where, "-identity", "x", "-yes").want(t, exitUsage, "", "for -put-back")
	ctl("", on("-bucket", "b")...).want(t, exitOK, "3 keys would be written; none is without -yes or -plan; 897 unchanged", "")
	ctl("", on("-bucket", "b", "-key", "k1")...).want(t, exitOK, "present\t7\t3\tb\tk1\n", "")
	wantRestored := func(want map[string]string) {
		t.Helper()
		for key, text := range want {
			it, err := b.Get(t.Context(), key, nil)
			if v, _ := it.Value(); string(v) != text || err != nil && !errors.Is(err, replica.ErrNotFound) {
				t.Errorf("%s is %q, %v, want %q", key, v, err, text)
			}
		}
	}
	wantRestored(map[string]string{"k1": "bad", "k2": "bad", "k3": ""})
	plan := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(plan, []byte(ctl("", on("-bucket", "b", "-json")...).want(t, exitOK, `"now":"deleted"`, "").out), 0o600); err != nil {
		t.Fatal(err)
	}
	put("k1", "by a person")
	put("k4", "bad, later")
	ctl("", on("-bucket", "b", "-plan", plan)...).want(t, exitProblems, "written since it was listed, and left alone: b\tk1\n", "")
	wantRestored(map[string]string{"k1": "by a person", "k2": "value 2", "k3": "value 3", "k4": "bad, later"})
	ctl("", on("-bucket", "b", "-yes")...).want(t, exitOK, "2 keys written, 0 left alone, 0 failed, 0 written by somebody else, too; 898 unchanged", "")
	wantRestored(map[string]string{"k1": "value 1", "k4": "value 4", "k10": ""})
}
