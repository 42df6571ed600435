package mesh

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"runtime"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Names in the data directory.
const (
	lockName     = "lock"
	identityName = "identity"
	rosterName   = "roster"
	storeName    = "store"
	ballastName  = "ballast"
	ownerName    = "OWNER" // in storeName
	manifest     = "MANIFEST-"
)

// directory is an open data directory. Identity and data live and die
// together (protocol 0.1): what is in it has one NodeID, or a new one is
// minted and the leftovers are set aside.
type directory struct {
	fs   vfs.FS
	path string
	log  *slog.Logger
	lock io.Closer
	// What must be written at every start finds room when there is none.
	ballast *ballast
	id      wire.Identity
	roster  roster.Roster // as the last run left it
	places  []wire.Places // the same
}

// dirContents is what lies in a directory before anything is changed.
type dirContents struct {
	id         wire.Identity
	idErr      error // nil, fs.ErrNotExist, or why it cannot be believed
	owner      wire.Owner
	ownerErr   error // the same
	roster     roster.Roster
	places     []wire.Places
	rosterMesh view.MeshID
	rosterErr  error // the same
	store      bool  // there is a store directory
	manifest   bool  // with a store in it
}

// openDir opens the directory for a node of the given mesh and counts the
// start. On error it leaves nothing changed but what a crash could have left.
func openDir(fsys vfs.FS, path string, mesh view.MeshID, storing bool, log *slog.Logger) (_ *directory, err error) {
	d := &directory{fs: fsys, path: path, log: log}
	d.ballast = &ballast{fs: fsys, path: d.pathOf(ballastName), log: log}
	defer func() {
		if err != nil {
			err = fmt.Errorf("mesh: open data directory %s: %w", path, errors.Join(err, d.unlockDir()))
		}
	}()
	if err := d.createDir(); err != nil {
		return nil, err
	}
	if d.lock, err = fsys.Lock(fsys.PathJoin(path, lockName)); err != nil {
		d.lock = nil
		return nil, lockError(err)
	}
	f, err := d.inspectDir()
	if err != nil {
		return nil, err
	}
	why := f.unfitReason()
	if why == "" {
		if why, err = f.checkWanted(mesh, storing); err != nil {
			return nil, err
		}
	}
	keepRoster := f.rosterErr == nil && f.rosterMesh == mesh
	if keepRoster {
		d.roster, d.places = f.roster, f.places
		if f.idErr == nil && f.id.End == wire.EndRolled {
			// Another node runs under the old id, or did later than this directory
			// says: what was claimed of it here is not to be spread.
			d.roster = d.roster.Without(f.id.Node)
		}
	}
	if err := d.setAside(f, why, keepRoster); err != nil {
		return nil, err
	}
	if why != "" {
		err = d.mintIdentity(mesh, storing)
	} else {
		d.id = f.id
		d.id.Boot++
		err = d.writeIdentity()
	}
	if err == nil {
		d.ballast.reserveRoom()
	}
	return d, err
}

func (d *directory) createDir() error {
	if info, err := d.fs.Stat(d.path); err == nil {
		if mode := info.Mode().Perm(); mode&0o022 != 0 && runtime.GOOS != "windows" {
			d.log.Warn("data directory may be written by other users of this machine, who may become this node: make it 0700", "dir", d.path, "mode", mode.String())
		}
		return nil
	}
	if err := d.fs.MkdirAll(d.path, 0o700); err != nil {
		return err
	}
	return file.SyncDir(d.fs, d.fs.PathDir(d.path))
}

// lockError tells a lock that another holds from a directory that cannot be
// written. Pebble reports a holder in this process by an untyped error.
func lockError(err error) error {
	var path *fs.PathError
	var errno syscall.Errno
	if errors.As(err, &path) || errors.As(err, &errno) && errno != syscall.EAGAIN && errno != syscall.EACCES {
		return err
	}
	return fmt.Errorf("%w: %w", ErrLocked, err)
}

