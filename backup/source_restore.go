package backup

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/skeinmesh/skein/internal/retain"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// ErrManyNodes says that several nodes have backed up a source of this name, and none was named.
var ErrManyNodes = errors.New("several nodes have backed it up: name one")

// SourceConfig says which source to restore. Source, Tiers and Identities are required.
type SourceConfig struct {
	// Source is the Name of the source.
	Source string
	// Node is the node that has backed it up. Zero: the only one.
	Node view.NodeID
	// The others are as in RestoreConfig.
	Tiers      []NamedTier
	Identities []string
	From       view.MeshID
	Signers    [][32]byte
	By         time.Time
	Policies   []string
	// Each is given each file that reads whole, in the order of names; data is its own. An error ends the
	// restore. IntoDirectory makes one. Nil: it is only told what there is.
	Each func(name string, data []byte) error
}

// RestoredSource tells what came of the restore of a source.
type RestoredSource struct {
	Node  view.NodeID
	Files []RestoredFile
	Bytes int64 // read at the tiers
	// Faults are objects that do not read, or are not as they were put. Another tier, or an older
	// backup, was read instead.
	Faults []error
	// Lost are files that are not whole.
	Lost []error
	// Unpinned is as in Restored.
	Unpinned []error
}

// RestoredFile is a file that was restored.
type RestoredFile struct {
	Name string
	Size int64
}

// RestoreSource gives back the files of a source as its node had backed them up last. It holds them
// all in memory. It returns what it has done so far beside any error, which is ErrConfig, ErrNoBackup,
// ErrManyMeshes, ErrManyNodes, ErrNoIdentity, that of Each, or that of ctx. RestoredSource.Lost is no error: read
// it.
func RestoreSource(ctx context.Context, cfg SourceConfig) (out RestoredSource, err error) {
	ids, err := parseIdentities(cfg.Identities)
	if err == nil && len(ids) == 0 {
		err = errors.New("no identity")
	}
	if !isName(cfg.Source) {
		err = errors.Join(err, fmt.Errorf("source %q: not the name of one", cfg.Source))
	}
	if len(cfg.Tiers) == 0 {
		err = errors.Join(err, errors.New("no tier"))
	}
	if err != nil {
		return out, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c, err := listCatalog(ctx, cfg.Tiers, cfg.From)
	if err != nil {
		return out, err
	}
	pins := putPins(ctx, c)
	defer func() { out.Unpinned = pins.removeAll() }()
	if err := c.readPoints(ctx); err != nil {
		return out, err
	}
	if cfg.Node != 0 {
		c.points = slices.DeleteFunc(c.points, func(p retain.Point) bool { return p.Node != cfg.Node })
	}
	r := restore{
		cfg: &RestoreConfig{By: cfg.By, Policies: cfg.Policies}, ids: ids, catalog: c, source: cfg.Source,
		inventories: make(map[retain.Place]*wire.Inventory),
	}
	r.cache.most = cachedSegments
	r.out.Faults = slices.Concat(c.faults, c.chainFaults(time.Now()), c.refuseSigners(cfg.Signers))
	defer func() { out.Faults, out.Bytes = r.out.Faults, r.out.Bytes }()
	choice, err := r.chooseSource(ctx)
	if err != nil {
		return out, err
	}
	out.Node = choice.Node
	items, err := r.readChoice(ctx, choice, &lineage{gone: make(map[string][][]byte)})
	if err != nil {
		return out, errors.Join(ctx.Err(), err)
	}
	for _, name := range slices.Sorted(maps.Keys(items)) {
		if strings.ContainsRune(name, 0) {
			continue // a piece
		}
		data, err := joinPieces(name, items)
		if err != nil {
			out.Lost = append(out.Lost, fmt.Errorf("file %q: %w", name, err))
			continue
		}
		if cfg.Each != nil {
			if err := cfg.Each(name, data); err != nil {
				return out, fmt.Errorf("file %q: %w", name, err)
			}
		}
		out.Files = append(out.Files, RestoredFile{name, int64(len(data))})
	}
	return out, ctx.Err()
}

// chooseSource returns what to read of the source: of its node the newest that any policy has.
func (r *restore) chooseSource(ctx context.Context) (best retain.Choice, err error) {
	if err := r.openInventories(ctx); err != nil {
		return best, err
	}
	points := slices.DeleteFunc(slices.Clone(r.catalog.points), func(p retain.Point) bool { return len(p.Slices) == 0 })
	choices := retain.ChoosePoints(points, r.cfg.By, time.Now())
	for _, c := range choices {
		switch at := c.Points[0]; {
		case best.Points == nil:
			best = c
		case c.Node != best.Node:
			return best, fmt.Errorf("source %q: %w: %v and %v", r.source, ErrManyNodes, best.Node, c.Node)
		case r.catalog.manifests[at].Time.After(r.catalog.manifests[best.Points[0]].Time):
			best = c
		}
	}
	if best.Points == nil {
		return best, fmt.Errorf("source %q: %w that was made by then: %d manifests were looked at", r.source, ErrNoBackup, len(r.catalog.points))
	}
	return best, nil
}

// joinPieces puts a file together.
func joinPieces(name string, items map[string]oldItem) (data []byte, err error) {
	file, err := wire.DecodeSourceFile(items[name].item)
	if err != nil {
		return nil, err
	}
	data = []byte{}
	for n := range file.Pieces {
		piece, ok := items[pieceKey(name, n)]
		if !ok {
			return nil, fmt.Errorf("piece %d of %d is not there", n, file.Pieces)
		}
		data = append(data, piece.item...)
	}
	if uint64(len(data)) != file.Size || sha256.Sum256(data) != file.Sum {
		return nil, fmt.Errorf("%w: %d bytes, of which %d are known with another hash", ErrChanged, len(data), file.Size)
	}
	return data, nil
}

// IntoDirectory is a SourceConfig.Each that writes files below a directory, which it makes: each whole, by a
// name of its own first, legible to its owner alone. A name that leads out of the directory, by ".." or
// by a link, is an error.
func IntoDirectory(dir string) func(name string, data []byte) error {
	return func(name string, data []byte) error {
		local, err := filepath.Localize(name)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			return err
		}
		defer root.Close()
		if err := root.MkdirAll(filepath.Dir(local), 0o700); err != nil {
			return err
		}
		temp := filepath.Join(filepath.Dir(local), ".restoring-"+rand.Text())
		f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(data)
		if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
			err = root.Rename(temp, local)
		}
		if err != nil {
			return errors.Join(err, root.Remove(temp))
		}
		return nil
	}
}
