package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition"
	"github.com/skeinmesh/skein/replica"
)

// ran is what a command left behind.
type ran struct {
	code     int
	out, err string
}

func ctl(stdin string, args ...string) ran {
	var out, err bytes.Buffer
	code := runCommand(args, strings.NewReader(stdin), &out, &err)
	return ran{code, out.String(), err.String()}
}

// want checks a command's exit code, and that its output contains a text.
func (r ran) want(t *testing.T, code int, out, err string) ran {
	t.Helper()
	if r.code != code || !strings.Contains(r.out, out) || !strings.Contains(r.err, err) || err == "" && r.err != "" {
		t.Fatalf("exit %d, printed %q and %q; want exit %d, %q and %q", r.code, r.out, r.err, code, out, err)
	}
	return r
}

// startNode starts a node on loopback that ends with the test.
func startNode(t *testing.T, secret []byte, change func(*mesh.Config)) *mesh.Node {
	t.Helper()
	cfg := mesh.Config{Dir: t.TempDir(), Secret: secret, Storing: true, Listen: "127.0.0.1:0", AllowAdmin: true}
	change(&cfg)
	n, err := mesh.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

func openStore(t *testing.T, n *mesh.Node) *replica.Store {
	t.Helper()
	s, err := replica.Open(t.Context(), replica.Config{Mesh: n})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// mintSecret has init write a secret, and names it to the commands.
func mintSecret(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	ctl("", "init", "-secret-file", path).want(t, exitOK, path, "")
	t.Setenv("SKEIN_SECRET_FILE", path)
	secret, err := identity.ParseSecret(readFile(t, path))
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// startMesh starts two storing nodes, each with a Partition, and two buckets on
// them. The first node is where the commands go.
func startMesh(t *testing.T) []*mesh.Node {
	t.Helper()
	secret := mintSecret(t)
	var nodes []*mesh.Node
	var stores []*replica.Store
	var parts []*partition.Partition
	for i, name := range []string{"press-1", "press-2"} {
		n := startNode(t, secret, func(c *mesh.Config) {
			c.Name, c.Zone, c.MeshName, c.Shards = name, fmt.Sprint("line-", i), "plant", 16
			c.Tags, c.Capabilities = map[string]string{"line": fmt.Sprint(i), "kind": "press"}, []string{"plc", "camera"}
			if i > 0 {
				c.Seeds, c.AllowAdmin = []string{nodes[0].Addr().String()}, false
			}
		})
		nodes, stores = append(nodes, n), append(stores, openStore(t, n))
		parts = append(parts, openPartition(t, n))
	}
	for _, n := range nodes {
		waitFor(t, "two nodes meet and tell their tags", func() bool {
			v := n.View()
			return v.Count(view.Alive) == 2 && len(v.Members[0].Tags) == 2 && len(v.Members[1].Tags) == 2
		})
	}
	for _, p := range parts {
		waitFor(t, "one of two nodes leads", func() bool {
			st := p.Status()
			return len(st.Component) == 2 && !st.Leader.Token.IsZero()
		})
	}
	for name, policy := range map[string]replica.Policy{"readings": replica.LastWriterWins, "votes": replica.Siblings} {
		for _, store := range stores {
			if _, err := store.Bucket(t.Context(), name, replica.BucketConfig{Policy: policy}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, store := range stores { // until then a store does not vouch for what is not there
		waitFor(t, "stores in sync", func() bool {
			st, err := store.Status(t.Context())
			return err == nil && st.Syncing == 0
		})
	}
	t.Setenv("SKEIN_ADDR", nodes[0].Addr().String())
	return nodes
}

// at adds what every command of these tests needs to know of the mesh.
func at(command string, args ...string) []string {
	return append([]string{command, "-mesh", "plant", "-shards", "16"}, args...)
}

func TestCommandsAgainstAMesh(t *testing.T) {
	nodes := startMesh(t)
	t.Run("look", func(t *testing.T) { testLook(t, nodes) })
	t.Run("draw", func(t *testing.T) { testDraw(t, nodes) })
	t.Run("data", testData)
	t.Run("scan", testScan)
	t.Run("watch", testWatch)
	t.Run("topics", func(t *testing.T) { testTopics(t, nodes) })
	t.Run("transfer", testTransfer)
	t.Run("siblings", testSiblings)
	t.Run("json", testJSON)
	t.Run("refused", func(t *testing.T) { testRefused(t, nodes) })
	t.Run("evict", func(t *testing.T) { testEvict(t, nodes) })
}

// A node that reaches no store says what waits in it, and put says where the value is.
func TestWhatWaitsIsShown(t *testing.T) {
	n := startNode(t, mintSecret(t), func(c *mesh.Config) { c.Name, c.Storing = "camera", false })
	store := openStore(t, n)
	if _, err := store.Bucket(t.Context(), "frames", replica.BucketConfig{}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SKEIN_ADDR", n.Addr().String())
	out := ctl("", "put", "-bucket", "frames", "k", "v").want(t, exitOK, "on no store yet", "outbox").out
	if strings.Contains(out, "stored on") {
		t.Errorf("put: %q", out)
	}
	var res resultJSON
	if err := json.Unmarshal([]byte(ctl("", "put", "-bucket", "frames", "k2", "v", "-json").out), &res); err != nil || !res.Queued || res.Durable != 1 {
		t.Errorf("put: %+v, %v", res, err)
	}
	var st statusJSON
	if err := json.Unmarshal([]byte(ctl("", "status", "-json").out), &st); err != nil || st.Store == nil || st.Store.Outbox.Ops != 2 || st.Store.Outbox.Bytes == 0 || st.Store.Outbox.Error == "" {
		t.Errorf("status: %+v, %v", st.Store, err)
	}
	ctl("", "status").want(t, exitOK, "writes that wait here for a store: ", "")
	ctl("", "health").want(t, exitProblems, "2 writes of ", "")
	var h healthJSON
	if err := json.Unmarshal([]byte(ctl("", "health", "-json").out), &h); err != nil || len(h.Problems) == 0 {
		t.Fatalf("health: %+v, %v", h, err)
	}
	if p := h.Problems[len(h.Problems)-1]; p.Kind != view.ProblemOutboxWaits || p.Count != 2 || p.For == "" || !strings.HasPrefix(p.Words, "2 writes of ") {
		t.Errorf("health: %+v", p)
	}
}

func testLook(t *testing.T, nodes []*mesh.Node) {
	out := ctl("", at("members")...).want(t, exitOK, "as seen by press-1", "").out
	lines := strings.Split(out, "\n")
	if got := strings.Join(strings.Fields(lines[0]), " "); got != "NAME ID ZONE STATE STATUS STORING ADDR RTT SINCE TAGS CAPABILITIES" {
		t.Errorf("head: %q", got)
	}
	for i, n := range nodes {
		cells := strings.Fields(lines[i+1])
		want := []string{n.Name(), n.ID().String(), fmt.Sprint("line-", i), "alive", "active", "yes", n.Addr().String()}
		said := []string{fmt.Sprintf("kind=press,line=%d", i), "camera,plc"}
		if len(cells) != 11 || strings.Join(cells[:7], " ") != strings.Join(want, " ") || !slices.Equal(cells[9:], said) {
			t.Errorf("row %d: %q, want %q", i, cells, want)
		}
		if column := strings.Index(lines[0], "STATE"); strings.Index(lines[i+1], "alive") != column {
			t.Errorf("row %d is not aligned:\n%s", i, out)
		}
	}
	out = ctl("", at("status")...).want(t, exitOK, "press-1", "").out
	for _, want := range []string{"members 2", "alive 2", "tags kind=press,line=0", "capabilities camera,plc", "failed 0", "hints 0", "syncing"} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("status lacks %q:\n%s", want, out)
		}
	}
	ctl("", at("health")...).want(t, exitOK, "all is well", "")
	ctl("", at("health", "-all")...).want(t, exitOK, "shard 0: home, 2 of 2 copies in contact", "")
	var h healthJSON
	if err := json.Unmarshal([]byte(ctl("", at("health", "-all", "-json")...).out), &h); err != nil || len(h.Problems) != 0 || h.Problems == nil || len(h.Shards) == 0 || h.Shards[0].Role != "home" || h.Shards[0].Copies != 2 {
		t.Errorf("health: %+v, %v", h, err)
	}
	ctl("", at("evict", "nobody")...).want(t, exitFailed, "", "no member has the name")
	ctl("", at("evict", "-yes", "00000000000000ff")...).want(t, exitFailed, "", "no such member")
	ctl("", at("evict", "-yes", nodes[1].ID().String())...).want(t, exitFailed, "", "in contact")
	ctl("press-2\n", at("evict", "press-2")...).want(t, exitFailed, "", "in contact")
}

func testData(t *testing.T) {
	on := func(command string, args ...string) []string {
		return at(command, append([]string{"-bucket", "readings"}, args...)...)
	}
	ctl("", on("get", "t")...).want(t, exitNotFound, "", "not found")
	ctl("", on("put", "t", "71.5")...).want(t, exitOK, "stored on 2 stores, 2 of them homes", "")
	if got := ctl("", on("get", "t")...).want(t, exitOK, "", ""); got.out != "71.5" {
		t.Errorf("get printed %q", got.out)
	}
	raw := "two\nlines\x00\xff"
	ctl(raw, on("put", "t", "-", "-level", "quorum")...).want(t, exitOK, "stored", "") // flags may come last
	if got := ctl("", on("get", "t", "-level", "one")...).want(t, exitOK, "", ""); got.out != raw {
		t.Errorf("get printed %q", got.out)
	}
	ctl("", on("put", "--", "-5", "--")...).want(t, exitOK, "stored", "")
	if got := ctl("", on("get", "--", "-5")...).want(t, exitOK, "", ""); got.out != "--" {
		t.Errorf("get printed %q", got.out)
	}
	ctl("", on("del", "t")...).want(t, exitOK, "deleted on 2 stores", "")
	ctl("", on("get", "t")...).want(t, exitNotFound, "", "not found")
	ctl("", on("put", "brief", "v", "-ttl", "1ms")...).want(t, exitOK, "stored", "")
	waitFor(t, "the value has expired", func() bool { return ctl("", on("get", "brief")...).code == exitNotFound })
	ctl("", on("del", "never")...).want(t, exitOK, "deleted on 2 stores", "")
	ctl("", on("put", "t", strings.Repeat("x", 17<<20))...).want(t, exitFailed, "", "too large")
	ctl("", at("get", "-bucket", "redings", "t")...).want(t, exitFailed, "", `there is no bucket "redings"`)
}

func testSiblings(t *testing.T) {
	on := func(command string, args ...string) []string {
		return at(command, append([]string{"-bucket", "votes", "k"}, args...)...)
	}
	none := ctl("", on("get", "-context")...).want(t, exitNotFound, "\n", "not found").out
	none = strings.TrimSpace(none)
	for _, v := range []string{"yes", "no"} {
		ctl("", on("put", v, "-context", none)...).want(t, exitOK, "stored", "")
	}
	one := ctl("", on("get")...).want(t, exitOK, "", "2 concurrent values").out
	if one != "yes" && one != "no" {
		t.Errorf("get printed %q", one)
	}
	all := ctl("", on("get", "-all", "-context")...).want(t, exitOK, "yes", "").out
	lines := strings.Split(all, "\n")
	if len(lines) != 4 || lines[1]+lines[2] != "yesno" && lines[1]+lines[2] != "noyes" {
		t.Fatalf("get -all -context printed %q", all)
	}
	ctl("", on("put", "maybe", "-context", lines[0])...).want(t, exitOK, "stored", "")
	if got := ctl("", on("get", "-all")...).want(t, exitOK, "", "").out; got != "maybe\n" {
		t.Errorf("after a write that has seen both: %q", got)
	}
	ctl("", at("put", "-bucket", "votes", "other", "v", "-context", lines[0])...).want(t, exitFailed, "", "the context is of another key")
	ctl("", on("put", "v", "-context", "%%%")...).want(t, exitUsage, "", "-context is not what")
}

func testJSON(t *testing.T) {
	read := func(v any, args ...string) {
		t.Helper()
		r := ctl("", append(args, "-json")...)
		if err := json.Unmarshal([]byte(r.out), v); err != nil || r.code != exitOK || strings.Count(r.out, "\n") != 1 {
			t.Fatalf("%q: exit %d, %v: %q %q", args, r.code, err, r.out, r.err)
		}
	}
	var members struct{ Members []memberJSON }
	if read(&members, at("members")...); len(members.Members) != 2 || members.Members[1].State != "alive" || members.Members[1].Since.IsZero() || members.Members[1].Tags["line"] != "1" || len(members.Members[1].Capabilities) != 2 {
		t.Errorf("members: %+v", members)
	}
	var st statusJSON
	if read(&st, at("status")...); st.Members["alive"] != 2 || st.Store == nil || st.Name != "press-1" || st.Tags["line"] != "0" || len(st.Capabilities) != 2 {
		t.Errorf("status: %+v", st)
	}
	if p := st.Partition; p == nil || len(p.Component) != 2 || p.Leader.Token == "" || p.Leader.Election != "mesh" || p.Leader.Scope != "component" ||
		p.Situation != "whole" || p.Mode != "normal" || p.Cloud != "unknown" || p.Reached != 2 || len(p.Elections) != 1 || p.Elections[0] != p.Leader {
		t.Errorf("status: %+v", p)
	}
	var drawn struct{ SVG, File string }
	if read(&drawn, at("draw")...); !strings.HasPrefix(drawn.SVG, "<svg ") || drawn.File != "" {
		t.Errorf("draw: %+v", drawn)
	}
	path := filepath.Join(t.TempDir(), "mesh.svg")
	if read(&drawn, at("draw", "-o", path)...); drawn.File != path {
		t.Errorf("draw: %+v", drawn)
	}
	var res resultJSON
	if read(&res, at("put", "-bucket", "readings", "j", "v\xff")...); res.Durable != 2 || res.Context.IsZero() || res.Degraded {
		t.Errorf("put: %+v", res)
	}
	text, err := res.Context.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var it itemJSON
	if read(&it, at("get", "-bucket", "readings", "j")...); !it.Found || it.Value == nil || string(it.Value.Base64) != "v\xff" || len(it.Values) != 1 {
		t.Errorf("get: %+v", it)
	}
	if read(&res, at("del", "-bucket", "readings", "j", "-context", string(text))...); res.Replaced != 1 {
		t.Errorf("del: %+v", res)
	}
	gone := ctl("", at("get", "-bucket", "readings", "j", "-json")...).want(t, exitNotFound, `"found":false,"value":null,"values":[]`, "not found")
	if err := json.Unmarshal([]byte(gone.out), &it); err != nil || it.Context.IsZero() {
		t.Errorf("get of nothing: %+v, %v", it, err)
	}
}

func testRefused(t *testing.T, nodes []*mesh.Node) {
	ctl("", at("members", "-addr", nodes[1].Addr().String())...).want(t, exitFailed, "", "AllowAdmin")
	ctl("", "members", "-mesh", "plant").want(t, exitFailed, "", "-mesh and -shards") // of 271 shards
	ctl("", "members", "-shards", "16").want(t, exitFailed, "", "-mesh and -shards")
	other := filepath.Join(t.TempDir(), "other")
	ctl("", "init", "-secret-file", other).want(t, exitOK, other, "")
	for _, args := range [][]string{at("members"), at("get", "-bucket", "readings", "t"), at("put", "-bucket", "readings", "t", "v")} {
		start := time.Now()
		ctl("", append(args, "-secret-file", other)...).want(t, exitFailed, "", "the same secret")
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("%s with another secret took %v", args[0], took)
		}
	}
	secret, err := identity.ParseSecret(readFile(t, os.Getenv("SKEIN_SECRET_FILE")))
	if err != nil {
		t.Fatal(err)
	}
	_, err = mesh.Dial(t.Context(), mesh.ClientConfig{Addr: nodes[1].Addr().String(), Secret: secret, MeshName: "plant", Shards: 16})
	if !errors.Is(err, mesh.ErrAdminOff) {
		t.Errorf("a client is let in where admin requests are off: %v", err)
	}
	if _, err := nodes[0].Call(t.Context(), nodes[1].ID(), "admin/status", nil); !errors.Is(err, mesh.ErrAdminOff) {
		t.Errorf("a node gets its admin request answered where they are off: %v", err)
	}
	// None of these was a client to the node, and it goes on.
	ctl("", at("members")...).want(t, exitOK, "press-2", "")
}

func TestNodeWithoutAStore(t *testing.T) {
	n := startNode(t, mintSecret(t), func(c *mesh.Config) { c.Name = "lonely" })
	out := ctl("", "status", "-addr", n.Addr().String()).want(t, exitOK, "", "").out
	for _, want := range []string{"members 1", "store none", "partition none"} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("status lacks %q:\n%s", want, out)
		}
	}
	ctl("", "status", "-addr", n.Addr().String(), "-json").want(t, exitOK, `"store":null,"partition":null`, "")
	ctl("", "draw", "-addr", n.Addr().String()).want(t, exitFailed, "", "opens no partition")
	ctl("", "get", "-addr", n.Addr().String(), "-bucket", "b", "k").want(t, exitFailed, "", "has no store")
}

// A store that is alone keeps what it is told and says that it is alone.
func TestWritesOfALoneStore(t *testing.T) {
	secret := mintSecret(t)
	n := startNode(t, secret, func(c *mesh.Config) { c.Name = "left" })
	gone := startNode(t, secret, func(c *mesh.Config) { c.Name, c.Seeds = "gone", []string{n.Addr().String()} })
	store, far := openStore(t, n), openStore(t, gone)
	waitFor(t, "two nodes meet", func() bool { return n.View().Count(view.Alive) == 2 && gone.View().Count(view.Alive) == 2 })
	if _, err := store.Bucket(t.Context(), "b", replica.BucketConfig{}); err != nil {
		t.Fatal(err)
	}
	if err := far.Close(); err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the other is missed", func() bool { return n.View().Count(view.Alive) == 1 })
	ctl("", "put", "-addr", n.Addr().String(), "-bucket", "b", "k", "v").want(t, exitOK, "stored on 1 store, 1 of them homes; kept for 1 home", "warning: kept")
	got := ctl("", "get", "-addr", n.Addr().String(), "-bucket", "b", "k").want(t, exitOK, "", "warning: too few stores")
	if got.out != "v" {
		t.Errorf("get printed %q", got.out)
	}
	ctl("", "get", "-addr", n.Addr().String(), "-bucket", "b", "never").want(t, exitFailed, "", "too few stores answered to be sure")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	ctl("", "get", "-addr", n.Addr().String(), "-bucket", "b", "k").want(t, exitFailed, "", "closed")
}

func TestTimeoutIsKept(t *testing.T) {
	mintSecret(t)
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // accepts, by its backlog, and never says a word
	start := time.Now()
	ctl("", "members", "-addr", l.Addr().String(), "-timeout", "300ms").want(t, exitFailed, "", "(-timeout)")
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("-timeout 300ms took %v", took)
	}
	addr := l.Addr().String()
	l.Close()
	ctl("", "members", "-addr", addr).want(t, exitFailed, "", "no node of this mesh answers at "+addr)
}

func TestInit(t *testing.T) {
	t.Setenv("SKEIN_SECRET_FILE", "")
	printed := ctl("", "init").want(t, exitOK, "skein1-", "").out
	if secret, err := identity.ParseSecret(printed); err != nil || len(secret) != identity.SecretSize {
		t.Errorf("init printed %q: %v", printed, err)
	}
	if again := ctl("", "init").out; again == printed {
		t.Error("two meshes have one secret")
	}
	path := filepath.Join(t.TempDir(), "secret")
	if out := ctl("", "init", "-secret-file", path).want(t, exitOK, path, "").out; strings.Contains(out, "skein1-") {
		t.Errorf("the secret was shown: %q", out)
	}
	before := readFile(t, path)
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v, want mode 0600", info.Mode(), err)
	}
	ctl("", "init", "-secret-file", path).want(t, exitFailed, "", "there already")
	if readFile(t, path) != before {
		t.Error("the old secret was not left alone")
	}
	var told struct{ Secret, File string }
	if err := json.Unmarshal([]byte(ctl("", "init", "-json").out), &told); err != nil || !strings.HasPrefix(told.Secret, "skein1-") {
		t.Errorf("init -json: %+v, %v", told, err)
	}
}

