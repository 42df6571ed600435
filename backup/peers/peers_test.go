package peers

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/backup/dir"
	"github.com/skeinmesh/skein/backup/tiertest"
	"github.com/skeinmesh/skein/internal/memnet"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/view"
)

// node is a node of a mesh, and its store.
type node struct {
	*mesh.Node
	tier  *Tier
	store *store
	addr  netip.Addr
	dead  bool
}

// store is a directory that can be replaced by an empty one.
type store struct{ backup.Tier }

func (s *store) empty(t *testing.T) {
	d, err := dir.New(dir.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s.Tier = d
}

func (n *node) prefix() string { return Prefix(n.Mesh(), n.ID()) }

type world struct {
	net   *memnet.Net
	nodes []*node
	t     *testing.T
}

// inMesh runs fn in a mesh of n nodes in three zones, in virtual time.
func inMesh(t *testing.T, n int, config func(i int, c *Config), fn func(t *testing.T, w *world)) {
	dirs := make([]string, n)
	for i := range dirs {
		dirs[i] = t.TempDir()
	}
	synctest.Test(t, func(t *testing.T) {
		w := &world{net: memnet.New(1), t: t}
		w.net.SetPaths(memnet.Path{Delay: 500 * time.Microsecond})
		defer w.close()
		for i := range n {
			addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})
			m, err := mesh.Start(t.Context(), mesh.Config{
				Dir: dirs[i], Secret: bytes.Repeat([]byte{5}, identity.SecretSize), MeshName: "peers", Storing: true, Shards: 16, Profile: mesh.LAN,
				Name: fmt.Sprintf("node-%d", i), Zone: fmt.Sprintf("zone-%d", i%3),
				Listen: netip.AddrPortFrom(addr, 7800).String(), Seeds: []string{"10.0.0.1:7800"}, Network: w.net.Host(addr),
			})
			if err != nil {
				t.Fatal(err)
			}
			b := &node{Node: m, store: new(store), addr: addr}
			w.nodes = append(w.nodes, b)
			b.store.empty(t)
			c := Config{Mesh: m, Store: b.store}
			prefixOf := func(id view.NodeID) string { return Prefix(m.Mesh(), id) }
			if config == nil {
				prefixOf = func(view.NodeID) string { return "" }
			} else {
				config(i, &c)
			}
			if b.tier, err = newTier(c, prefixOf); err != nil {
				t.Fatal(err)
			}
		}
		for _, b := range w.nodes {
			w.until(func() bool { return b.View().Count(view.Alive) == n })
		}
		fn(t, w)
	})
}

func (w *world) until(cond func() bool) {
	w.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatal("not within two minutes")
		}
	}
}

// kill ends a node, and waits until the others have noticed.
func (w *world) kill(n *node) {
	w.net.Kill(n.addr)
	_ = n.Close()
	n.dead = true
	for _, b := range w.nodes {
		w.until(func() bool { m, _ := b.View().Member(n.ID()); return b.dead || m.State != view.Alive })
	}
}

func (w *world) close() {
	var all sync.WaitGroup
	for _, n := range w.nodes {
		all.Go(func() { _ = n.Close() })
	}
	all.Wait()
	_ = w.net.Close()
	time.Sleep(30 * time.Second) // what memberlist leaves behind ends by then
}

func (w *world) list(tier backup.Tier, prefix string) (names []string, err error) {
	for o, e := range tier.List(w.t.Context(), prefix) {
		if err = e; err == nil {
			names = append(names, o.Name)
		}
	}
	return names, err
}

func TestTier(t *testing.T) {
	inMesh(t, 4, nil, func(t *testing.T, w *world) {
		tiertest.Test(t, func(t *testing.T) backup.Tier {
			for _, n := range w.nodes {
				n.store.empty(t)
			}
			return w.nodes[0].tier
		})
	})
}

