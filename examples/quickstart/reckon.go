package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// readThrough is how many keys are read through every node before the audit.
const readThrough = 2000

// auditMesh settles the mesh, reads through every node, stops all of them and
// holds their disks against the journal.
func (s *story) auditMesh(ctx context.Context, plant string) error {
	s.Chapter("The reckoning")
	if err := s.awaitUntil(ctx, 30*time.Second, "the copies became equal once writing stopped", func() bool {
		all := s.statuses(ctx)
		return isWhole(all, len(s.roles)) && digestsAgree(all)
	}); err != nil {
		return err
	}
	if err := s.backUpLast(ctx); err != nil {
		return err
	}
	entries, err := readJournal(s.journal.file.Name())
	if err != nil {
		return err
	}
	if err := s.plantFault(ctx, plant, entries); err != nil {
		return fmt.Errorf("plant %s: %w", plant, err)
	}
	differing, err := s.readEverywhere(ctx, entries)
	if err != nil {
		return err
	}
	homes, err := s.stopMesh(ctx)
	if err != nil {
		return err
	}
	return s.judgeDisks(homes, differing)
}

// stopMesh stops all nodes, and returns which of them should hold each key of the journal.
func (s *story) stopMesh(ctx context.Context) (map[string][]view.NodeID, error) {
	entries, err := readJournal(s.journal.file.Name())
	if err != nil {
		return nil, err
	}
	homes, err := s.homesOfKeys(ctx, entries)
	for _, pr := range s.Running() {
		err = errors.Join(err, s.Remove(pr.Role.Name).Close())
	}
	return homes, err
}

// auditDisks holds the disks of all nodes that belong to the mesh against the journal, and tells
// what it finds.
func (s *story) auditDisks(homes map[string][]view.NodeID) (v verdict, err error) {
	entries, err := readJournal(s.journal.file.Name())
	if err != nil {
		return v, err
	}
	var disks []holdings
	for _, p := range s.roles {
		d, err := readDisk(p.Dir)
		if err != nil {
			return v, fmt.Errorf("read the disk of %s: %w", p.Name, err)
		}
		disks = append(disks, d)
	}
	v = auditStores(entries, disks, func(key string) []view.NodeID { return homes[key] })
	for _, f := range v.Faults {
		s.PrintEvent("FAULT %s", f)
	}
	for _, key := range v.Keys {
		s.PrintEvent("all that is known of %s:", key)
		for _, line := range explain(key, entries, disks, func(id view.NodeID) string { return s.names[id] }) {
			s.PrintEvent("    %s", line)
		}
	}
	return v, nil
}

func (s *story) judgeDisks(homes map[string][]view.NodeID, differing int) error {
	v, err := s.auditDisks(homes)
	if err != nil {
		return err
	}
	s.out.Acked, s.out.Lost, s.out.Resurrected, s.out.Diverged = v.Acked, v.Lost, v.Resurrected, v.Diverged+differing
	s.out.WritesPerS = int(float64(v.Acked) / s.writing.Seconds())
	s.PrintEvent("%d writes were acknowledged, %d a second", v.Acked, s.out.WritesPerS)
	if !v.isClean() || differing > 0 || len(s.faults) > 0 {
		s.PrintEvent("%d lost, %d came back, %d keys differ between their homes, %d faults of leaders: this must not be",
			v.Lost, v.Resurrected, s.out.Diverged, len(s.faults))
		return errors.New("the audit failed")
	}
	s.PrintEvent("audit of the disks against the writer's journal: nothing lost, nothing came back, all copies equal")
	s.PrintEvent("leaders: one on each side of the cut, one of all after it, whose token is not lower than theirs")
	return nil
}

// readEverywhere reads a sample of keys through every node and returns how
// many did not read alike.
func (s *story) readEverywhere(ctx context.Context, entries []entry) (int, error) {
	var keys []string
	for _, i := range rand.Perm(len(entries))[:min(readThrough, len(entries))] {
		keys = append(keys, entries[i].Key)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	var first map[string]value
	differ := make(map[string]bool)
	for _, pr := range s.Running() {
		a, err := pr.Ask(ctx, request{Op: "read", Keys: keys})
		if err != nil {
			return 0, fmt.Errorf("read through %s: %w", pr.Role.Name, err)
		}
		if first == nil {
			first = a.Values
		}
		for _, key := range keys {
			x, there := first[key]
			y, too := a.Values[key]
			if there != too || !bytes.Equal(x.Shown, y.Shown) {
				differ[key] = true
			}
		}
	}
	s.PrintEvent("%d keys read through each of the nodes; %d read differently", len(keys), len(differ))
	return len(differ), nil
}

// homesOfKeys asks a node which nodes should hold each key of the journal.
func (s *story) homesOfKeys(ctx context.Context, entries []entry) (map[string][]view.NodeID, error) {
	var keys []string
	for _, e := range entries {
		keys = append(keys, e.Key)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	a, err := s.Running()[0].Ask(ctx, request{Op: "homes", Keys: keys})
	if err != nil {
		return nil, fmt.Errorf("ask for the homes of all keys: %w", err)
	}
	homes := make(map[string][]view.NodeID, len(keys))
	for i, key := range keys {
		homes[key] = a.Homes[i]
	}
	return homes, nil
}

// plantFault commits the fault that the audit must find.
func (s *story) plantFault(ctx context.Context, what string, entries []entry) error {
	if what == "" || what == "late" { // the latter is planted after this audit
		return nil
	}
	s.PrintEvent("planted on purpose: %s", what)
	switch what {
	case "drop-ack": // an acknowledgement for a write that was never made
		return s.journal.addEntry(entry{Key: entries[0].Key, Write: s.writes.Add(1),
			Dot: version.Dot{A: version.Actor{Store: 1, Session: 1, Seq: 1}, N: 1}})
	case "revive": // a deleted value comes back
		i := slices.IndexFunc(entries, func(e entry) bool { return e.Delete })
		if i < 0 {
			return errors.New("nothing was deleted yet")
		}
		_, err := s.Running()[0].Ask(ctx, request{Op: "put", Key: entries[i].Key, Value: []byte("risen")})
		return err
	}
	return s.diverge(ctx, entries)
}

// diverge writes to a key after one of its homes was stopped.
func (s *story) diverge(ctx context.Context, entries []entry) error {
	homes, err := s.homesOfKeys(ctx, entries[:1])
	if err != nil {
		return err
	}
	key := entries[0].Key
	for _, p := range s.roles {
		s.mu.Lock()
		home := slices.ContainsFunc(homes[key], func(id view.NodeID) bool { return s.names[id] == p.Name })
		s.mu.Unlock()
		if !home {
			continue
		}
		if err := s.Remove(p.Name).Close(); err != nil {
			return err
		}
		id := s.writes.Add(1)
		a, err := s.Running()[0].Ask(ctx, request{Op: "put", Key: key, Value: []byte("unseen by one home")})
		if err != nil {
			return err
		}
		return s.journal.addEntry(entry{Key: key, Write: id, Dot: a.Write.Dot, Covered: a.Write.Covered})
	}
	return errors.New("no home of the key is running")
}
