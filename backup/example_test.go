package backup_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/backup/dir"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica"
)

// A node backs up what it leads to a disk of the site, every five minutes and every hour. Each node
// of the mesh does the same.
func ExampleOpen() {
	open := func(ctx context.Context, node *mesh.Node, store *replica.Store, recipient string) (*backup.Backup, error) {
		disk, err := dir.New(dir.Options{Dir: "/srv/backups", Marker: ".mounted"})
		if err != nil {
			return nil, err
		}
		return backup.Open(ctx, backup.Config{
			Mesh: node, Store: store, Logger: slog.Default(),
			Tiers: []backup.TierConfig{{Name: "site", Tier: disk, Recipients: []string{recipient}}},
			Policies: []backup.Policy{
				{Name: "production", Buckets: []string{"production_data"}, Levels: []backup.Level{{Tier: "site", Every: 5 * time.Minute, Keep: 7 * 24 * time.Hour, Objective: 15 * time.Minute}}},
				{Name: "configuration", Buckets: []string{"configuration_data"}, Sources: []backup.Source{backup.Files("etc", os.DirFS("/etc/press"), "*.conf", "keys/*")}, Levels: []backup.Level{{Tier: "site", Every: time.Hour, Keep: 30 * 24 * time.Hour}}},
			},
			OnAlarm: func(a backup.Alarm) { fmt.Println(a.Policy, a.Tier, a.Text) },
		})
	}
	_ = open // Close it before the store and the node.
}

// A mesh that was lost comes back, as of noon, into the store of a node of another one.
func ExampleRestore() {
	restore := func(ctx context.Context, store *replica.Store, tier backup.Tier, noon time.Time) error {
		identity, err := os.ReadFile("/media/key/identity.txt")
		if err != nil {
			return err
		}
		got, err := backup.Restore(ctx, backup.RestoreConfig{
			Target: store, Tiers: []backup.NamedTier{{Name: "site", Tier: tier}}, Identities: []string{string(identity)}, By: noon,
		})
		fmt.Printf("%d of %d slices, %d items brought, %d refused, %d slices lost\n", got.Slices, got.OfSlices, got.Brought, got.RefusedInAll, len(got.Lost))
		return err
	}
	_ = restore
}

// A gateway that was exchanged gets back the configuration of the one before.
func ExampleRestoreSource() {
	restore := func(ctx context.Context, tier backup.Tier, identity string, former view.NodeID) error {
		got, err := backup.RestoreSource(ctx, backup.SourceConfig{
			Source: "etc", Node: former, Tiers: []backup.NamedTier{{Name: "site", Tier: tier}}, Identities: []string{identity},
			Each: backup.IntoDirectory("/etc/press"),
		})
		fmt.Printf("%d files, %d lost\n", len(got.Files), len(got.Lost))
		return err
	}
	_ = restore
}