// Two copies lie in two other zones. One holder after the other is lost: what is left of each object
// is read by any node, its own or another, puts pass over who is away, and nobody says that there is
// no object where the last copy may be out of reach.
func TestHoldersAreLost(t *testing.T) {
	inMesh(t, 5, func(_ int, c *Config) { c.MinCopies = 2 }, func(t *testing.T, w *world) {
		a := w.nodes[0]
		objects := make(map[string][]byte)
		put := func(i int) {
			name := fmt.Sprintf("%sc/s-%02d", a.prefix(), i)
			objects[name] = bytes.Repeat([]byte{byte(i)}, i*200_000)
			if err := a.tier.Put(t.Context(), name, objects[name]); err != nil {
				t.Error(err)
			}
		}
		for i := range 10 {
			put(i)
		}
		for name := range objects {
			zones := make(map[int]bool)
			for i, n := range w.nodes {
				if _, err := n.store.Stat(t.Context(), name); err == nil {
					zones[i%3] = true
				}
			}
			if len(zones) != 2 || zones[0] {
				t.Errorf("%s lies in zones %v", name, zones)
			}
		}
		check := func(by *node) {
			t.Helper()
			for name, data := range objects {
				if got, err := by.tier.Get(t.Context(), name, len(data)); err != nil || !bytes.Equal(got, data) {
					t.Errorf("get %s: %d bytes, %v", name, len(got), err)
				}
			}
			if names, err := w.list(by.tier, a.prefix()); err != nil || len(names) != len(objects) {
				t.Errorf("listed %q, %v", names, err)
			}
			if _, err := by.tier.Stat(t.Context(), a.prefix()+"c/none"); !errors.Is(err, backup.ErrNoObject) {
				t.Error(err)
			}
		}
		check(w.nodes[3])
		w.kill(w.nodes[1])
		put(10)
		check(a)
		if err := a.tier.Delete(t.Context(), a.prefix()+"c/s-00"); !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "node-1") {
			t.Errorf("deleted while one is away: %v", err)
		}
		delete(objects, a.prefix()+"c/s-00")
		w.kill(a)
		for name, data := range objects {
			if got, err := w.nodes[3].tier.Get(t.Context(), name, len(data)); err != nil || !bytes.Equal(got, data) {
				t.Errorf("get %s of a lost node: %v", name, err)
			}
		}
		if _, err := w.nodes[3].tier.Get(t.Context(), a.prefix()+"c/none", 1); errors.Is(err, backup.ErrNoObject) || !errors.Is(err, ErrAway) {
			t.Errorf("two nodes are away: %v", err)
		}
		if names, err := w.list(w.nodes[3].tier, a.prefix()); !errors.Is(err, ErrAway) || len(names) != len(objects) {
			t.Errorf("two nodes are away: listed %d, %v", len(names), err)
		}
	})
}

// A node puts and deletes nothing under the name of another one, and each has a quota.
func TestOthersAreKeptApart(t *testing.T) {
	inMesh(t, 3, func(i int, c *Config) { c.Quota = 3 << 20 }, func(t *testing.T, w *world) {
		a, b := w.nodes[0], w.nodes[1]
		name := a.prefix() + "c/s-1"
		if err := a.tier.Put(t.Context(), name, make([]byte, 2<<20)); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{b.tier.Put(t.Context(), name, nil), b.tier.Delete(t.Context(), name), b.tier.Put(t.Context(), "x/y", nil)} {
			if !errors.Is(err, backup.ErrDenied) {
				t.Errorf("by another one: %v", err)
			}
		}
		for _, size := range []int{1<<20 + 1, 2 << 20, backup.MaxObject} {
			if err := a.tier.Put(t.Context(), a.prefix()+"c/s-2", make([]byte, size)); !errors.Is(err, backup.ErrTierFull) || !errors.Is(err, ErrFewCopies) {
				t.Errorf("%d bytes over the quota: %v", size, err)
			}
		}
		for _, err := range []error{a.tier.Put(t.Context(), name, make([]byte, 3<<20)), b.tier.Put(t.Context(), b.prefix()+"c/s-1", make([]byte, 3<<20))} {
			if err != nil {
				t.Errorf("within the quota: %v", err)
			}
		}
	})
}

