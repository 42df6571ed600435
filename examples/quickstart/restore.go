package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/backup/dir"
	"github.com/skeinmesh/skein/examples/internal/stage"
	"github.com/skeinmesh/skein/replica/version"
)

// newShards is the number of shards of the mesh that takes the place of the first, which has 271.
const newShards = 96

// prepareBackups makes the directory where backups go, and the identity that opens them. No node
// is given that until it is to restore.
func (s *story) prepareBackups() (err error) {
	s.backups = filepath.Join(s.dir, "backups")
	if err := os.Mkdir(s.backups, 0o700); err != nil {
		return err
	}
	identity, recipient, err := backup.NewIdentity()
	if err != nil {
		return err
	}
	s.identity = identity
	for i := range s.roles {
		s.roles[i].Backups, s.roles[i].Recipient = s.backups, recipient
	}
	return os.WriteFile(filepath.Join(s.dir, "identity.txt"), []byte(identity+"\n"), 0o600)
}

// backUpLast has each node make a backup now that nobody writes: with it all is backed up.
func (s *story) backUpLast(ctx context.Context) error {
	begin := time.Now()
	if _, err := s.AskAll(ctx, request{Op: "backup"}); err != nil {
		return fmt.Errorf("make the last backup: %w", err)
	}
	s.PrintEvent("nobody writes now: each node has made its last backup after %s", stage.FormatDuration(time.Since(begin)))
	return nil
}

// restoreMesh destroys all that the nodes hold, and brings it back into another mesh.
func (s *story) restoreMesh(ctx context.Context, plant string) error {
	s.Chapter("The site burns down: the disks of all five are wiped")
	if err := s.plantLate(plant); err != nil {
		return err
	}
	for _, r := range s.all {
		if err := os.RemoveAll(r.Dir); err != nil {
			return err
		}
	}
	if err := s.tellBackups(ctx); err != nil {
		return err
	}
	if err := s.formNewMesh(ctx); err != nil {
		return err
	}
	begin := time.Now()
	a, err := s.Ask(ctx, s.roles[0].Name, request{Op: "restore", Backups: s.backups, Identity: s.identity})
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	got := a.Restored
	s.out.Restored = got.Brought
	s.PrintEvent("%s was given the identity: it brought %d items of %d slices after %s; %d were refused", s.roles[0].Name,
		got.Brought, got.Slices, stage.FormatDuration(time.Since(begin)), got.Refused)
	for _, f := range got.Faults {
		s.PrintEvent("FAULT %s", f)
	}
	v, err := s.auditRestored(ctx)
	if err != nil {
		return err
	}
	if s.out.RestoreOK = v.isClean() && len(got.Faults) == 0 && got.Brought > 0; !s.out.RestoreOK {
		s.PrintEvent("%d lost, %d came back, %d keys differ between their homes after the restore: this must not be", v.Lost, v.Resurrected, v.Diverged)
		return errors.New("the audit of what was restored failed")
	}
	s.PrintEvent("audit of the new disks against the same journal: nothing lost, nothing came back, all copies equal")
	return nil
}

// tellBackups tells what is left: without the identity it says who has backed up when, and no more.
func (s *story) tellBackups(ctx context.Context) error {
	shelf, err := dir.New(dir.Options{Dir: s.backups})
	if err != nil {
		return err
	}
	points, faults, err := backup.List(ctx, []backup.NamedTier{{Name: tierName, Tier: shelf}}, backup.Query{})
	if err := errors.Join(append(faults, err)...); err != nil {
		return fmt.Errorf("list the backups: %w", err)
	}
	stores := make(map[string]bool)
	for _, p := range points {
		stores[p.Node.String()] = true
	}
	s.PrintEvent("%d backups of %d stores are left in a directory, made every %d s meanwhile; what opens them was on no node", len(points), len(stores), int(backupEvery.Seconds()))
	return nil
}

// formNewMesh starts three nodes that know nothing of the mesh before: not even its secret.
func (s *story) formNewMesh(ctx context.Context) error {
	s.roles = nil
	for i, zone := range []string{"north", "south", "east"} {
		s.roles = append(s.roles, stage.Role{Name: fmt.Sprintf("gateway-%d", len(s.all)+i+1), Zone: zone})
	}
	if err := stage.CastRoles(filepath.Join(s.dir, "new"), 79, s.roles); err != nil {
		return err
	}
	begin := time.Now()
	for i := range s.roles {
		s.roles[i].Shards = newShards
		if err := s.launch(ctx, s.roles[i]); err != nil {
			return err
		}
	}
	err := s.awaitUntil(ctx, 30*time.Second, "three new nodes see each other", func() bool {
		return isWhole(s.statuses(ctx), len(s.roles))
	})
	if err == nil {
		s.PrintEvent("three new gateways, with another secret and %d shards, see each other after %s", newShards, stage.FormatDuration(time.Since(begin)))
	}
	return err
}

// auditRestored stops the new mesh and holds its disks against the journal.
func (s *story) auditRestored(ctx context.Context) (v verdict, err error) {
	if err := s.awaitUntil(ctx, 30*time.Second, "the copies of what was restored are equal", func() bool {
		all := s.statuses(ctx)
		return isWhole(all, len(s.roles)) && digestsAgree(all)
	}); err != nil {
		return v, err
	}
	homes, err := s.stopMesh(ctx)
	if err != nil {
		return v, err
	}
	if v, err = s.auditDisks(homes); err != nil {
		return v, err
	}
	s.out.Lost, s.out.Resurrected, s.out.Diverged = s.out.Lost+v.Lost, s.out.Resurrected+v.Resurrected, s.out.Diverged+v.Diverged
	return v, nil
}

// plantLate notes a write as acknowledged that no backup can have.
func (s *story) plantLate(plant string) error {
	if plant != "late" {
		return nil
	}
	s.PrintEvent("planted on purpose: %s", plant)
	return s.journal.addEntry(entry{Key: "log/late", Write: s.writes.Add(1), Dot: version.Dot{A: version.Actor{Store: 1, Session: 1, Seq: 1}, N: 1}})
}
