package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/storage/file"
)

const (
	enterTimeout = 10 * time.Second
	mostOwed     = 1000 // manifests; each names the one before by its hash
)

// owedEntry is a manifest that was put and is not in the ledger.
type owedEntry struct {
	Name string   // of the object
	Sum  [32]byte // SHA-256 of the object
}

// entries has the manifests of one chain entered in the ledger. What could not be entered is owed, on
// disk too, and comes first the next time.
type entries struct {
	enter func(ctx context.Context, tier, name string, sum [32]byte) error // nil: there is no ledger
	tier  string
	files vfs.FS
	path  string
	owed  []owedEntry
}

// openEntries reads what is owed. What does not read is given up.
func openEntries(enter func(context.Context, string, string, [32]byte) error, tier string, fsys vfs.FS, path string) (*entries, error) {
	e := &entries{enter: enter, tier: tier, files: fsys, path: path}
	data, err := file.Read(fsys, path)
	if err == nil {
		err = json.Unmarshal(data, &e.owed)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return e, fmt.Errorf("backup: read which manifests the ledger lacks: %w", err)
	}
	return e, nil
}

// enterManifest enters a manifest behind those that are owed.
func (e *entries) enterManifest(ctx context.Context, name string, sum [32]byte) error {
	if one := (owedEntry{name, sum}); e.enter != nil && !slices.Contains(e.owed, one) {
		e.owed = append(e.owed, one)
	}
	return e.enterOwed(ctx)
}

// enterOwed enters what is owed, the oldest first, until one fails.
func (e *entries) enterOwed(ctx context.Context) error {
	if e.enter == nil || len(e.owed) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, enterTimeout)
	defer cancel()
	var err error
	for len(e.owed) > 0 && err == nil {
		if err = e.enter(ctx, e.tier, e.owed[0].Name, e.owed[0].Sum); err == nil {
			e.owed = e.owed[1:]
		}
	}
	e.owed = e.owed[max(0, len(e.owed)-mostOwed):]
	return errors.Join(err, e.saveOwed())
}

// saveOwed keeps what is owed; an empty list has no file.
func (e *entries) saveOwed() error {
	if len(e.owed) == 0 {
		if err := e.files.Remove(e.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err // what is entered comes again after a restart
		}
		return nil
	}
	data, err := json.Marshal(e.owed)
	if err != nil {
		return err
	}
	return file.Write(e.files, e.path, data)
}
