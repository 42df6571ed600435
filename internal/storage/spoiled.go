package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// part is a range of keys in which a table does not read. It begins with the last
// key before that which does, so that Pebble, which cuts the table in two there,
// never looks into the blocks between: a look that fails would cost all of a half.
type part struct {
	table        pebble.SSTableInfo
	lower, upper []byte
	reads        bool // the record at lower does
}

// table is one of the store's tables, open for reading beside Pebble.
type table struct {
	it     sstable.Iterator
	reader *sstable.Reader
}

func (t *table) closeTable() { _ = errors.Join(t.it.Close(), t.reader.Close()) }

func (s *Store) openTable(info *pebble.SSTableInfo) (*table, error) {
	f, err := s.opts.FS.Open(s.opts.FS.PathJoin(s.opts.Dir, info.BackingSSTNum.String()+".sst"))
	if err != nil {
		return nil, err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	o := s.pebbleOptions()
	o.EnsureDefaults()
	r, err := sstable.NewReader(context.Background(), readable, o.MakeReaderOptions())
	if err != nil {
		return nil, errors.Join(err, readable.Close())
	}
	it, err := r.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return &table{it, r}, nil
}

// tables lists all tables, those of the newest records first.
func (s *Store) tables() (out []pebble.SSTableInfo, err error) {
	levels, err := s.db.SSTables()
	for _, level := range levels {
		out = append(out, level...)
	}
	return out, err
}

// spoiledPart finds a part of a file that does not read; nil if there is none, or
// the file is not the store's any more.
func (s *Store) spoiledPart(file string) (*part, error) {
	name, _ := strings.CutSuffix(path.Base(file), ".sst")
	number, err := strconv.ParseUint(name, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%s is no table", file)
	}
	all, err := s.tables()
	if err != nil {
		return nil, err
	}
	for i := range all {
		if uint64(all[i].BackingSSTNum) != number {
			continue
		}
		p := s.spoiledPartOf(&all[i])
		if p != nil && bytes.Compare(p.upper, p.lower) <= 0 {
			return nil, errors.New("what does not read is the store's own")
		}
		if p != nil {
			return p, nil
		}
	}
	return nil, nil
}

// spoiledPartOf finds a part of a table that does not read.
func (s *Store) spoiledPartOf(info *pebble.SSTableInfo) *part {
	smallest, largest := info.Smallest.UserKey, info.Largest.UserKey
	p := &part{table: *info, lower: smallest, upper: append(bytes.Clone(largest), 0)}
	t, err := s.openTable(info)
	if err == nil {
		defer t.closeTable()
		if t.readsFrom(smallest, largest, p) {
			return nil
		}
	}
	// The store's own keys are in each batch, so they are elsewhere, too.
	if bytes.Compare(p.lower, callersLower) < 0 {
		p.lower, p.reads = callersLower, false
	}
	return p
}

// readsFrom reads a table from both ends up to where it does not read, and narrows
// p to what is between. It reports true if all of it reads.
func (t *table) readsFrom(smallest, largest []byte, p *part) bool {
	for kv := t.it.SeekGE(smallest, 0); ; kv = t.it.Next() {
		if kv == nil {
			if t.it.Error() == nil {
				return true
			}
			break
		}
		if bytes.Compare(kv.K.UserKey, largest) > 0 {
			return true
		}
		p.lower, p.reads = bytes.Clone(kv.K.UserKey), true
	}
	if kv := t.it.SeekLT(p.upper, 0); kv != nil && t.readBack(kv.K.UserKey, p) {
		return true
	}
	// There may be more than one bad block, and good ones between.
	for i := uint64(1); i < 16; i++ {
		kv := t.it.SeekGE(between(p.lower, p.upper, i), 0)
		if kv != nil && bytes.Compare(kv.K.UserKey, p.upper) < 0 {
			return t.readBack(kv.K.UserKey, p)
		}
	}
	return false
}

// readBack goes back from where the iterator stands, and moves the upper end of p
// along. It reports true if it comes to the lower end.
func (t *table) readBack(key []byte, p *part) bool {
	for bytes.Compare(key, p.lower) > 0 {
		p.upper = append(p.upper[:0:0], key...)
		kv := t.it.Prev()
		if kv == nil {
			return false
		}
		key = kv.K.UserKey
	}
	return true
}

// between returns a key some sixteenths of the way between two others.
func between(lower, upper []byte, sixteenths uint64) []byte {
	n := 0
	for n < len(lower) && n < len(upper) && lower[n] == upper[n] {
		n++
	}
	var a, b [8]byte
	copy(a[:], lower[n:])
	copy(b[:], upper[n:])
	lo, hi := binary.BigEndian.Uint64(a[:]), binary.BigEndian.Uint64(b[:])
	return binary.BigEndian.AppendUint64(bytes.Clone(lower[:n]), lo+(hi-lo)/16*sixteenths)
}

// readableKeys returns the keys in a part of which there is something to read: in other
// tables, and in the cache. The values are those of the cache.
func (s *Store) readableKeys(p *part) (map[string][]byte, error) {
	all, err := s.tables()
	if err != nil {
		return nil, err
	}
	keys := s.cache.valuesWithin(p.lower, p.upper)
	if _, ok := keys[string(p.lower)]; p.reads && !ok {
		keys[string(p.lower)] = nil
	}
	for i := range all {
		info := &all[i]
		if info.FileNum == p.table.FileNum || bytes.Compare(info.Largest.UserKey, p.lower) < 0 || bytes.Compare(info.Smallest.UserKey, p.upper) >= 0 {
			continue
		}
		if err := s.keysOf(info, p, keys); err != nil {
			return nil, fmt.Errorf("table %d does not read there either: %w", info.FileNum, err)
		}
	}
	return keys, nil
}

func (s *Store) keysOf(info *pebble.SSTableInfo, p *part, keys map[string][]byte) error {
	t, err := s.openTable(info)
	if err != nil {
		return err
	}
	defer t.closeTable()
	for kv := t.it.SeekGE(p.lower, 0); kv != nil && bytes.Compare(kv.K.UserKey, p.upper) < 0; kv = t.it.Next() {
		if _, ok := keys[string(kv.K.UserKey)]; !ok {
			keys[string(kv.K.UserKey)] = nil
		}
	}
	return t.it.Error()
}

// salvagePart returns the records in a part that can be read in spite of all: those of
// which nothing newer may be where it does not read, and those in the cache. lost
// is how many others are known to have been there.
func (s *Store) salvagePart(p *part) (kept map[string][]byte, lost int, err error) {
	keys, err := s.readableKeys(p)
	if err != nil {
		return nil, 0, err
	}
	kept = make(map[string][]byte)
	size := 0
	for key, cached := range keys {
		if cached != nil {
			kept[key] = encodeRecord([]byte(key), cached)
		} else if rec, closer, err := s.db.Get([]byte(key)); err == nil {
			kept[key] = bytes.Clone(rec)
			_ = closer.Close()
		} else if !errors.Is(err, pebble.ErrNotFound) {
			lost++
		}
		if size += len(key) + len(kept[key]); size > maxSalvage {
			return nil, 0, errors.New("too much would have to be carried out of the part that does not read")
		}
	}
	return kept, lost, nil
}

// checkEdges makes sure that all tables read at the ends of a part. Where one does not,
// Pebble would take what it leaves of the table for empty.
func (s *Store) checkEdges(p *part) error {
	all, err := s.tables()
	if err != nil {
		return err
	}
	for i := range all {
		info := &all[i]
		// Before the keys of callers are only the store's own, and they are elsewhere.
		left := spansKey(info, p.lower) && !bytes.Equal(p.lower, callersLower)
		right := spansKey(info, p.upper)
		if !left && !right {
			continue
		}
		if err := s.checkEdge(info, p, left, right); err != nil {
			return fmt.Errorf("table %d does not read at the end of the damage: %w", info.FileNum, err)
		}
	}
	return nil
}

func (s *Store) checkEdge(info *pebble.SSTableInfo, p *part, left, right bool) error {
	t, err := s.openTable(info)
	if err != nil {
		return err
	}
	defer t.closeTable()
	if left && t.it.SeekLT(p.lower, 0) == nil && t.it.Error() != nil {
		return t.it.Error()
	}
	if right && t.it.SeekGE(p.upper, 0) == nil && t.it.Error() != nil {
		return t.it.Error()
	}
	return nil
}

// spansKey tells whether a table reaches over a key to both sides.
func spansKey(info *pebble.SSTableInfo, at []byte) bool {
	return bytes.Compare(info.Smallest.UserKey, at) < 0 && bytes.Compare(info.Largest.UserKey, at) >= 0
}