// inspectDir reads what is there. Its error says that the directory must be left
// alone: the disk fails, or a newer release wrote it.
func (d *directory) inspectDir() (*dirContents, error) {
	f := &dirContents{}
	var err error
	if f.idErr, err = d.readFile(identityName, func(b []byte) (err error) {
		f.id, err = wire.DecodeIdentity(b)
		return err
	}); err != nil {
		return nil, err
	}
	if f.ownerErr, err = d.readFile(d.fs.PathJoin(storeName, ownerName), func(b []byte) (err error) {
		f.owner, err = wire.DecodeOwner(b)
		return err
	}); err != nil {
		return nil, err
	}
	if f.rosterErr, err = d.readFile(rosterName, func(b []byte) error {
		rf, err := wire.DecodeRosterFile(b)
		if err == nil {
			f.rosterMesh, f.places = rf.Mesh, rf.Places
			f.roster, err = roster.Decode(rf.Roster)
		}
		return err
	}); err != nil {
		return nil, err
	}
	names, err := d.fs.List(d.pathOf(storeName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f.store = err == nil
	for _, n := range names {
		f.manifest = f.manifest || strings.HasPrefix(d.fs.PathBase(n), manifest)
	}
	return f, nil
}

// readFile hands the content of a file to decode. unusable says that the file is
// not there or not to be believed, err that it must be left alone.
func (d *directory) readFile(name string, decode func([]byte) error) (unusable, err error) {
	b, err := file.Read(d.fs, d.pathOf(name))
	if err == nil {
		if err = decode(b); err == nil {
			return nil, nil
		}
		if !errors.Is(err, wire.ErrNewerVersion) {
			return fmt.Errorf("%s: %w", name, err), nil
		}
	}
	switch {
	case errors.Is(err, file.ErrNewerFormat), errors.Is(err, wire.ErrNewerVersion):
		return nil, fmt.Errorf("%w: %s: %w", ErrNewerFormat, name, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, file.ErrCorrupt):
		return err, nil
	}
	return nil, err
}

// unfitReason says why a new NodeID must be minted, or "".
func (f *dirContents) unfitReason() string {
	switch {
	case errors.Is(f.idErr, fs.ErrNotExist) && f.store:
		return "identity is missing"
	case errors.Is(f.idErr, fs.ErrNotExist):
		return "directory is new"
	case f.idErr != nil:
		return "identity is damaged"
	case f.id.End != wire.Running:
		return "node was " + f.id.End.String()
	}
	if e, ok := f.roster.Get(f.id.Node); ok && f.rosterMesh == f.id.Mesh && e.Status.Gone() {
		return "node is " + e.Status.String()
	}
	if !f.id.Storing {
		return ""
	}
	switch {
	case f.ownerErr != nil:
		return "store is missing or damaged"
	case f.owner.Node != f.id.Node:
		return "store belongs to another node"
	case f.owner.Initialised && !f.manifest:
		return "store is gone"
	}
	return ""
}

// checkWanted compares what a sound directory is of with what is wanted of it. A node
// that stored nothing may store from now on, under a new NodeID: others count on what
// is in the roster of the old one, and what waits in its outbox is delivered by the
// store as that of any former identity. The reverse would take the copies that lie
// here out of the mesh without a word, so it takes a Leave.
func (f *dirContents) checkWanted(mesh view.MeshID, storing bool) (why string, err error) {
	switch {
	case f.id.Mesh != mesh:
		return "", fmt.Errorf("%w: it is of mesh %v, and the secret, with MeshName and Shards, is of mesh %v: give it that mesh's secret, or an empty directory", ErrOtherMesh, f.id.Mesh, mesh)
	case f.id.Storing && !storing:
		return "", fmt.Errorf("%w: it holds data, and Storing is false: start it once more with Storing, have it Leave, then start it without", ErrOtherDir)
	case storing && !f.id.Storing:
		return "node stored nothing, and stores from now on", nil
	}
	return "", nil
}

// setAside moves what may not be used on into a directory of its own. The
// identity goes last: until then every start comes back here.
func (d *directory) setAside(f *dirContents, why string, keepRoster bool) error {
	var names []string
	if why != "" && f.store {
		names = append(names, storeName)
	}
	if !keepRoster && !errors.Is(f.rosterErr, fs.ErrNotExist) {
		names = append(names, rosterName)
	}
	if why != "" && !errors.Is(f.idErr, fs.ErrNotExist) {
		names = append(names, identityName)
	}
	if len(names) == 0 {
		return nil
	}
	aside, err := d.asideName(f)
	if err != nil {
		return err
	}
	d.log.Warn("data directory: setting aside what cannot be used", "reason", why, "names", names, "to", aside,
		"identity", f.idErr, "store", f.ownerErr, "roster", f.rosterErr)
	if err := d.fs.MkdirAll(aside, 0o700); err != nil {
		return err
	}
	for _, n := range names {
		if err := d.fs.Rename(d.pathOf(n), d.fs.PathJoin(aside, n)); err != nil {
			return err
		}
	}
	return errors.Join(file.SyncDir(d.fs, aside), file.SyncDir(d.fs, d.path))
}

func (d *directory) asideName(f *dirContents) (string, error) {
	label := ""
	if f.idErr == nil {
		label = f.id.Node.String()
	} else if f.ownerErr == nil {
		label = f.owner.Node.String()
	}
	for n := 1; ; n++ {
		name := label
		if label == "" || n > 1 {
			name = strings.TrimPrefix(fmt.Sprintf("%s-%d", label, n), "-")
		}
		path := d.pathOf(wire.RetiredPrefix + name)
		if _, err := d.fs.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return path, nil
		} else if err != nil {
			return "", err
		}
	}
}

// mintIdentity makes a new identity. It is written last: until then the directory
// has none, whatever else is in it.
func (d *directory) mintIdentity(mesh view.MeshID, storing bool) error {
	d.id = wire.Identity{Node: view.NodeID(random64()), Mesh: mesh, Storing: storing, Boot: 1}
	_, _ = rand.Read(d.id.Seed[:]) // never fails: the runtime stops the program instead
	if storing {
		if err := d.fs.MkdirAll(d.pathOf(storeName), 0o700); err != nil {
			return err
		}
		owner := wire.AppendOwner(nil, wire.Owner{Node: d.id.Node})
		if err := file.Write(d.fs, d.pathOf(storeName, ownerName), owner); err != nil {
			return err
		}
	}
	return d.writeIdentity()
}

// endIdentity marks the identity as never to be used again.
func (d *directory) endIdentity(why wire.End) error {
	d.id.End = why
	return d.writeIdentity()
}

func (d *directory) writeIdentity() error {
	return d.writeFile(identityName, wire.AppendIdentity(nil, d.id))
}

func (d *directory) writeRoster(r roster.Roster, places []wire.Places) error {
	return d.writeFile(rosterName, wire.AppendRosterFile(nil, wire.RosterFile{Mesh: d.id.Mesh, Roster: roster.Encode(r), Places: places}))
}

func (d *directory) writeFile(name string, content []byte) error {
	err := file.Write(d.fs, d.pathOf(name), content)
	if errors.Is(err, syscall.ENOSPC) && d.ballast.giveUpRoom() {
		err = file.Write(d.fs, d.pathOf(name), content)
	}
	return err
}

func (d *directory) unlockDir() error {
	if d.lock == nil {
		return nil
	}
	lock := d.lock
	d.lock = nil
	return lock.Close()
}

func (d *directory) pathOf(names ...string) string {
	return d.fs.PathJoin(append([]string{d.path}, names...)...)
}

// random64 returns a random number that is not zero.
func random64() uint64 {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:])
		if n := binary.BigEndian.Uint64(b[:]); n != 0 {
			return n
		}
	}
}
