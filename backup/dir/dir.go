// Package dir is a tier of backups in a directory: of a disk, a USB stick, a share.
//
// Each object is a file, whose path in the directory is the object's name. Files whose names begin
// with a dot, and what has a name that no object can have, are left alone and are not listed.
// Nothing outside the directory is read or written, whatever symbolic links lie in it.
//
// The directory must be there: it is never made, so that nothing is written to the disk below in
// place of a stick that is not mounted. Its mount point may be there all the same; for this case
// there is Options.Marker. The directory is opened anew by each call, so a stick may come and go.
//
// A call ends with its context between two steps, not within one: a share whose server is gone can
// hold a call up for as long as the system waits for it. On a file system without a journal, as
// sticks have, a loss of power may damage the directory itself.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/backup"
)

var (
	// ErrOptions says that the Options have faults; the error lists all of them.
	ErrOptions = errors.New("backup/dir: bad options")
	// ErrNotMounted says that the directory is not there, or has no marker. It may be tried again.
	ErrNotMounted = errors.New("backup/dir: the directory is not there, or not the right one")
)

// Options sets up a Tier. Dir is required.
type Options struct {
	// Dir is the directory. It must be there when the Tier is used, not before.
	Dir string
	// Marker names a file that must lie in Dir, ".skein-backups" say, or else every call ends with
	// ErrNotMounted. Who mounts the stick for the first time lays it there. Empty: none is asked for.
	Marker string
	// MaxBytes is what all objects together may take, as far as this Tier alone puts them there;
	// a Put over it ends with backup.ErrTierFull. 0: as much as there is room for. All objects are
	// counted at each Put, which takes about 30 µs for each.
	MaxBytes int64
	// MinFree is how many bytes of the disk a Put leaves free; otherwise it ends with
	// backup.ErrTierFull. 0: none.
	MinFree int64
}

// Validate reports every fault of the Options at once; errors.Is finds ErrOptions.
func (o Options) Validate() error {
	var faults []error
	if o.Dir == "" {
		faults = append(faults, errors.New("no Dir"))
	}
	if o.Marker != "" && (!fs.ValidPath(o.Marker) || o.Marker == ".") {
		faults = append(faults, fmt.Errorf("marker %q is not the path of a file in Dir", o.Marker))
	}
	if o.MaxBytes < 0 {
		faults = append(faults, fmt.Errorf("MaxBytes %d is below 0", o.MaxBytes))
	}
	if o.MinFree < 0 {
		faults = append(faults, fmt.Errorf("MinFree %d is below 0", o.MinFree))
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrOptions, errors.Join(faults...))
}

// Tier is a backup.Tier. It holds nothing open between calls and needs no Close.
type Tier struct {
	opts    Options
	openDir func() (directory, error)
	pending atomic.Int64 // bytes of the puts that go on
}

var _ backup.Tier = (*Tier)(nil)

// New returns the tier of a directory. The error is ErrOptions.
func New(o Options) (*Tier, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Tier{opts: o, openDir: func() (directory, error) { return openRoot(o.Dir) }}, nil
}

// useDir opens the directory for one call. What it returns says what was attempted.
func (t *Tier) useDir(ctx context.Context, attempt, name string, use func(directory) error) error {
	err := ctx.Err()
	if err == nil {
		err = t.useOpened(use)
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s in %s: %w", attempt, name, t.opts.Dir, nameCause(err))
}

func (t *Tier) useOpened(use func(directory) error) error {
	d, err := t.openDir()
	if errors.Is(err, fs.ErrNotExist) {
		return errors.Join(ErrNotMounted, err)
	}
	if err != nil {
		return err
	}
	defer d.Close()
	if t.opts.Marker != "" {
		if _, err := d.Stat(t.opts.Marker); errors.Is(err, fs.ErrNotExist) {
			return errors.Join(ErrNotMounted, err)
		} else if err != nil {
			return err
		}
	}
	return use(d)
}

// nameCause adds the error of package backup that an error of the system stands for.
func nameCause(err error) error {
	switch {
	case vfs.IsNoSpaceError(err), errors.Is(err, syscall.EDQUOT):
		return errors.Join(backup.ErrTierFull, err)
	case errors.Is(err, fs.ErrPermission):
		return errors.Join(backup.ErrDenied, err)
	}
	return err
}

// isAbsent tells whether an error says that there is no such file, as it does when a file stands
// in the place of a directory.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