func TestCommandLines(t *testing.T) {
	t.Setenv("SKEIN_SECRET_FILE", "")
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	garbled, open := file("garbled", "skein1-oops", 0o600), file("open", "skein1-oops", 0o644)
	for _, c := range []struct {
		args string
		code int
		err  string
	}{
		{"", exitUsage, "members"},
		{"frobnicate", exitUsage, "no command frobnicate"},
		{"members", exitUsage, "SKEIN_SECRET_FILE"},
		{"members -secret x", exitUsage, "-secret"},
		{"members -secret-file x extra", exitUsage, "takes 0 arguments, got 1"},
		{"members -secret-file x -timeout 0s", exitUsage, "-timeout must be more"},
		{"members -secret-file x -shards -1", exitUsage, "-shards must not"},
		{"get -secret-file x -bucket b", exitUsage, "takes 1 argument, got 0"},
		{"get -secret-file x k", exitUsage, "no -bucket"},
		{"get -secret-file x -bucket b -level most k", exitUsage, "-level"},
		{"get -secret-file x -bucket b -ttl 1s k", exitUsage, "-ttl"},
		{"put -secret-file x -bucket b k", exitUsage, "usage: skeinctl put [flags] key value"},
		{"init -secret-file " + filepath.Join(dir, "no", "such", "dir"), exitFailed, "no such"},
		{"members -secret-file " + filepath.Join(dir, "missing"), exitFailed, "missing"},
		{"members -secret-file " + garbled, exitFailed, "not a mesh secret"},
		{"members -secret-file " + open, exitFailed, "chmod 600"},
	} {
		if c.err == "chmod 600" && runtime.GOOS == "windows" {
			continue
		}
		r := ctl("", strings.Fields(c.args)...)
		if r.code != c.code || !strings.Contains(r.err, c.err) || r.out != "" || strings.Contains(r.err, "oops") {
			t.Errorf("%q: exit %d, printed %q and %q; want exit %d and %q", c.args, r.code, r.out, r.err, c.code, c.err)
		}
	}
	for _, args := range [][]string{{"help"}, {"-h"}, {"--help"}} {
		ctl("", args...).want(t, exitOK, "AllowAdmin", "")
	}
	for _, c := range commands() {
		r := ctl("", c.name, "-h").want(t, exitOK, c.usageLine(), "")
		if !strings.Contains(r.out, "-secret-file") || !strings.Contains(r.out, strings.TrimSpace(c.long)) {
			t.Errorf("%s -h printed %q", c.name, r.out)
		}
	}
}

