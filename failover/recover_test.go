package failover

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// TestAFailedNodeIsBroughtBack by one of two nodes that could, again and again; a panic is told.
func TestAFailedNodeIsBroughtBack(t *testing.T) {
	inBubble(t, func(r *rig) {
		var mu sync.Mutex
		var tried []string
		begin := time.Now()
		for _, n := range r.nodes[:2] {
			n.cfg.Recover = func(_ context.Context, m view.Member) error {
				mu.Lock()
				defer mu.Unlock()
				tried = append(tried, m.Name+" "+time.Since(begin).Round(time.Minute).String())
				if len(tried) == 2 {
					panic("as the test says")
				}
				return nil
			}
			n.watcher.Go(n.recoverNodes)
		}
		r.mesh.mu.Lock()
		r.mesh.failed = map[view.NodeID]bool{3: true}
		r.mesh.mu.Unlock()
		r.wait(10 * time.Minute)
		mu.Lock()
		if want := []string{"c 1m0s", "c 3m0s", "c 7m0s"}; !slices.Equal(tried, want) {
			t.Errorf("%q", tried)
		}
		mu.Unlock()
		isTry := func(e Event) bool { return e.What == RecoverTried && e.Other == 3 }
		got := append(r.nodes[0].seen(isTry), r.nodes[1].seen(isTry)...)
		panics := func(e Event) bool { return isTry(e) && strings.Contains(e.Error, ErrPanic.Error()) }
		if bad := append(r.nodes[0].seen(panics), r.nodes[1].seen(panics)...); len(got) != 3 || len(bad) != 1 {
			t.Errorf("%q, of those bad %q", got, bad)
		}
	})
}

// TestAMachineIsWoken by the packet that network cards know.
func TestAMachineIsWoken(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	wake := WakeOnLAN("mac", conn.LocalAddr().String())
	m := view.Member{Name: "press-1", Tags: map[string]string{"mac": "02:00:5e:10:00:01"}}
	if err := wake(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 200)
	n, _, err := conn.ReadFrom(got)
	want := append(bytes.Repeat([]byte{0xff}, 6), bytes.Repeat([]byte{2, 0, 0x5e, 0x10, 0, 1}, 16)...)
	if err != nil || !bytes.Equal(got[:n], want) {
		t.Errorf("%x, %v", got[:n], err)
	}
	for _, tags := range []map[string]string{nil, {"mac": "x"}, {"mac": "02:00:5e:10:00:01:02:03"}} {
		if err := wake(t.Context(), view.Member{Name: "press-1", Tags: tags}); err == nil || !strings.Contains(err.Error(), "press-1") {
			t.Errorf("%v: %v", tags, err)
		}
	}
}

// TestACommandBringsANodeBack finds which one in its environment.
func TestACommandBringsANodeBack(t *testing.T) {
	m := view.Member{ID: 7, Name: "press-1", Addr: netip.MustParseAddrPort("10.0.0.7:7800")}
	check := `test "$SKEIN_NODE $SKEIN_NODE_ID $SKEIN_NODE_ADDR" = "press-1 0000000000000007 10.0.0.7:7800"`
	if err := RecoverCommand("sh", "-c", check)(t.Context(), m); err != nil {
		t.Error(err)
	}
	if err := RecoverCommand("sh", "-c", "echo no power; exit 3")(t.Context(), m); err == nil || !strings.Contains(err.Error(), "no power") {
		t.Errorf("%v", err)
	}
}
