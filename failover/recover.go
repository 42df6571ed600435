package failover

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"time"

	"github.com/skeinmesh/skein/internal/process"
	"github.com/skeinmesh/skein/internal/takeover"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

const (
	recoverEvery = 5 * time.Second // the members are looked at
	recoverLimit = time.Minute     // for one attempt
	wakeRepeats  = 3               // packets that are sent
)

// recoverElection is the one whose leader tries to bring failed nodes back.
var recoverElection = token.Election{Name: "failover/recover", Scope: token.ScopeComponent}

// recoverNodes stands for the election until ctx ends, and brings failed nodes back while this
// node leads.
func (f *Failover) recoverNodes(ctx context.Context) {
	for ctx.Err() == nil {
		err := f.cfg.Elections.Lead(ctx, recoverElection, f.tryFailed)
		if ctx.Err() != nil {
			return
		}
		f.log.Error("this node does not stand for bringing others back", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(standAgain):
		}
	}
}

// tryFailed tries to bring failed nodes back, one after the other, until ctx ends.
func (f *Failover) tryFailed(ctx context.Context, t token.Token) {
	var rescues takeover.Rescues
	began := time.Now()
	ticks := time.NewTicker(recoverEvery)
	defer ticks.Stop()
	for {
		v := f.cfg.Mesh.View()
		var failed []view.NodeID
		for _, m := range v.Members {
			if m.State == view.Failed && !m.Status.Gone() {
				failed = append(failed, m.ID)
			}
		}
		due, _ := rescues.TakeDue(time.Since(began), failed)
		for _, id := range due {
			if m, ok := v.Member(id); ok && ctx.Err() == nil {
				f.tryOne(ctx, t, m)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// tryOne tries to bring one node back, and tells of it.
func (f *Failover) tryOne(ctx context.Context, t token.Token, m view.Member) {
	ctx, cancel := context.WithTimeout(ctx, recoverLimit)
	defer cancel()
	begin := time.Now()
	err := callHook(ctx, func(ctx context.Context, _ Run) error { return f.cfg.Recover(ctx, m) }, Run{})
	e := Event{What: RecoverTried, At: time.Now(), Node: f.cfg.Mesh.ID(), Token: t, Other: m.ID, Took: time.Since(begin)}
	if err != nil {
		e.Error = err.Error()
	}
	f.reportEvent(e)
}

// WakeOnLAN returns what Config.Recover takes: it wakes a machine by a packet to addr, the
// broadcast address of its network, "10.0.0.255:9" say. The machine's hardware address is what
// the node has in that tag of its Tags, as "aa:bb:cc:dd:ee:ff". A machine that is woken so says
// nothing: whether it helps is seen when the node is back.
func WakeOnLAN(tag, addr string) func(ctx context.Context, m view.Member) error {
	return func(ctx context.Context, m view.Member) error {
		mac, err := net.ParseMAC(m.Tags[tag])
		if err != nil || len(mac) != 6 {
			return fmt.Errorf("wake %.60q: tag %.60q is no hardware address: %.60q", m.Name, tag, m.Tags[tag])
		}
		var packet []byte
		for range 6 {
			packet = append(packet, 0xff)
		}
		for range 16 {
			packet = append(packet, mac...)
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, "udp", addr)
		if err != nil {
			return fmt.Errorf("wake %.60q: %w", m.Name, err)
		}
		defer func() { _ = conn.Close() }()
		for range wakeRepeats {
			if _, err := conn.Write(packet); err != nil {
				return fmt.Errorf("wake %.60q: %w", m.Name, err)
			}
		}
		return nil
	}
}

// RecoverCommand returns what Config.Recover takes: it runs a command, which finds the node's
// name, id and address in SKEIN_NODE, SKEIN_NODE_ID and SKEIN_NODE_ADDR, and is killed when its
// time is over.
func RecoverCommand(name string, args ...string) func(ctx context.Context, m view.Member) error {
	return func(ctx context.Context, m view.Member) error {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Env = append(cmd.Environ(), "SKEIN_NODE="+m.Name, "SKEIN_NODE_ID="+m.ID.String(), "SKEIN_NODE_ADDR="+m.Addr.String())
		return process.RunToEnd(cmd)
	}
}
