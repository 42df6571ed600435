package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/backup/dir"
	"github.com/skeinmesh/skein/examples/internal/stage"
)

const (
	backupEvery = 5 * time.Second
	tierName    = "shelf"
	policyName  = "everything"
)

// openBackup has the node back up what it leads, if its role says so. It is given to whom the backups
// are sealed, and nothing that opens them.
func (g *gateway) openBackup(ctx context.Context, p stage.Role, logger *slog.Logger) error {
	if p.Backups == "" {
		return nil
	}
	shelf, err := dir.New(dir.Options{Dir: p.Backups})
	if err != nil {
		return err
	}
	g.backup, err = backup.Open(ctx, backup.Config{
		Mesh: g.node, Store: g.store, Logger: logger,
		Tiers:    []backup.TierConfig{{Name: tierName, Tier: shelf, Recipients: []string{p.Recipient}}},
		Policies: []backup.Policy{{Name: policyName, Buckets: []string{bucketName}, Levels: []backup.Level{{Tier: tierName, Every: backupEvery}}}},
	})
	return err
}

func (g *gateway) closeBackup() error {
	if g.backup == nil {
		return nil
	}
	return g.backup.Close()
}

// backUp makes a backup at once, which must lack nothing.
func (g *gateway) backUp(ctx context.Context) (answer, error) {
	if g.backup == nil {
		return answer{}, errors.New("this node makes no backups")
	}
	done, err := g.backup.Now(ctx, policyName, tierName)
	if err == nil && (done.NotReady > 0 || done.TooLarge > 0 || done.Failed != nil) {
		err = fmt.Errorf("the backup lacks %d slices and %d records: %w", done.NotReady, done.TooLarge, errors.Join(done.Failed))
	}
	return answer{}, err
}

// restore brings what is in a directory into the mesh.
func (g *gateway) restore(ctx context.Context, backups, identity string) (answer, error) {
	shelf, err := dir.New(dir.Options{Dir: backups})
	if err != nil {
		return answer{}, err
	}
	got, err := backup.Restore(ctx, backup.RestoreConfig{
		Target: g.store, Tiers: []backup.NamedTier{{Name: tierName, Tier: shelf}}, Identities: []string{identity},
	})
	a := answer{Restored: &restored{Slices: got.Slices, Brought: got.Brought, Refused: got.RefusedInAll}}
	for _, fault := range append(got.Lost, got.Faults...) {
		a.Restored.Faults = append(a.Restored.Faults, fault.Error())
	}
	return a, err
}
