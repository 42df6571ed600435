package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/slice"
)

const (
	// MaxSource is how many bytes the files of a source may have together: whoever restores it
	// holds them in memory.
	MaxSource = 256 << 20
	// MaxSourceFiles is how many files a source may have.
	MaxSourceFiles = 10_000

	pieceBytes  = 512 << 10
	mostName    = 512
	mostSkipped = 20 // that are told
)

// ErrSkipped says that a source has left files out, and that what it gave counts.
var ErrSkipped = errors.New("files were left out")

// Source is what the application has backed up beside buckets: its configuration, its logs. Each
// node backs up its own, which RestoreSource brings back.
type Source struct {
	// Name is as that of a tier. It is sealed.
	Name string
	// Read gives all files by a call of each, one after the other. Names are as fs.ValidPath
	// says, of at most 512 bytes. A file without data is there, but cannot be read: what an earlier
	// backup has of it stays. Read returns errors of each, and any other for which the source is not to be backed up this time:
	// then what an earlier backup has stays. ErrSkipped is told, and the source is backed up. Read may be
	// called by several tiers at once.
	Read func(ctx context.Context, each func(name string, data io.Reader) error) error
}

// Files is a source of the files below a directory, as os.DirFS returns one, of which the names
// match one of the patterns, as path.Match says; none: all. A file is backed up as long as it was when it was opened: what a log
// gains meanwhile comes with the next backup. Links, files that do not read, that were written
// anew while they were read, or that have no room within MaxSource, are told. Directories and modes
// are not backed up.
func Files(name string, dir fs.FS, patterns ...string) Source {
	return Source{Name: name, Read: func(ctx context.Context, each func(string, io.Reader) error) error {
		for _, p := range patterns {
			if _, err := path.Match(p, ""); err != nil {
				return fmt.Errorf("pattern %q: %w", p, err)
			}
		}
		g := gathering{dir: dir, each: each, room: MaxSource, patterns: patterns}
		err := fs.WalkDir(dir, ".", func(name string, e fs.DirEntry, err error) error {
			return errors.Join(ctx.Err(), g.visitEntry(name, e, err))
		})
		if err != nil {
			return err
		}
		return g.tellSkipped()
	}}
}

// gathering goes through the files of a directory.
type gathering struct {
	dir      fs.FS
	each     func(string, io.Reader) error
	patterns []string
	room     int64
	skipped  []error
	more     int // that are not in skipped
}

func (g *gathering) skipFile(err error) {
	if len(g.skipped) < mostSkipped {
		g.skipped = append(g.skipped, err)
	} else {
		g.more++
	}
}

func (g *gathering) tellSkipped() error {
	if len(g.skipped) == 0 {
		return nil
	}
	return fmt.Errorf("%w, %d: %w", ErrSkipped, len(g.skipped)+g.more, errors.Join(g.skipped...))
}

// visitEntry gives a file that is asked for.
func (g *gathering) visitEntry(name string, e fs.DirEntry, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist) && name != ".":
		return nil // it went meanwhile
	case err != nil && name == ".":
		return err
	case err != nil:
		// What is below a directory that does not read is not known, and must not count as gone.
		return fmt.Errorf("directory %s: %w", name, err)
	case e.IsDir() || !g.matchName(name):
		return nil
	case !e.Type().IsRegular():
		g.skipFile(fmt.Errorf("%s: %v is no file", name, e.Type()))
		return nil
	}
	return g.giveFile(name)
}

func (g *gathering) matchName(name string) bool {
	return len(g.patterns) == 0 || slices.ContainsFunc(g.patterns, func(p string) bool {
		ok, _ := path.Match(p, name)
		return ok
	})
}

// giveFile gives a file. One that is there and cannot be read is given without data.
func (g *gathering) giveFile(name string) error {
	f, err := g.dir.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it went meanwhile
	}
	var info fs.FileInfo
	if err == nil {
		defer f.Close()
		info, err = f.Stat()
	}
	if err == nil && info.Size() > g.room {
		err = fmt.Errorf("%s: %d bytes are more than the %d that are left of %d", name, info.Size(), g.room, MaxSource)
	}
	if err != nil {
		g.skipFile(err)
		return g.each(name, nil)
	}
	g.room -= info.Size()
	if err := g.each(name, io.LimitReader(f, info.Size())); err != nil {
		return err
	}
	after, err := f.Stat()
	if err == nil && (after.Size() < info.Size() || after.Size() == info.Size() && !after.ModTime().Equal(info.ModTime())) {
		err = fmt.Errorf("%s was changed while it was read", name)
	}
	if err != nil {
		g.skipFile(err)
	}
	return nil
}

