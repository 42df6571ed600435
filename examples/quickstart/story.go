package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/view"
)

// plan describes a node's process.
type plan struct {
	Name   string     `json:"name"`
	Zone   string     `json:"zone"`
	Addr   netip.Addr `json:"addr"`
	Port   uint16     `json:"port"`
	Dir    string     `json:"dir"`
	Secret []byte     `json:"secret"`
	Seeds  []string   `json:"seeds"`
}

func (p plan) listenAddr() string { return netip.AddrPortFrom(p.Addr, p.Port).String() }

// story is a run of the quickstart: five processes, their writer, and what
// was seen of them.
type story struct {
	*narrator
	dir     string
	plans   []plan // of the nodes that belong to the mesh
	journal *journal
	writes  atomic.Uint64 // numbers the writes
	began   time.Time
	writing time.Duration // how long a writer ran

	mu     sync.Mutex
	procs  map[string]*proc       // by name; running ones
	names  map[view.NodeID]string // names by id
	seen   []sighting
	faults []string // of elections: promises not kept
	out    outcome
}

// sighting is one node's change of mind about another.
type sighting struct {
	by, of string
	state  view.State
	at     time.Time
}

const chapters = 9

// tellStory runs the whole story and returns its outcome.
func tellStory(ctx context.Context, dir, plant string) (outcome, error) {
	if dir == "" {
		tmp, err := os.MkdirTemp("", "skein-quickstart-")
		if err != nil {
			return noOutcome(), err
		}
		defer os.RemoveAll(tmp)
		dir = tmp
	}
	s := &story{narrator: newNarrator(chapters), dir: dir, began: time.Now(),
		procs: make(map[string]*proc), names: make(map[view.NodeID]string),
		out: noOutcome()}
	defer s.removeBar()
	defer s.killAll()
	if err := s.prepareStory(); err != nil {
		return s.out, err
	}
	for _, chapter := range []func(context.Context) error{s.formMesh, s.writeNormally, s.killNode, s.cutNetwork, s.loseDisk, s.drainNode, s.carryOn} {
		if err := chapter(ctx); err != nil {
			return s.out, err
		}
		s.moveBar()
	}
	err := s.auditMesh(ctx, plant)
	return s.out, err
}

// prepareStory mints the secret, chooses addresses and opens the journal.
func (s *story) prepareStory() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	if left, err := os.ReadDir(s.dir); err != nil || len(left) > 0 {
		return errors.Join(err, fmt.Errorf("the directory %s is not empty", s.dir))
	}
	secret := identity.NewSecret()
	for i, zone := range []string{"north", "north", "south", "south", "east"} {
		s.plans = append(s.plans, plan{Name: fmt.Sprintf("gateway-%d", i+1), Zone: zone,
			Addr: netip.AddrFrom4([4]byte{127, 0, 77, byte(i + 1)}), Secret: secret})
	}
	port, err := freePort(s.plans)
	if err != nil {
		return fmt.Errorf("find a free port on 127.0.77.1 to .5 (on macOS these addresses must be added to lo0 first): %w", err)
	}
	for i := range s.plans {
		p := &s.plans[i]
		p.Port, p.Dir = port, filepath.Join(s.dir, p.Name)
		p.Seeds = []string{netip.AddrPortFrom(s.plans[0].Addr, port).String(), netip.AddrPortFrom(s.plans[2].Addr, port).String()}
	}
	s.journal, err = createJournal(filepath.Join(s.dir, "journal"))
	return err
}

// freePort finds one port that is free on the addresses of all plans.
func freePort(plans []plan) (uint16, error) {
	var last error
	for range 20 {
		first, err := net.Listen("tcp", netip.AddrPortFrom(plans[0].Addr, 0).String())
		if err != nil {
			return 0, err
		}
		port := first.Addr().(*net.TCPAddr).AddrPort().Port()
		held := []interface{ Close() error }{first}
		for i, p := range plans {
			at := netip.AddrPortFrom(p.Addr, port).String()
			if i > 0 {
				l, err := net.Listen("tcp", at)
				if err != nil {
					last = err
					break
				}
				held = append(held, l)
			}
			u, err := net.ListenPacket("udp", at)
			if err != nil {
				last = err
				break
			}
			held = append(held, u)
		}
		for _, h := range held {
			h.Close()
		}
		if len(held) == 2*len(plans) {
			return port, nil
		}
	}
	return 0, last
}

