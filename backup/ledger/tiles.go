package ledger

import (
	"context"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/ledger"
	"github.com/skeinmesh/skein/internal/storage/file"
)

// Tiles keep logs: small runs of bytes under paths. All methods may be used concurrently; one
// node alone writes under a path.
type Tiles interface {
	// Read returns what was written last; the error is fs.ErrNotExist where nothing was.
	Read(ctx context.Context, path string) ([]byte, error)
	// Write replaces what is there. When it returns nil that outlives a loss of power; else
	// what was there or data is there, whole.
	Write(ctx context.Context, path string, data []byte) error
}

// Bucket is what BucketTiles needs of a bucket.
type Bucket interface {
	Get(ctx context.Context, key string) (value []byte, found bool, err error)
	Put(ctx context.Context, key string, value []byte) error
}

// BucketTiles keep logs in a bucket, under keys that begin with a prefix.
func BucketTiles(b Bucket, prefix string) Tiles { return bucketTiles{b, prefix} }

type bucketTiles struct {
	bucket Bucket
	prefix string
}

func (t bucketTiles) Read(ctx context.Context, path string) ([]byte, error) {
	data, found, err := t.bucket.Get(ctx, t.prefix+path)
	if err == nil && !found {
		err = fmt.Errorf("ledger: read %s: %w", path, fs.ErrNotExist)
	}
	return data, err
}

func (t bucketTiles) Write(ctx context.Context, path string, data []byte) error {
	return t.bucket.Put(ctx, t.prefix+path, data)
}

// DirTiles keep logs in files under a directory, as a Ledger does in its Dir.
func DirTiles(dir string) Tiles { return dirTiles{vfs.Default, dir} }

type dirTiles struct {
	fs  vfs.FS
	dir string
}

func (t dirTiles) Read(_ context.Context, path string) ([]byte, error) {
	f, err := t.fs.Open(t.fs.PathJoin(t.dir, path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, ledger.MaxTile))
}

func (t dirTiles) Write(_ context.Context, path string, data []byte) error {
	full := t.fs.PathJoin(t.dir, path)
	if err := t.makeDirs(t.fs.PathDir(full)); err != nil {
		return fmt.Errorf("ledger: directory of %s: %w", path, err)
	}
	return file.WriteText(t.fs, full, string(data))
}

// makeDirs makes a directory, with those above it, such that a crash does not undo it.
func (t dirTiles) makeDirs(dir string) error {
	if _, err := t.fs.Stat(dir); err == nil {
		return nil
	}
	above := t.fs.PathDir(dir)
	if dir != t.dir && above != dir {
		if err := t.makeDirs(above); err != nil {
			return err
		}
	}
	if err := t.fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return file.SyncDir(t.fs, above)
}

// within is a log's part of what keeps several.
type within struct {
	tiles  Tiles
	prefix string
}

func (w within) readBy(ctx context.Context) ledger.Read {
	return func(path string) ([]byte, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return w.tiles.Read(ctx, w.prefix+path)
	}
}

func (w within) writeTo(ctx context.Context, path string, data []byte) error {
	return w.tiles.Write(ctx, w.prefix+path, data)
}