func TestFewNodes(t *testing.T) {
	inMesh(t, 3, func(i int, c *Config) {
		if c.Copies = 3; i == 1 {
			c.MinCopies = 3
		}
		if i == 2 {
			c.Store = nil
		}
	}, func(t *testing.T, w *world) {
		if err := w.nodes[0].tier.Put(t.Context(), w.nodes[0].prefix()+"c/s", []byte("x")); err != nil {
			t.Errorf("one copy of three, content with one: %v", err)
		}
		if err := w.nodes[1].tier.Put(t.Context(), w.nodes[1].prefix()+"c/s", []byte("x")); !errors.Is(err, ErrFewCopies) || !strings.Contains(err.Error(), "1 of 3") {
			t.Errorf("one copy of three: %v", err)
		}
		w.kill(w.nodes[1])
		if err := w.nodes[0].tier.Put(t.Context(), w.nodes[0].prefix()+"c/s", []byte("x")); !errors.Is(err, ErrFewCopies) || !strings.HasSuffix(err.Error(), "0 of 3") {
			t.Errorf("with nobody there: %v", err)
		}
		// Whom the roster does not know is not answered.
		h := &holder{cfg: w.nodes[0].tier.cfg, prefixOf: func(view.NodeID) string { return "" }, uploads: newUploads(), pending: map[view.NodeID]int64{}}
		reply, err := h.answerAsk(t.Context(), 12345, wire.AppendObjectAsk(nil, wire.ObjectAsk{Deed: wire.ListObjects}))
		if a, _ := wire.DecodeObjectAnswer(reply); err != nil || a.Fault != 3 {
			t.Errorf("a stranger: %+v, %v", a, err)
		}
	})
}

func TestConfigNamesAllFaults(t *testing.T) {
	_, err := New(Config{Quota: -1, Copies: 2, MinCopies: 3, Timeout: -1})
	if !errors.Is(err, ErrConfig) {
		t.Fatal(err)
	}
	for _, want := range []string{"Mesh", "Quota", "MinCopies", "Timeout"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not speak of %s", err, want)
		}
	}
}

// The first holders stand in zones other than ours and than each other's, whoever is away keeps its
// place, and one that goes moves nothing else.
func TestOrder(t *testing.T) {
	v := view.View{Self: 1}
	for i := range 12 {
		v.Members = append(v.Members, view.Member{ID: view.NodeID(i + 1), Zone: fmt.Sprint("zone-", i%4), Storing: true})
	}
	first := make(map[view.NodeID]int)
	for i := range 400 {
		name := fmt.Sprintf("m/n/c/s-%d", i)
		order := orderHolders(v, func(view.Member) bool { return true }, name)
		first[order[0].ID]++
		zones := map[string]bool{order[0].Zone: true, order[1].Zone: true, order[2].Zone: true}
		if len(order) != 11 || len(zones) != 3 || zones["zone-0"] || order[9].Zone != "zone-0" || order[10].Zone != "zone-0" {
			t.Fatalf("%s: %v", name, order)
		}
		away := v
		away.Members = append([]view.Member(nil), v.Members...)
		lost := int(order[0].ID - 1)
		away.Members[lost].State = view.Failed
		if again := orderHolders(away, func(view.Member) bool { return true }, name); again[0].ID != order[0].ID {
			t.Fatalf("%s: who is away loses its place", name)
		}
		away.Members[lost].Status = view.Evicted
		for _, m := range orderHolders(away, func(view.Member) bool { return true }, name) {
			if m.ID == order[0].ID || m.ID == v.Self {
				t.Fatalf("%s: %v is asked", name, m.ID)
			}
		}
	}
	for id, n := range first {
		if n < 20 {
			t.Errorf("%v is first for %d of 400", id, n)
		}
	}
}

