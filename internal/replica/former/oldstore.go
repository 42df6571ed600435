package former

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

const (
	formerCache    = 1 << 20
	formerMemTable = 1 << 20
)

// RefusedName names the list of what was not taken in, beside the old store.
const RefusedName = "REFUSED"

// oldStore is what an identity that this node had before has left in its data
// directory. Nothing is ever written into its store.
type oldStore struct {
	fs   vfs.FS
	name string // of the directory in that of the node
	dir  string
	node view.NodeID // whose data it was
	// twin: another copy of the data has gone on under the same identity, so
	// what a dot of its own names is not certain.
	twin bool
	disk *storage.Store // while it is looked through

	mu            sync.Mutex
	shards        int             // of which there are records; 0: not known yet
	done          int             // of them
	brought       uint64          // records of which something was not in the mesh
	refused       int             // records that may have been deleted; see purge.Import
	damaged       map[string]bool // keys of records that do not read, as far as they are not noted
	unread        int             // how many there are in all
	problem       string          // why it does not get on; empty: it does
	unusable      bool            // and will not, as it is: it was left untouched
	lookedThrough bool            // all of it was looked at
}

// findFormer lists what former identities have left.
func findFormer(fsys vfs.FS, dir string) ([]*oldStore, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var out []*oldStore
	for _, name := range names {
		name = fsys.PathBase(name)
		if !strings.HasPrefix(name, wire.RetiredPrefix) {
			continue
		}
		f := &oldStore{fs: fsys, name: name, dir: fsys.PathJoin(dir, name), damaged: make(map[string]bool)}
		if _, err := fsys.Stat(f.storeDir()); err == nil {
			out = append(out, f)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return out, nil
}

func (f *oldStore) storeDir() string { return f.fs.PathJoin(f.dir, "store") }

// ErrNever tells that old data cannot be taken in as it is.
var ErrNever = errors.New("it is left as it is")

// openStore opens the old store for reading if it is of this mesh and can be read. ok
// is false if there is nothing in it.
func (f *oldStore) openStore(v view.View) (ok bool, err error) {
	owner, ownerErr := keep.ReadOwner(f.fs, f.storeDir())
	var id wire.Identity
	data, err := file.Read(f.fs, f.fs.PathJoin(f.dir, "identity"))
	if err == nil {
		id, err = wire.DecodeIdentity(data)
	}
	if f.node = owner.Node; ownerErr != nil {
		f.node = id.Node
	}
	_, member := v.Member(owner.Node)
	switch {
	case errors.Is(err, wire.ErrNewerVersion), errors.Is(err, file.ErrNewerFormat):
		return false, fmt.Errorf("%w: a newer release wrote it", ErrNever)
	case err == nil && id.Mesh != v.Mesh:
		return false, fmt.Errorf("%w: it is of another mesh", ErrNever)
	case err != nil && ownerErr != nil:
		return false, fmt.Errorf("%w: nobody can tell to which mesh it belongs (%w)", ErrNever, errors.Join(err, ownerErr))
	case err != nil && !member:
		return false, fmt.Errorf("nobody in contact can tell to which mesh it belongs (%w)", err)
	}
	f.twin = err == nil && id.End == wire.EndRolled && id.Node == f.node
	f.disk, err = storage.Open(storage.Options{
		FS: f.fs, Dir: f.storeDir(), ReadOnly: true, CacheBytes: formerCache, MemTableBytes: formerMemTable,
		OnCorrupt: func(key []byte, _ error) { f.markDamaged(key) },
	})
	switch {
	case errors.Is(err, fs.ErrNotExist) && !errors.Is(err, storage.ErrCorrupt):
		return false, nil
	case errors.Is(err, storage.ErrNewerFormat):
		return false, fmt.Errorf("%w: a newer release wrote it", ErrNever)
	case errors.Is(err, storage.ErrCorrupt):
		return false, fmt.Errorf("%w: it is damaged as a whole (%w)", ErrNever, err)
	}
	return err == nil, err
}

func (f *oldStore) closeStore() error {
	if f.disk == nil {
		return nil
	}
	disk := f.disk
	f.disk = nil
	return disk.Close()
}

// markDamaged is told of what does not read.
func (f *oldStore) markDamaged(key []byte) {
	if _, ok := layout.PlaceOf(key); !ok {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.damaged[string(key)] = true
}

// takeLost returns the records that turned out not to read since it was called
// last.
func (f *oldStore) takeLost() (out [][]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k := range f.damaged {
		out = append(out, []byte(k))
	}
	clear(f.damaged)
	return out
}

// doubtedBirths tells of births whose dots may name other writes in the mesh; nil: of
// none.
func (f *oldStore) doubtedBirths() func(version.Actor) bool {
	if !f.twin {
		return nil
	}
	return func(a version.Actor) bool { return a.Store == uint64(f.node) }
}

// listShards lists the shards of which there are records.
func (f *oldStore) listShards(ctx context.Context) (out []int, err error) {
	lower, upper := wire.RecordRange()
	for lower != nil {
		shard := 0
		err := f.disk.Scan(ctx, lower, upper, func(k, _ []byte) error {
			shard, _, _, _ = wire.ParseRecordKey(k)
			return keep.ErrStop
		})
		if !errors.Is(err, keep.ErrStop) {
			return out, err
		}
		out = append(out, shard)
		_, lower = wire.ShardRange(shard)
	}
	return out, nil
}

// stampOfShard is where the old store stood in a shard. A note that is damaged counts
// as none: then all that was ever purged counts.
func (f *oldStore) stampOfShard(ctx context.Context, shard int) (purge.Stamp, error) {
	data, err := f.disk.Get(ctx, keep.MetaRounds(shard))
	var m wire.RoundState
	if err == nil {
		m, err = wire.DecodeRoundState(data)
	}
	switch {
	case errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrCorrupt), errors.Is(err, wire.ErrMalformed):
		return purge.Stamp{}, nil
	case errors.Is(err, wire.ErrNewerVersion):
		return purge.Stamp{}, fmt.Errorf("%w: a newer release wrote it", ErrNever)
	}
	return keep.StampOf(m.Stamp), err
}

// readPage reads the next records of a shard, all of one bucket.
func (f *oldStore) readPage(ctx context.Context, im *Importer, shard int, after []byte) (out []keep.Stamped, err error) {
	lower, upper := wire.ShardRange(shard)
	if len(after) > 0 {
		lower = append(slices.Clone(after), 0)
	}
	size := 0
	err = f.disk.Scan(ctx, lower, upper, func(k, v []byte) error {
		at, ok := layout.PlaceOf(slices.Clone(k))
		if !ok || im.homes.ShardOf(at.Bucket, at.Key) != shard {
			f.markDamaged(k)
			return nil
		}
		if len(out) == keep.PageKeys || size >= im.carrier.Pace.PieceBytes() || len(out) > 0 && at.Slice != out[0].At.Slice {
			return keep.ErrStop
		}
		rec, err := keep.DecodeStored(slices.Clone(v), nil)
		switch {
		case errors.Is(err, wire.ErrNewerVersion):
			return fmt.Errorf("%w: a newer release wrote it", ErrNever)
		case err != nil:
			return err
		case rec.Damaged:
			f.markDamaged(k)
		case !rec.Unknown():
			size += len(rec.Raw)
			out = append(out, keep.Stamped{At: at, Rec: rec})
		}
		return nil
	})
	if errors.Is(err, keep.ErrStop) {
		err = nil
	}
	return out, err
}

// setAside goes through the records that the old store had given up itself.
func (f *oldStore) setAside(ctx context.Context, fn func(record []byte)) error {
	lower, upper := wire.AsideRange()
	return f.disk.Scan(ctx, lower, upper, func(k, _ []byte) error {
		fn(wire.ParseAsideKey(k))
		return nil
	})
}

// discardFormer removes old data. A crash leaves all of it, or what the next opening
// removes.
func discardFormer(fsys vfs.FS, dir string) error {
	in := fsys.PathDir(dir)
	to := fsys.PathJoin(in, importedPrefix+fsys.PathBase(dir))
	if err := fsys.Rename(dir, to); err != nil {
		return err
	}
	return errors.Join(file.SyncDir(fsys, in), fsys.RemoveAll(to))
}

// importedPrefix begins the names of directories that are being removed.
const importedPrefix = "imported-"

// removeDiscarded removes what discard has not come to.
func removeDiscarded(fsys vfs.FS, dir string) error {
	names, err := fsys.List(dir)
	for _, name := range names {
		if name = fsys.PathBase(name); strings.HasPrefix(name, importedPrefix) {
			err = errors.Join(err, fsys.RemoveAll(fsys.PathJoin(dir, name)))
		}
	}
	return err
}
