package backup

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/internal/wire"
)

// chain is what this node knows of its backups by one policy at one tier. What is lost of it
// makes the next backup of a slice a whole one, and costs nothing else.
//
//	state      which segments hold what; replaced at once
//	l-HASH     what was backed up of a slice, item by item; named by the hash of its bytes,
//	           which stands in the state: so it need not be synced
type chain struct {
	fs  vfs.FS
	dir string

	state     wire.BackupState
	inventory wire.Inventory
}

// openChain reads what is known, or begins a new chain. selection is a hash of what is backed up, and
// for whom: what is another begins a new one, too.
func openChain(fsys vfs.FS, dir string, selection uint64) (*chain, error) {
	c := &chain{fs: fsys, dir: dir}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	data, err := file.Read(fsys, fsys.PathJoin(dir, "state"))
	if err == nil {
		c.state, err = wire.DecodeBackupState(data)
	}
	if err == nil && len(c.state.Inventory) > 0 {
		c.inventory, err = wire.DecodeInventory(c.state.Inventory)
	}
	switch {
	case errors.Is(err, wire.ErrNewerVersion), errors.Is(err, file.ErrNewerFormat):
		return nil, err // a later release goes on with it
	case err != nil || c.state.Selection != selection:
		if err := c.startAnew(); err != nil {
			return nil, err
		}
		c.state.Selection = selection
	}
	return c, nil
}

// startAnew gives the chain up for a new one.
func (c *chain) startAnew() error {
	c.state, c.inventory = wire.BackupState{Due: c.state.Due, Begun: c.state.Begun, Selection: c.state.Selection}, wire.Inventory{}
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	c.state.Chain = binary.BigEndian.Uint64(id[:])
	return nil
}

// saveState keeps the state as it is.
func (c *chain) saveState() error { return c.replaceState(c.state, c.inventory) }

// replaceState keeps another state. After an error the one before counts, and goes on.
func (c *chain) replaceState(state wire.BackupState, inventory wire.Inventory) error {
	state.Inventory = wire.AppendInventory(nil, &inventory)
	if _, err := wire.DecodeInventory(state.Inventory); err != nil {
		return fmt.Errorf("backup: the inventory would not read: %w", err)
	}
	if err := file.Write(c.fs, c.fs.PathJoin(c.dir, "state"), wire.AppendBackupState(nil, &state)); err != nil {
		return fmt.Errorf("backup: state in %s: %w", c.dir, err)
	}
	c.state, c.inventory = state, inventory
	return nil
}

func (c *chain) listPath(hash uint64) string {
	return c.fs.PathJoin(c.dir, fmt.Sprintf("l-%016x", hash))
}

// saveList keeps a list, and returns its hash.
func (c *chain) saveList(versions []wire.ListedVersion) (uint64, error) {
	data := wire.AppendVersionList(nil, &wire.VersionList{Versions: versions})
	hash := max(xxhash.Sum64(data), 1)
	f, err := c.fs.Create(c.listPath(hash), vfs.WriteCategoryUnspecified)
	if err != nil {
		return 0, err
	}
	_, err = f.Write(data)
	return hash, errors.Join(err, f.Close())
}

// readList returns a list; ok is false where it is lost.
func (c *chain) readList(hash uint64) (versions []wire.ListedVersion, ok bool) {
	if hash == 0 {
		return nil, false
	}
	data, err := readWhole(c.fs, c.listPath(hash))
	if err != nil || max(xxhash.Sum64(data), 1) != hash {
		return nil, false
	}
	m, err := wire.DecodeVersionList(data)
	return m.Versions, err == nil
}

// dropLists removes the lists that the state does not name.
func (c *chain) dropLists() error {
	names, err := c.fs.List(c.dir)
	if err != nil {
		return err
	}
	named := make(map[string]bool)
	for i := range c.inventory.Slices {
		named[c.fs.PathBase(c.listPath(c.inventory.Slices[i].List))] = true
	}
	var errs []error
	for _, name := range names {
		if name = c.fs.PathBase(name); len(name) == 18 && name[:2] == "l-" && !named[name] {
			errs = append(errs, c.fs.Remove(c.fs.PathJoin(c.dir, name)))
		}
	}
	return errors.Join(errs...)
}

func readWhole(fsys vfs.FS, path string) ([]byte, error) {
	info, err := fsys.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > 1<<30 {
		return nil, fmt.Errorf("%s: %d bytes: %w", path, info.Size(), os.ErrInvalid)
	}
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	data := make([]byte, info.Size())
	n, err := f.ReadAt(data, 0)
	if n == len(data) {
		err = nil
	}
	return data, errors.Join(err, f.Close())
}

// seenVersions tells what of a slice has changed since its list was made.
type seenVersions struct {
	before []wire.ListedVersion // in the order of Key
	now    []wire.ListedVersion
}

// hashOfKey is what stands for a key in lists and deltas: an even number.
func hashOfKey(key string) uint64 { return xxhash.Sum64String(key) &^ 1 }

// addVersion notes a record, and tells whether it is not as the list says. Two keys of one hash
// count as changed both, each time.
func (s *seenVersions) addVersion(key string, purged bool, version uint64) (changed bool) {
	v := wire.ListedVersion{Key: hashOfKey(key), Version: version}
	if purged {
		v.Key |= 1
	}
	s.now = append(s.now, v)
	i, ok := findVersion(s.before, v.Key)
	return !ok || s.before[i].Version != version
}

// keepVersion notes a record that is there and is not backed up: what was before stays, if anything was.
func (s *seenVersions) keepVersion(key string) (was bool) {
	i, was := findVersion(s.before, hashOfKey(key))
	if was {
		s.now = append(s.now, s.before[i])
	}
	return was
}

func findVersion(list []wire.ListedVersion, key uint64) (int, bool) {
	return slices.BinarySearchFunc(list, key, func(e wire.ListedVersion, k uint64) int { return cmp.Compare(e.Key, k) })
}

// endList orders what was seen, and returns the hashes of the keys that the list has and the store
// has no more. Keys of one hash are not listed: they are backed up each time, and never gone.
func (s *seenVersions) endList() (gone []uint64) {
	all := s.now
	slices.SortFunc(all, func(a, b wire.ListedVersion) int { return cmp.Compare(a.Key, b.Key) })
	s.now = make([]wire.ListedVersion, 0, len(all))
	for i, v := range all {
		if (i == 0 || all[i-1].Key != v.Key) && (i+1 == len(all) || all[i+1].Key != v.Key) {
			s.now = append(s.now, v)
		}
	}
	for _, v := range s.before {
		if _, ok := findVersion(all, v.Key); !ok && v.Key&1 == 0 {
			gone = append(gone, v.Key)
		}
	}
	return gone
}
