package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/examples/internal/stage"
	"github.com/skeinmesh/skein/mesh/view"
)

// proc is a node's process as the parent sees it, cast all that run.
type (
	proc = stage.Process[request, answer, event]
	cast = stage.Cast[request, answer, event]
)

// story is a run of the quickstart: five processes, their writer, and what
// was seen of them.
type story struct {
	*stage.Narrator
	cast
	dir     string
	all     []stage.Role // of the first mesh
	roles   []stage.Role // of the nodes that belong to the mesh
	journal *journal
	writes  atomic.Uint64 // numbers the writes
	began   time.Time
	writing time.Duration // how long a writer ran

	backups  string // a directory
	identity string // opens them

	mu     sync.Mutex
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
	s := &story{Narrator: stage.NewNarrator(chapters), dir: dir, began: time.Now(),
		names: make(map[view.NodeID]string),
		out:   noOutcome()}
	defer s.RemoveBar()
	defer s.KillAll()
	if err := s.prepareStory(); err != nil {
		return s.out, err
	}
	for _, chapter := range []func(context.Context) error{s.formMesh, s.writeNormally, s.killNode, s.cutNetwork, s.loseDisk, s.drainNode, s.carryOn} {
		if err := chapter(ctx); err != nil {
			return s.out, err
		}
		s.MoveBar()
	}
	if err := s.auditMesh(ctx, plant); err != nil {
		return s.out, err
	}
	s.MoveBar()
	err := s.restoreMesh(ctx, plant)
	s.out.OK = err == nil && s.out.RestoreOK
	return s.out, errors.Join(err, s.journal.closeFile())
}

// prepareStory mints the secret, chooses addresses and opens the journal.
func (s *story) prepareStory() (err error) {
	for i, zone := range []string{"north", "north", "south", "south", "east"} {
		s.roles = append(s.roles, stage.Role{Name: fmt.Sprintf("gateway-%d", i+1), Zone: zone})
	}
	if err := stage.CastRoles(s.dir, 77, s.roles); err != nil {
		return err
	}
	if err := s.prepareBackups(); err != nil {
		return err
	}
	s.all = slices.Clone(s.roles)
	s.journal, err = createJournal(filepath.Join(s.dir, "journal"))
	return err
}

// launch starts a node and waits until it answers.
func (s *story) launch(ctx context.Context, p stage.Role) error {
	pr, err := stage.StartProcess[request, answer](p, s.noteSighting)
	if err != nil {
		return err
	}
	return s.enrolProcess(ctx, pr)
}

// enrolProcess makes a process a part of the story once it answers.
func (s *story) enrolProcess(ctx context.Context, pr *proc) error {
	a, err := pr.Ask(ctx, request{Op: "status"})
	if err != nil {
		pr.Kill()
		return fmt.Errorf("%s did not start: %w", pr.Role.Name, err)
	}
	s.Add(pr)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[a.Status.Node] = pr.Role.Name
	return nil
}

func (s *story) noteSighting(by stage.Role, e event) {
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

// awaitUntil polls until ready says so. When that is in vain it tells how the nodes are.
func (s *story) awaitUntil(ctx context.Context, within time.Duration, what string, ready func() bool) error {
	err := stage.AwaitUntil(ctx, within, what, ready)
	if err != nil {
		for _, st := range s.statuses(context.WithoutCancel(ctx)) {
			s.PrintEvent("%s counts on %d, holds %d hints, has %d shards to compare and %d to hand over", s.names[st.Node], st.Alive, st.Hints, st.Syncing, st.Leftover)
		}
	}
	return err
}

// statuses asks every running node how it is; nil if one did not answer.
func (s *story) statuses(ctx context.Context) []*status {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var all []*status
	for _, pr := range s.Running() {
		a, err := pr.Ask(ctx, request{Op: "status"})
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
