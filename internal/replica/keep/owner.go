package keep

import (
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/internal/wire"
)

// OwnerFile names, in a store's directory, the file that says whose data it is.
const OwnerFile = "OWNER"

// ReadOwner reads whose data a store's directory holds.
func ReadOwner(fsys vfs.FS, dir string) (wire.Owner, error) {
	data, err := file.Read(fsys, filepath.Join(dir, OwnerFile))
	if err != nil {
		return wire.Owner{}, err
	}
	return wire.DecodeOwner(data)
}

// WriteOwner makes durable whose data a store's directory holds.
func WriteOwner(fsys vfs.FS, dir string, owner wire.Owner) error {
	return file.Write(fsys, filepath.Join(dir, OwnerFile), wire.AppendOwner(nil, owner))
}
