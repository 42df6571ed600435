package ledger_test

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/backup/ledger"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/replica"
)

// A node enters in its ledger what it writes to a bucket, and the manifests of its backups. Each node of
// the mesh does the same.
func ExampleOpen() {
	open := func(ctx context.Context, node *mesh.Node, recipes *replica.Bucket, backups backup.Config) error {
		l, err := ledger.Open(ctx, ledger.Config{Mesh: node, Dir: filepath.Join(node.Dir(), "ledger")})
		if err != nil {
			return err
		}
		defer l.Close()
		backups.Enter = l.EnterManifest
		b, err := backup.Open(ctx, backups)
		if err != nil {
			return err
		}
		defer b.Close()
		return l.NewFeed(recipes.Writes()).Run(ctx) // until ctx ends
	}
	_ = open
}

// Anybody can check what a key held, with the public key of the log and no mesh.
func ExampleLedger_ProveKey() {
	prove := func(ctx context.Context, l *ledger.Ledger, recipes *replica.Bucket) error {
		p, err := l.ProveKey(ctx, recipes.Writes(), "menu/monday")
		if err != nil {
			return err
		}
		shown, err := ledger.Verify(p.Proof, ledger.Trust{Log: p.Log})
		if err == nil {
			fmt.Printf("%s was written as %x, leaf %d of %d\n", shown.Leaf.Key, shown.Leaf.Sum, shown.Index, shown.Size)
		}
		return err
	}
	_ = prove
}
