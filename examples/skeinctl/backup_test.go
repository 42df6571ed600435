package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/backup/dir"
	"github.com/skeinmesh/skein/backup/s3"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica"
)

// An identity of these tests, to whom they seal, and one who opens nothing.
const (
	testIdentity  = "AGE-SECRET-KEY-1SYUCWYWTX8KQ24P4KCF2FXYUDTEQM4EUJ4LAT0ED7RS6SXMVC8CSU99UYQ"
	testRecipient = "age1p4r78t0eh2pav0kxr5pwe4hxuzlg8hhec9pzm4j63mrjgmpqx44q8a6ze2"
	testStranger  = "AGE-SECRET-KEY-1CUN5DSNFZ2TV4GG3SMGCF2TGFTA4GQN0FCS5MRASH3DVTU54QW4SY6W0PQ"
)

// startStores starts a mesh of so many nodes, with a bucket "b", which is ready when it returns.
func startStores(t *testing.T, secret []byte, n, shards int) (nodes []*mesh.Node, stores []*replica.Store, buckets []*replica.Bucket) {
	t.Helper()
	for i := range n {
		node := startNode(t, secret, func(c *mesh.Config) {
			c.Name, c.Zone, c.Shards = fmt.Sprint("press-", i), fmt.Sprint("line-", i), shards
			if i > 0 {
				c.Seeds = []string{nodes[0].Addr().String()}
			}
		})
		nodes, stores = append(nodes, node), append(stores, openStore(t, node))
	}
	for i, node := range nodes {
		waitFor(t, "the nodes meet", func() bool { return node.View().Count(view.Alive) == n })
		b, err := stores[i].Bucket(t.Context(), "b", replica.BucketConfig{})
		if err != nil {
			t.Fatal(err)
		}
		buckets = append(buckets, b)
	}
	for _, store := range stores {
		waitFor(t, "stores in sync", func() bool {
			st, err := store.Status(t.Context())
			return err == nil && st.Syncing == 0
		})
	}
	return nodes, stores, buckets
}