// launch starts a node and waits until it answers.
func (s *story) launch(ctx context.Context, p plan) error {
	pr, err := startProcess(p, s.noteSighting)
	if err != nil {
		return err
	}
	return s.enrolProcess(ctx, pr)
}

// enrolProcess makes a process a part of the story once it answers.
func (s *story) enrolProcess(ctx context.Context, pr *proc) error {
	a, err := pr.sendRequest(ctx, request{Op: "status"})
	if err != nil {
		pr.killAndWait()
		return fmt.Errorf("%s did not start: %w", pr.plan.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.procs[pr.plan.Name] = pr
	s.names[a.Status.Node] = pr.plan.Name
	return nil
}

func (s *story) noteSighting(by plan, e event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, sighting{by: by.Name, of: s.names[e.Node], state: e.State, at: time.Unix(0, e.At)})
}

// firstSeen returns who no longer counted on name after a moment, and when.
func (s *story) firstSeen(name string, after time.Time, states ...view.State) map[string]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := make(map[string]time.Time)
	for _, g := range s.seen {
		if _, known := first[g.by]; !known && g.of == name && g.at.After(after) && slices.Contains(states, g.state) {
			first[g.by] = g.at
		}
	}
	return first
}

// running lists the live processes of the given names, or all.
func (s *story) running(names ...string) []*proc {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ps []*proc
	for _, p := range s.plans {
		if pr := s.procs[p.Name]; pr != nil && (len(names) == 0 || slices.Contains(names, p.Name)) {
			ps = append(ps, pr)
		}
	}
	return ps
}

// removeProc takes a process out of the story; its end is the caller's business.
func (s *story) removeProc(name string) *proc {
	s.mu.Lock()
	defer s.mu.Unlock()
	pr := s.procs[name]
	delete(s.procs, name)
	return pr
}

func (s *story) killAll() {
	for _, pr := range s.running() {
		s.removeProc(pr.plan.Name)
		pr.killAndWait()
	}
}

// awaitUntil polls until ready says so. What it waits for is named in the error.
func (s *story) awaitUntil(ctx context.Context, within time.Duration, what string, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for !ready() {
		select {
		case <-time.After(25 * time.Millisecond):
		case <-ctx.Done():
			for _, st := range s.statuses(context.WithoutCancel(ctx)) {
				s.printEvent("%s counts on %d, holds %d hints, has %d shards to compare and %d to hand over", s.names[st.Node], st.Alive, st.Hints, st.Syncing, st.Leftover)
			}
			return fmt.Errorf("waited %s for this in vain: %s", within, what)
		}
	}
	return nil
}

// statuses asks every running node how it is; nil if one did not answer.
func (s *story) statuses(ctx context.Context) []*status {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var all []*status
	for _, pr := range s.running() {
		a, err := pr.sendRequest(ctx, request{Op: "status"})
		if err != nil {
			return nil
		}
		all = append(all, a.Status)
	}
	return all
}

// isWhole tells whether all running nodes are in contact, hold nothing for
// others or that belongs elsewhere, and have compared all their shards.
func isWhole(all []*status, nodes int) bool {
	return len(all) == nodes && !slices.ContainsFunc(all, func(st *status) bool {
		return st.Alive != nodes || st.Hints > 0 || st.Syncing > 0 || st.Leftover > 0
	})
}

// digestsAgree tells whether the homes of every shard have equal digests.
func digestsAgree(all []*status) bool {
	digest := make(map[string]string)
	for _, st := range all {
		for shard, d := range st.Digests {
			if known, ok := digest[shard]; ok && known != d {
				return false
			}
			digest[shard] = d
		}
	}
	return len(digest) > 0
}
