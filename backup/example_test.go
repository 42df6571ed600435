package backup_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/backup/dir"
	"github.com/skeinmesh/skein/failover"
	"github.com/skeinmesh/skein/failover/service"
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

// A plan that names the procedure restore_from_backup has a node restore what a service works with before
// it starts, with nobody there: by an identity that is kept at the site, to which the tier of the site
// alone is sealed. Whoever takes that identity reads the backups of that tier. What a start may not do
// without fails it, so that another node is tried.
func ExampleRestore_procedure() {
	serve := func(f *failover.Failover, plan service.Plan, start, stop failover.Hook, store *replica.Store, site backup.Tier) error {
		plan.Procedures = []string{"restore_from_backup"}
		restore := func(ctx context.Context, run failover.Run) error {
			identity, err := os.ReadFile("/etc/press/site-identity.txt")
			if err != nil {
				return err
			}
			got, err := backup.Restore(ctx, backup.RestoreConfig{
				Target: store, Tiers: []backup.NamedTier{{Name: "site", Tier: site}}, Identities: []string{string(identity)}, Buckets: []string{"recipes"},
			})
			if err == nil && len(got.Lost) > 0 {
				err = fmt.Errorf("%d slices are lost: %w", len(got.Lost), got.Lost[0])
			}
			return err
		}
		return f.Serve(failover.Service{Plan: plan, Start: start, Stop: stop, Procedures: map[string]failover.Hook{"restore_from_backup": restore}})
	}
	_ = serve
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