func TestTextFromElsewhereIsHarmless(t *testing.T) {
	if got := cleanLine("a\x1b[2Jb\nc\r"); got != "a\ufffd[2Jb; c" {
		t.Errorf("%q", got)
	}
	if got := cleanLines("  a\x1b[2Jb\n c\r\n"); got != "  a\ufffd[2Jb\n c\ufffd\n" {
		t.Errorf("%q", got)
	}
}

// A word that means two members means none: what follows is final.
func TestMembersAreFoundByIDOrName(t *testing.T) {
	ids := []view.NodeID{0x10, 0x20, 0x30, 0x40}
	v := view.View{Members: []view.Member{
		{ID: ids[0], Name: "press-1"},
		{ID: ids[1], Name: "press-1", Status: view.Evicted},
		{ID: ids[2], Name: ids[0].String()},
		{ID: ids[3], Name: "gone", Status: view.Left},
	}}
	for word, want := range map[string]view.NodeID{"press-1": ids[0], ids[1].String(): ids[1], ids[2].String(): ids[2], "00000000000000ff": 0xff} {
		if m, err := findMember(v, word); err != nil || m.ID != want {
			t.Errorf("%s is %v, %v, want %v", word, m.ID, err, want)
		}
	}
	for _, word := range []string{ids[0].String(), "gone", "press-2", ""} {
		if m, err := findMember(v, word); err == nil {
			t.Errorf("%q is %v", word, m.ID)
		}
	}
}

func TestVersionIsTold(t *testing.T) {
	ctl("", "version").want(t, exitOK, "skeinctl ", "")
	var v versionJSON
	if err := json.Unmarshal([]byte(ctl("", "version", "-json").out), &v); err != nil || v.Version == "" || !strings.HasPrefix(v.Go, "go") {
		t.Errorf("%+v, %v", v, err)
	}
}

// The lines are run by bash itself, where there is one.
func TestBashCompletes(t *testing.T) {
	script := ctl("", "completion").want(t, exitOK, "complete ", "").out
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	for typed, want := range map[string]string{
		"skeinctl mem":          "members",
		"skeinctl put -tt":      "-ttl",
		"skeinctl health -sec":  "-secret-file",
		"skeinctl nothing -sec": "",
		"skeinctl completion -": "-json -secret-file",
	} {
		words := strings.Fields(typed)
		run := fmt.Sprintf("%s\nCOMP_WORDS=(%s); COMP_CWORD=%d; _skeinctl; echo ${COMPREPLY[*]}", script, strings.Join(words, " "), len(words)-1)
		out, err := exec.Command(bash, "-c", run).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s<tab> gives %q, %v, want %q", typed, got, err, want)
		}
	}
}