// sourceDef stands where the definition of a bucket does. It reads as none.
func sourceDef(name string) []byte { return []byte("source\x00" + name) }

// pieceKey is the key of a piece of a file; that of the file itself is its name.
func pieceKey(name string, n int) string { return fmt.Sprintf("%s\x00%08x", name, n) }

// backUpSources backs up the sources of the policy. failed tells what of them was not backed up; err, that
// the backup cannot go on.
func (r *backupRun) backUpSources(ctx context.Context) (failed, err error) {
	for _, s := range r.policy.Sources {
		x := sourceRun{
			slice: r.openSlice(slice.Slice{Def: sourceDef(s.Name), Origin: wire.AppendOrigin(nil, wire.Origin{Mesh: r.mesh})}),
			named: make(map[string]bool),
		}
		x.slice.source = true
		r.leadSlice(x.slice.s)
		err := s.Read(ctx, func(name string, data io.Reader) error {
			if x.failed == nil { // it may not be passed on
				x.failed = x.addFile(ctx, name, data)
			}
			return x.failed
		})
		if ctx.Err() != nil || errors.Is(x.failed, errPut) {
			return nil, errors.Join(ctx.Err(), x.failed)
		}
		if err = errors.Join(x.failed, err); err != nil {
			x.slice.lacks = true
			failed = errors.Join(failed, fmt.Errorf("source %q: %w", s.Name, err))
		}
		if x.failed == nil && (err == nil || errors.Is(err, ErrSkipped)) {
			if err := x.slice.endSlice(ctx); err != nil {
				return failed, err
			}
		}
	}
	return failed, nil
}

// sourceRun is the backup of one source: a slice, of which the records are files and their pieces.
type sourceRun struct {
	slice  *sliceRun
	named  map[string]bool
	size   int64
	piece  bytes.Buffer // room for one
	failed error
}

// addFile adds the pieces of a file, and then the file. No data: what is known of it stays.
func (x *sourceRun) addFile(ctx context.Context, name string, data io.Reader) error {
	switch {
	case !fs.ValidPath(name) || name == "." || len(name) > mostName || strings.ContainsRune(name, 0):
		return fmt.Errorf("file %.600q: not a name as fs.ValidPath says, of at most %d bytes", name, mostName)
	case x.named[name]:
		return fmt.Errorf("file %q is given twice", name)
	case len(x.named) == MaxSourceFiles:
		return fmt.Errorf("file %q: more than %d files", name, MaxSourceFiles)
	}
	x.named[name] = true
	if data == nil {
		x.keepFile(name)
		return nil
	}
	file, sum := wire.SourceFile{}, sha256.New()
	for {
		x.piece.Reset()
		n, err := x.piece.ReadFrom(io.LimitReader(data, pieceBytes))
		if err != nil {
			return fmt.Errorf("file %q: %w", name, err)
		}
		if n == 0 {
			break
		}
		if x.size += n; x.size > MaxSource {
			return fmt.Errorf("file %q: the source has more than %d bytes", name, MaxSource)
		}
		_, _ = sum.Write(x.piece.Bytes())
		if err := x.addItem(ctx, pieceKey(name, file.Pieces), x.piece.Bytes()); err != nil {
			return err
		}
		file.Size, file.Pieces = file.Size+uint64(n), file.Pieces+1
	}
	sum.Sum(file.Sum[:0])
	return x.addItem(ctx, name, wire.AppendSourceFile(nil, &file))
}

func (x *sourceRun) addItem(ctx context.Context, key string, item []byte) error {
	return x.slice.addRecord(ctx, &slice.Record{Key: key, Version: xxhash.Sum64(item), Item: item})
}

// keepFile leaves a file as it is known.
func (x *sourceRun) keepFile(name string) {
	if x.slice.seen.keepVersion(name) {
		for n := 0; x.slice.seen.keepVersion(pieceKey(name, n)); n++ {
		}
	}
}
