package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica"
)

// restoreItems is how many items are backed up.
const restoreItems = 1000

func restoreKey(i int) string { return fmt.Sprint("k", i) }

// fillBucket writes the items, all but one in ten of which stay.
func fillBucket(t *testing.T, b *replica.Bucket) {
	t.Helper()
	var puts []replica.BatchPut
	var deletes []replica.BatchDelete
	for i := range restoreItems {
		puts = append(puts, replica.BatchPut{Key: restoreKey(i), Value: fmt.Append(nil, "value ", i)})
		if i%10 == 0 {
			deletes = append(deletes, replica.BatchDelete{Key: restoreKey(i)})
		}
	}
	if _, err := b.PutMany(t.Context(), puts, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.DeleteMany(t.Context(), deletes, nil); err != nil {
		t.Fatal(err)
	}
}

// wantRestored compares what a node reads of all items with what was backed up of them; but says which are
// not to be there.
func wantRestored(t *testing.T, b *replica.Bucket, but func(i int) bool) {
	t.Helper()
	var gets []replica.BatchGet
	for i := range restoreItems {
		gets = append(gets, replica.BatchGet{Key: restoreKey(i)})
	}
	items, err := b.GetMany(t.Context(), gets, &replica.GetOptions{Level: replica.Quorum})
	if len(items) != restoreItems {
		t.Fatalf("%d items, %v", len(items), err)
	}
	for i := range items {
		want := fmt.Sprint("value ", i)
		if i%10 == 0 || but(i) {
			want = ""
		}
		v, _ := items[i].Value()
		if string(v) != want || want != "" && items[i].Err != nil || want == "" && !errors.Is(items[i].Err, replica.ErrNotFound) {
			t.Fatalf("%s is %q, %v, want %q", restoreKey(i), v, items[i].Err, want)
		}
	}
}

// A mesh that is lost with all its disks comes back into another one, of another size, secret and number
// of shards.
func TestALostMeshIsRestored(t *testing.T) {
	old, stores, buckets := startStores(t, mintSecret(t), 3, 32)
	fillBucket(t, buckets[0])
	where := t.TempDir()
	backUp(t, where, old, stores)
	was := old[0].Mesh().String()
	for i, n := range old {
		if err := errors.Join(stores[i].Close(), n.Close()); err != nil {
			t.Fatal(err)
		}
	}

	fresh, _, into := startStores(t, mintSecret(t), 2, 16)
	t.Setenv("SKEIN_ADDR", fresh[0].Addr().String())
	identity, stranger := writeKeyFile(t, testIdentity), writeKeyFile(t, testStranger)
	on := func(args ...string) []string {
		return append([]string{"restore", "-shards", "16", "-tier", "dir:" + where}, args...)
	}
	ctl("", on()...).want(t, exitUsage, "", "no -identity")
	ctl("", on("-identity", stranger)...).want(t, exitFailed, "of mesh "+was, "none of the identities")
	ctl("", on("-identity", identity, "-by", "2020-01-01")...).want(t, exitFailed, "", "there is no backup")

	var listed struct{ Points []pointJSON }
	if err := json.Unmarshal([]byte(ctl("", "backup", "list", "-json", "-tier", "dir:"+where).out), &listed); err != nil || len(listed.Points) != 3 {
		t.Fatalf("%+v, %v", listed, err)
	}
	signers := []string{"-identity", identity, "-key", "k1"}
	for _, p := range listed.Points {
		signers = append(signers, "-signer", p.Key)
	}
	ctl("", on(signers...)...).want(t, exitOK, "1 record looked at, 1 brought", "")
	nobody := strings.Repeat("00", 32)
	ctl("", on("-identity", identity, "-signer", nobody[2:])...).want(t, exitUsage, "", "64 hexadecimal digits")
	ctl("", on("-identity", identity, "-signer", nobody)...).want(t, exitFailed, "", "there is no backup")

	ctl("", on("-identity", identity, "-bucket", "another")...).want(t, exitFailed, "", "there is no backup")
	ctl("", on("-identity", identity, "-bucket", "b", "-key", "k1", "-key", "k2")...).want(t, exitOK, "2 records looked at, 1 brought, 0 refused", "")
	ctl("", on("-identity", identity, "-prefix", "k10", "-policy", "all")...).want(t, exitOK, "of mesh "+was, "")
	wantRestored(t, into[1], func(i int) bool {
		return i != 1 && i != 2 && !strings.HasPrefix(restoreKey(i), "k10")
	})

	out := ctl("", on("-identity", identity)...).want(t, exitOK, ", 0 refused; 0 lost, 0 faults;", "").out
	for _, n := range old {
		if !strings.Contains(out, fmt.Sprintf("  node %v, policy all, 20", n.ID())) {
			t.Errorf("restore printed %q", out)
		}
	}
	done := filepath.Join(t.TempDir(), "progress")
	ctl("", on("-identity", identity, "-progress", done)...).want(t, exitOK, ", 0 refused; 0 lost, 0 faults;", "")
	ctl("", on("-identity", identity, "-progress", done)...).want(t, exitOK, ": 0 records looked at", "had been brought before")
	for _, b := range into {
		wantRestored(t, b, func(int) bool { return false })
	}
	testRestoreAgain(t, on, identity, into[0])
	testRestoreOfDamage(t, where, on, identity)
}

// testRestoreAgain brings nothing, and leaves alone what was written since.
func testRestoreAgain(t *testing.T, on func(...string) []string, identity string, b *replica.Bucket) {
	if _, err := b.Put(t.Context(), "k3", []byte("newer"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Delete(t.Context(), "k4", nil); err != nil {
		t.Fatal(err)
	}
	var got restoredJSON
	out := ctl("", on("-identity", identity, "-json")...).want(t, exitOK, "", "").out
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Brought != 0 || got.Records < restoreItems || got.Slices != got.OfSlices || got.Refused == nil || got.Faults == nil || got.Lost == nil {
		t.Errorf("restore: %q, %v", out, err)
	}
	if it, err := b.Get(t.Context(), "k3", nil); err != nil {
		t.Error(err)
	} else if v, _ := it.Value(); string(v) != "newer" {
		t.Errorf("k3 is %q", v)
	}
	if _, err := b.Get(t.Context(), "k4", nil); !errors.Is(err, replica.ErrNotFound) {
		t.Errorf("k4: %v", err)
	}
}

// testRestoreOfDamage loses a segment: at another tier, whole, nothing is lost.
func testRestoreOfDamage(t *testing.T, where string, on func(...string) []string, identity string) {
	whole := t.TempDir()
	if err := os.CopyFS(whole, os.DirFS(where)); err != nil {
		t.Fatal(err)
	}
	segment := findObjects(t, where, "s-")[0]
	if err := os.Remove(segment); err != nil {
		t.Fatal(err)
	}
	ctl("", on("-identity", identity)...).want(t, exitProblems, `lost: bucket "b", shard `, "")
	out := ctl("", on("-identity", identity, "-tier", "dir:"+whole)...).want(t, exitProblems, filepath.Base(segment), "").out
	if strings.Contains(out, "lost: ") || !strings.Contains(out, "; 0 lost, ") {
		t.Errorf("restore printed %q", out)
	}
}

// Nodes that cannot take backups in say so, and what goes wrong there is told.
func TestRestoreIsRefused(t *testing.T) {
	nodes, stores, buckets := startStores(t, mintSecret(t), 1, 16)
	fillBucket(t, buckets[0])
	where := t.TempDir()
	backUp(t, where, nodes, stores)
	args := []string{"restore", "-tier", "dir:" + where, "-identity", writeKeyFile(t, testIdentity)}
	at := func(n *mesh.Node) []string { return append(args, "-addr", n.Addr().String()) }
	secret := mintSecret(t)
	bare := startNode(t, secret, func(c *mesh.Config) { c.Name = "bare" })
	ctl("", at(bare)...).want(t, exitFailed, "", "has no store")
	camera := startNode(t, secret, func(c *mesh.Config) { c.Name, c.Storing = "camera", false })
	openStore(t, camera)
	ctl("", at(camera)...).want(t, exitFailed, "", "stores nothing")
	off := startNode(t, secret, func(c *mesh.Config) { c.Name, c.AllowAdmin = "off", false })
	openStore(t, off)
	ctl("", at(off)...).want(t, exitFailed, "", "AllowAdmin")
}

// A page is brought again while the node has too much to do, and the restore ends when it is gone.
func TestRestoreWaitsForABusyNode(t *testing.T) {
	calls := 0
	var why error
	busy := &patientTarget{replica.NewClient(callFunc(func() error {
		if calls++; calls < 3 {
			return mesh.ErrOverloaded
		}
		return mesh.ErrUnreachable
	})), importRetry, func(err error) { why = err }}
	if _, err := busy.Import(t.Context(), nil, nil); err == nil || calls != 3 || !errors.Is(why, mesh.ErrUnreachable) {
		t.Errorf("%v after %d calls", err, calls)
	}
}

// callFunc is a node that fails so.
type callFunc func() error

func (f callFunc) Call(context.Context, string, []byte) ([]byte, error) { return nil, f() }

// What was refused is listed when that is asked for, and harmless.
func TestWhatWasRefusedIsListed(t *testing.T) {
	got := backup.Restored{
		Slices: 1, OfSlices: 2, Records: 5, Brought: 2, RefusedInAll: 3,
		Refused: []backup.RefusedRecord{{Bucket: "b", Key: "k\x1b"}, {Bucket: "b", Key: "\xff"}},
	}
	for _, c := range []struct {
		json, verbose bool
		want, lacks   string
	}{
		{false, false, "1 of 2 slices restored: 5 records looked at, 2 brought, 3 refused;", "refused: "},
		{false, true, "refused: b\t\"k\\x1b\"\n", "\x1b"},
		{false, true, "refused: 1 more\n", "\xff"},
		{true, false, `"key_base64":"/w=="`, "\x1b"},
	} {
		var out bytes.Buffer
		s := &session{out: &out, json: c.json, backups: backupOptions{verbose: c.verbose}}
		if err := showRestored(s, got, view.View{}); err != nil || !strings.Contains(out.String(), c.want) || strings.Contains(out.String(), c.lacks) {
			t.Errorf("%q, %v", out.String(), err)
		}
	}
}