func TestUploads(t *testing.T) {
	u := newUploads()
	now := time.Unix(1000, 0)
	add := func(from view.NodeID, id uint64, offset, size int, data string) (string, bool, error) {
		got, whole, err := u.addPiece(now, from, wire.ObjectAsk{Name: "n", Upload: id, Offset: offset, Size: size, Data: []byte(data)})
		return string(got), whole, err
	}
	want := func(what, got string, whole bool, err error, wantGot string, isFault bool) {
		t.Helper()
		if got != wantGot || whole != (wantGot != "") || (err != nil) != isFault {
			t.Errorf("%s: %q, %v, %v", what, got, whole, err)
		}
	}
	step := func(what string, from view.NodeID, id uint64, offset, size int, data, wantGot string, isFault bool) {
		t.Helper()
		got, whole, err := add(from, id, offset, size, data)
		want(what, got, whole, err, wantGot, isFault)
	}
	step("first", 1, 7, 0, 4, "ab", "", false)
	step("of another node", 2, 7, 2, 4, "cd", "", true)
	step("last", 1, 7, 2, 4, "cd", "abcd", false)
	step("after the last", 1, 7, 2, 4, "cd", "", true)
	step("begun", 1, 8, 0, 4, "ab", "", false)
	step("begun anew", 1, 8, 0, 4, "xy", "", false)
	step("gap", 1, 8, 3, 4, "z", "", true)
	step("begun", 1, 9, 0, 4, "ab", "", false)
	step("too much", 1, 9, 2, 4, "cde", "", true)
	step("begun", 1, 10, 0, 4, "ab", "", false)
	now = now.Add(2 * uploadAge)
	step("too late", 1, 10, 2, 4, "cd", "", true)
	for i := range maxUploads / backup.MaxObject {
		step("many", 1, uint64(100+i), 0, backup.MaxObject, "x", "", false)
	}
	step("one too many", 1, 200, 0, 4, "ab", "", true)
	now = now.Add(2 * uploadAge)
	step("when these are dropped", 1, 200, 0, 2, "ab", "ab", false)
	if u.bytes != 0 || len(u.parts) != 0 {
		t.Errorf("%d bytes of %d uploads are left", u.bytes, len(u.parts))
	}
}

// Whoever restores may pin what others have put, in small objects and few; nobody may put more there.
func TestPinsAreOfAnybody(t *testing.T) {
	inMesh(t, 3, func(_ int, c *Config) { c.Quota = 1 << 20 }, func(t *testing.T, w *world) {
		pin := func(i int) string { return fmt.Sprintf("%v/p-%016x-%032x", w.nodes[0].Mesh(), 5, i) }
		a, b := w.nodes[0].tier, w.nodes[1].tier
		if err := a.Put(t.Context(), pin(0), []byte("reading")); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Stat(t.Context(), pin(0)); err != nil {
			t.Error(err)
		}
		if err := a.Put(t.Context(), pin(1), make([]byte, 65)); !errors.Is(err, backup.ErrDenied) {
			t.Errorf("a large one: %v", err)
		}
		for _, n := range w.nodes[1:] { // each has a copy, and deletes those of others
			if err := n.tier.Delete(t.Context(), pin(0)); err != nil {
				t.Error(err)
			}
		}
		if _, err := a.Stat(t.Context(), pin(0)); !errors.Is(err, backup.ErrNoObject) {
			t.Error(err)
		}
		var err error
		n := 0
		for ; err == nil && n < 1000; n++ {
			err = a.Put(t.Context(), pin(n), nil)
		}
		if !errors.Is(err, backup.ErrTierFull) || n < mostPins || n > 3*mostPins {
			t.Errorf("%d pins: %v", n, err)
		}
	})
}