// backUp makes a backup of all nodes in a directory, by a policy "all".
func backUp(t *testing.T, where string, nodes []*mesh.Node, stores []*replica.Store) {
	t.Helper()
	tier, err := dir.New(dir.Options{Dir: where})
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range nodes {
		b, err := backup.Open(t.Context(), backup.Config{
			Mesh: n, Store: stores[i],
			Tiers:    []backup.TierConfig{{Name: "usb", Tier: tier, Recipients: []string{testRecipient}}},
			Policies: []backup.Policy{{Name: "all", Levels: []backup.Level{{Tier: "usb"}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		done, err := b.Now(t.Context(), "all", "usb")
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err != nil || done.Failed != nil || done.NotReady > 0 {
			t.Fatalf("%+v, %v", done, err)
		}
	}
}

// writeKeyFile writes a file that only its owner reads.
func writeKeyFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// findObjects returns the files of a directory of backups whose names begin so.
func findObjects(t *testing.T, where, prefix string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(where, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasPrefix(d.Name(), prefix) {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil || len(paths) == 0 {
		t.Fatalf("%q: %v, %v", prefix, paths, err)
	}
	return paths
}

// What lies at a tier is listed and verified without a node, and what may go is deleted only when that is meant.
func TestBackupsAreLookedAfter(t *testing.T) {
	nodes, stores, buckets := startStores(t, mintSecret(t), 1, 16)
	t.Setenv("SKEIN_SECRET_FILE", "")
	where := t.TempDir()
	on := func(verb string, args ...string) []string {
		return append([]string{"backup", verb, "-tier", "dir:" + where}, args...)
	}
	ctl("", on("list")...).want(t, exitOK, "ID", "")
	ctl("", on("verify")...).want(t, exitFailed, "", "there is no backup")
	for i := range 2 {
		for k := range 20 {
			if _, err := buckets[0].Put(t.Context(), fmt.Sprint("k", k), []byte(fmt.Sprint("value ", i)), nil); err != nil {
				t.Fatal(err)
			}
		}
		backUp(t, where, nodes, stores)
	}
	id, meshID := nodes[0].ID().String(), nodes[0].Mesh().String()
	out := ctl("", on("list", "-node", id, "-policy", "all", "-mesh-id", meshID)...).want(t, exitOK, "whole", "").out
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 3 || !strings.HasPrefix(lines[1], id+"/") || !strings.HasSuffix(lines[1], "dir:"+where) {
		t.Errorf("list: %q", out)
	}
	var listed struct {
		Points []pointJSON
		Faults []string
	}
	if err := json.Unmarshal([]byte(ctl("", on("list", "-json")...).out), &listed); err != nil || len(listed.Points) != 2 || listed.Faults == nil || listed.Points[0].Mesh.String() != meshID || listed.Points[0].Bytes == 0 || len(listed.Points[0].Key) != 64 {
		t.Fatalf("list: %+v, %v", listed, err)
	}
	older := listed.Points[1]
	for want, args := range map[int][]string{
		0: {"-policy", "other"}, 1: {"-id", older.ID}, 2: {"-from", "2020-01-01"},
	} {
		if got := strings.Count(ctl("", on("list", args...)...).want(t, exitOK, "ID", "").out, "\n") - 1; got != want {
			t.Errorf("%q lists %d, want %d", args, got, want)
		}
	}
	if out := ctl("", on("list", "-to", older.Time.Add(-time.Hour).Format(time.RFC3339))...).out; strings.Count(out, "\n") != 1 {
		t.Errorf("list -to: %q", out)
	}
	identity, stranger := writeKeyFile(t, "# made for tests\n"+testIdentity+"\n"), writeKeyFile(t, testStranger)
	ctl("", on("verify")...).want(t, exitOK, "2 backups, ", "")
	ctl("", on("verify", "-identity", identity)...).want(t, exitOK, "0 faults", "")
	ctl("", on("verify", "-identity", stranger)...).want(t, exitFailed, "", "none of the identities")
	testDrill(t, on, identity, stranger)
	ctl("", on("prune", "-keep", "all=30d")...).want(t, exitOK, "0 objects", "")
	ctl("", on("prune", "-keep", "all=1ns")...).want(t, exitOK, "would be deleted", "")
	if n := len(findObjects(t, where, "m-")); n != 2 {
		t.Fatalf("%d manifests after a dry run", n)
	}
	testPruning(t, where, on)
	testDamage(t, where, on)
}

// testDrill restores what is there into nothing.
func testDrill(t *testing.T, on func(string, ...string) []string, identity, stranger string) {
	ctl("", on("drill", "-identity", identity)...).want(t, exitOK, "20 keys of 16 slices", "")
	ctl("", on("drill")...).want(t, exitUsage, "", "no -identity")
	ctl("", on("drill", "-identity", stranger)...).want(t, exitFailed, "", "none of the identities")
	ctl("", on("drill", "-identity", identity, "-policy", "other")...).want(t, exitFailed, "", "there is no backup")
	var got drillJSON
	out := ctl("", on("drill", "-identity", identity, "-json")...).want(t, exitOK, "", "").out
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Keys != 20 || len(got.Buckets) != 1 || got.Buckets[0].Keys != 20 || got.Lost == nil {
		t.Errorf("drill: %s, %v", out, err)
	}
}

// testPruning deletes the older backup.
func testPruning(t *testing.T, where string, on func(string, ...string) []string) {
	var pruned struct {
		Deleted bool
		Tiers   []prunedJSON
	}
	out := ctl("", on("prune", "-keep", "all=1ns", "-yes", "-json")...).want(t, exitOK, "", "").out
	if err := json.Unmarshal([]byte(out), &pruned); err != nil || !pruned.Deleted || len(pruned.Tiers) != 1 || len(pruned.Tiers[0].Objects) == 0 {
		t.Errorf("prune: %q, %v", out, err)
	}
	if n := len(findObjects(t, where, "m-")); n != 1 {
		t.Errorf("%d manifests after it was pruned", n)
	}
	// The policy itself keeps all: who cuts a chain off earlier than the node meant is found out.
	ctl("", on("verify")...).want(t, exitProblems, "too young to have been deleted", "")
}

// testDamage changes a segment, then the manifest.
func testDamage(t *testing.T, where string, on func(string, ...string) []string) {
	damage := func(path string) {
		t.Helper()
		text := []byte(readFile(t, path))
		text[len(text)/2] ^= 1
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	segment := findObjects(t, where, "s-")[0]
	damage(segment)
	ctl("", on("verify")...).want(t, exitProblems, filepath.Base(segment)+": the object was changed", "")
	var got verifyJSON
	if err := json.Unmarshal([]byte(ctl("", on("verify", "-json")...).want(t, exitProblems, "", "").out), &got); err != nil || len(got.Faults) != 2 || got.Points != 1 {
		t.Errorf("verify: %+v, %v", got, err)
	}
	damage(findObjects(t, where, "m-")[0])
	ctl("", on("list")...).want(t, exitProblems, "ID", "not the manifest of a backup")
	ctl("", on("verify")...).want(t, exitProblems, "fault: ", "")
	gone := ctl("", "backup", "list", "-tier", "dir:"+filepath.Join(where, "nowhere")).want(t, exitProblems, "ID", "nowhere")
	if strings.Count(gone.out, "\n") != 1 {
		t.Errorf("list: %q", gone.out)
	}
}

func TestBackupCommandLines(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
		t.Setenv(name, "")
	}
	for _, c := range []struct {
		args string
		code int
		err  string
	}{
		{"", exitUsage, "takes 1 argument"},
		{"frob -tier dir:x", exitUsage, "list, verify, drill, prune, now or status"},
		{"list", exitUsage, "no -tier"},
		{"list -tier ftp:x", exitUsage, "neither dir:"},
		{"list -tier dir:", exitUsage, "-tier"},
		{"list -tier dir:x -yes", exitUsage, "list has no use for -yes"},
		{"prune -tier dir:x -from 2020-01-01", exitUsage, "prune has no use for -from"},
		{"prune -tier dir:x -keep all", exitUsage, "hourly=7d"},
		{"prune -tier dir:x -keep all=-7d", exitUsage, "hourly=7d"},
		{"list -tier dir:x -node press-1", exitUsage, "not a node id"},
		{"list -tier dir:x -to yesterday", exitUsage, "in UTC"},
		{"list -tier dir:x -mesh-id 12", exitUsage, "not a mesh id"},
		{"list -tier s3:https://host/bucket", exitFailed, "no credentials"},
		{"list -tier s3:https://host/bucket -credentials no-such-file", exitFailed, "no-such-file"},
	} {
		r := ctl("", append([]string{"backup"}, strings.Fields(c.args)...)...)
		if r.code != c.code || !strings.Contains(r.err, c.err) || r.out != "" {
			t.Errorf("%q: exit %d, printed %q and %q; want exit %d and %q", c.args, r.code, r.out, r.err, c.code, c.err)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "planted")
	for spec, want := range map[string]string{
		"s3:https://me:planted@host/bucket": "password", "s3:host/bucket": "Endpoint", "s3:https://host": "Bucket", "s3:https://host/bucket?zone=1": "region",
	} {
		if r := ctl("", "backup", "list", "-tier", spec).want(t, exitUsage, "", want); strings.Contains(r.err, "planted") {
			t.Errorf("%q: %q", spec, r.err)
		}
	}
	// A service that is not there is told.
	ctl("", "backup", "list", "-tier", "s3:http://127.0.0.1:1/bucket/some/prefix?region=eu-1").want(t, exitProblems, "ID", "in bucket bucket")
}

// Credentials are found in the files that Amazon's tools write.
func TestCredentialsAreRead(t *testing.T) {
	path := writeKeyFile(t, "# none\n[other]\naws_access_key_id = no\n[default]\naws_access_key_id = id\nAWS_SECRET_ACCESS_KEY=a=b \n\n[third]\naws_session_token=no\n")
	s := &session{backups: backupOptions{credentials: path}}
	if keys, err := loadCredentials(s); err != nil || keys != (s3.Credentials{AccessKey: "id", SecretKey: "a=b"}) {
		t.Errorf("%+v, %v", keys, err)
	}
}
