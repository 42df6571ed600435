package dir

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/skeinmesh/skein/backup"
)

const (
	tempPrefix = ".put-" // no name of an object begins with a dot
	// tempAge is how old a temporary file is that nobody writes any more, by the clock that gives
	// files their times. If that jumps and one goes too early, its Put fails, and may be tried again.
	tempAge = time.Hour
	chunk   = 1 << 20 // bytes between two looks at the context
)

// Put keeps an object; see backup.Tier. Besides the errors there it may return ErrNotMounted.
func (t *Tier) Put(ctx context.Context, name string, data []byte) error {
	if err := backup.CheckName(name); err != nil {
		return fmt.Errorf("put %.100q: %w", name, err)
	}
	if len(data) > backup.MaxObject {
		return fmt.Errorf("put %s: %d bytes are more than the %d of an object", name, len(data), backup.MaxObject)
	}
	return t.useDir(ctx, "put", name, func(d directory) error {
		defer t.pending.Add(-int64(len(data)))
		if err := t.checkRoom(ctx, d, name, t.pending.Add(int64(len(data)))); err != nil {
			return err
		}
		return putFile(ctx, d, name, data)
	})
}

// putFile writes a file under a name of its own and renames it once it is on the disk. Then it
// syncs all directories above, for another Put that was cut short may have made them.
func putFile(ctx context.Context, d directory, name string, data []byte) (err error) {
	temp := tempPrefix + rand.Text()
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreAbsent(d.Remove(temp)))
		}
	}()
	if err := writeFile(ctx, d, temp, data); err != nil {
		return err
	}
	parents := parentsOf(name)
	for _, dir := range slices.Backward(parents[:len(parents)-1]) {
		if err := d.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := d.Rename(temp, name); err != nil {
		return err
	}
	for _, dir := range parents {
		if err := d.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(ctx context.Context, d directory, name string, data []byte) error {
	f, err := d.Create(name)
	if err != nil {
		return err
	}
	err = removeLeftovers(d, f)
	for part := range slices.Chunk(data, chunk) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			_, err = f.Write(part)
		}
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// parentsOf returns the directories that a name lies in, the innermost first, "." last.
func parentsOf(name string) (parents []string) {
	for name != "." {
		name = path.Dir(name)
		parents = append(parents, name)
	}
	return parents
}

// checkRoom tells whether there is room for what is pending, of which name is a part.
func (t *Tier) checkRoom(ctx context.Context, d directory, name string, pending int64) error {
	if t.opts.MinFree > 0 {
		free, err := d.Free()
		if err != nil {
			return err
		}
		if free < uint64(t.opts.MinFree+pending) {
			return fmt.Errorf("%w: %d bytes are free, %d are to stay so", backup.ErrTierFull, free, t.opts.MinFree)
		}
	}
	if t.opts.MaxBytes == 0 {
		return nil
	}
	used := pending
	for o, err := range walkFiles(ctx, d, ".", "") {
		if err != nil {
			return err
		}
		if o.Name != name {
			used += o.Size
		}
	}
	if used > t.opts.MaxBytes {
		return fmt.Errorf("%w: it would be %d bytes of %d", backup.ErrTierFull, used, t.opts.MaxBytes)
	}
	return nil
}

// removeLeftovers removes what puts left behind that never ended. A file that is new tells the
// time: the clock of a share's server may be another than ours.
func removeLeftovers(d directory, latest file) error {
	now, err := latest.Stat()
	if err != nil {
		return err
	}
	entries, err := d.List(".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		info, err := e.Info()
		if err == nil && now.ModTime().Sub(info.ModTime()) > tempAge {
			err = d.Remove(e.Name())
		}
		if ignoreAbsent(err) != nil {
			return err
		}
	}
	return nil
}

func ignoreAbsent(err error) error {
	if isAbsent(err) {
		return nil
	}
	return err
}

// Get returns an object; see backup.Tier.
func (t *Tier) Get(ctx context.Context, name string, most int) (data []byte, err error) {
	if err := backup.CheckName(name); err != nil {
		return nil, fmt.Errorf("get %.100q: %w", name, err)
	}
	err = t.useDir(ctx, "get", name, func(d directory) error {
		// What is no file is not opened: a pipe, a device.
		if _, err := statFile(d, name); err != nil {
			return err
		}
		f, err := d.Open(name)
		if isAbsent(err) {
			return errors.Join(backup.ErrNoObject, err)
		}
		if err != nil {
			return err
		}
		defer f.Close()
		data, err = readFile(ctx, f, most)
		return err
	})
	return data, err
}

func readFile(ctx context.Context, f file, most int) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > int64(most) {
		return nil, fmt.Errorf("%d bytes are more than %d", info.Size(), most)
	}
	data := make([]byte, info.Size())
	for part := range slices.Chunk(data, chunk) {
		if _, err := io.ReadFull(f, part); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// Stat tells of an object; see backup.Tier. Its time is that of this machine's clock, or of the
// share's server.
func (t *Tier) Stat(ctx context.Context, name string) (o backup.Object, err error) {
	if err := backup.CheckName(name); err != nil {
		return o, fmt.Errorf("stat %.100q: %w", name, err)
	}
	err = t.useDir(ctx, "stat", name, func(d directory) error {
		o, err = statFile(d, name)
		return err
	})
	return o, err
}

func statFile(d directory, name string) (backup.Object, error) {
	info, err := d.Stat(name)
	if isAbsent(err) {
		return backup.Object{}, errors.Join(backup.ErrNoObject, err)
	}
	if err != nil {
		return backup.Object{}, err
	}
	if !info.Mode().IsRegular() {
		return backup.Object{}, fmt.Errorf("%w, but a %s", backup.ErrNoObject, info.Mode().Type())
	}
	return backup.Object{Name: name, Size: info.Size(), Time: info.ModTime()}, nil
}

// Delete has an object gone; see backup.Tier. The directories that it lay in stay.
func (t *Tier) Delete(ctx context.Context, name string) error {
	if err := backup.CheckName(name); err != nil {
		return fmt.Errorf("delete %.100q: %w", name, err)
	}
	return t.useDir(ctx, "delete", name, func(d directory) error {
		_, err := statFile(d, name)
		if err == nil {
			err = ignoreAbsent(d.Remove(name))
		}
		if err != nil && !errors.Is(err, backup.ErrNoObject) {
			return err
		}
		// Also if there is none: another Delete may have ended before this.
		return ignoreAbsent(d.SyncDir(path.Dir(name)))
	})
}

// List tells of the objects of a prefix; see backup.Tier.
func (t *Tier) List(ctx context.Context, prefix string) iter.Seq2[backup.Object, error] {
	return func(yield func(backup.Object, error) bool) {
		stopped := false
		err := t.useDir(ctx, "list", prefix, func(d directory) error {
			for o, err := range walkFiles(ctx, d, ".", prefix) {
				if err != nil {
					return err
				}
				if stopped = !yield(o, nil); stopped {
					return nil
				}
			}
			return nil
		})
		if err != nil && !stopped {
			yield(backup.Object{}, err)
		}
	}
}

// walkFiles comes to all objects of a prefix below dir, in the order of their names.
func walkFiles(ctx context.Context, d directory, dir, prefix string) iter.Seq2[backup.Object, error] {
	return func(yield func(backup.Object, error) bool) {
		entries, err := d.List(dir)
		if err = errors.Join(ignoreAbsent(err), ctx.Err()); err != nil {
			yield(backup.Object{}, err)
			return
		}
		fullName := func(e fs.DirEntry) string {
			if e.IsDir() {
				return path.Join(dir, e.Name()) + "/" // which gives it its place in the order
			}
			return path.Join(dir, e.Name())
		}
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(fullName(a), fullName(b)) })
		for _, e := range entries {
			name, full := path.Join(dir, e.Name()), fullName(e)
			if backup.CheckName(name) != nil || !strings.HasPrefix(full, prefix) && !(e.IsDir() && strings.HasPrefix(prefix, full)) {
				continue
			}
			inside := walkFiles(ctx, d, name, prefix)
			if !e.IsDir() {
				inside = yieldFile(d, name)
			}
			for o, err := range inside {
				if !yield(o, err) || err != nil {
					return
				}
			}
		}
	}
}

// yieldFile comes to one object, if it has not gone meanwhile and is a file.
func yieldFile(d directory, name string) iter.Seq2[backup.Object, error] {
	return func(yield func(backup.Object, error) bool) {
		if o, err := statFile(d, name); !errors.Is(err, backup.ErrNoObject) {
			yield(o, err)
		}
	}
}
