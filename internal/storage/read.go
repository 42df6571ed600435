package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
)

func (s *Store) getSynced(ctx context.Context, key []byte) ([]byte, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	if err := s.usable(); err != nil {
		return nil, err
	}
	value, gen, ok := s.cache.getValue(key)
	if ok {
		return value, nil
	}
	leave, err := s.enterReader()
	if err != nil {
		return nil, err
	}
	value, err = s.loadUnsynced(key, s.db.Get)
	leave()
	// What was read is synced unless a group in flight writes the key: the
	// group is registered before it is applied, and stays until synced.
	if g := s.inflight.Load(); g != nil {
		if w, ok := g.writes[string(key)]; ok {
			if err := s.awaitSync(ctx, g); err != nil {
				return nil, err
			}
			return w.recordValue()
		}
	}
	if err == nil {
		s.cache.keepRead(key, value, gen)
	}
	return value, err
}

// awaitSync waits until g is synced.
func (s *Store) awaitSync(ctx context.Context, g *group) error {
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reading reads a record from Pebble, as its DB.Get does.
type reading func(key []byte) (record []byte, closer io.Closer, err error)

// readIfThere is a reading of what may well not be there. DB.Get passes by the filters of the
// lowest level, where most records lie, and reads a block to find out that a key is new:
// each write of a new key would read the disk. Where a filter does not read, it is passed by.
func (s *Store) readIfThere(key []byte) (record []byte, closer io.Closer, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{UseL6Filters: true})
	if err != nil {
		return nil, nil, err
	}
	there := it.SeekPrefixGE(key)
	if err = it.Error(); there {
		record, err = it.ValueAndErr()
	}
	if there && err == nil {
		return record, it, nil
	}
	if err = errors.Join(err, it.Close()); err == nil {
		return nil, nil, pebble.ErrNotFound
	}
	return s.db.Get(key)
}

// loadUnsynced reads from Pebble what may be unsynced. The result is a copy.
func (s *Store) loadUnsynced(key []byte, read reading) ([]byte, error) {
	rec, closer, err := s.getConsistent(key, read)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, s.unreadable(key, err)
	}
	value, err := decodeRecord(key, rec)
	if err == nil {
		value = bytes.Clone(value)
	}
	if cerr := closer.Close(); cerr != nil && err == nil {
		err = cerr
	}
	if err != nil {
		return nil, s.unreadable(key, err)
	}
	if value == nil {
		value = []byte{}
	}
	return value, nil
}

// getConsistent reads a record as it is before or after a part of the store goes, not as it
// is meanwhile. It holds no lock: where a block does not read, Pebble may wait.
func (s *Store) getConsistent(key []byte, read reading) ([]byte, io.Closer, error) {
	for {
		n := s.exciseSeq.Load()
		rec, closer, err := read(key)
		if n%2 == 0 && n == s.exciseSeq.Load() {
			return rec, closer, err
		}
		if err == nil {
			_ = closer.Close()
		}
		s.awaitExcise()
	}
}

// awaitExcise returns when no part of the store is going.
func (s *Store) awaitExcise() {
	s.exciseLock.RLock()
	defer s.exciseLock.RUnlock()
}

// unreadable reports a damaged record. Whether a sum does not match or the
// disk gives no answer, the record is unknown all the same.
func (s *Store) unreadable(key []byte, err error) error {
	if ferr := s.guard.failure(); ferr != nil {
		return ferr
	}
	if !errors.Is(err, ErrCorrupt) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	s.reportCorrupt(key, err)
	return err
}

func (s *Store) reportCorrupt(key []byte, err error) {
	s.stats.corrupt.Add(1)
	if s.opts.OnCorrupt != nil {
		s.opts.OnCorrupt(bytes.Clone(key), err)
	}
}

func (s *Store) scanSynced(ctx context.Context, lower, upper []byte, fn func(key, value []byte) error) error {
	return s.iterate(ctx, lower, upper, func(it *pebble.Iterator) error { return s.scanIterator(ctx, it, fn) })
}

// iterate has fn use an iterator over what was synced at one moment.
func (s *Store) iterate(ctx context.Context, lower, upper []byte, fn func(it *pebble.Iterator) error) error {
	leave, err := s.enterReader()
	if err != nil {
		return err
	}
	defer leave()
	s.exciseLock.RLock()
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	s.exciseLock.RUnlock()
	if err != nil {
		return s.unreadable(lower, err)
	}
	// The iterator sees all that was applied when it was made. Once the
	// group then in flight is synced, all of that is.
	if g := s.inflight.Load(); g != nil {
		err = s.awaitSync(ctx, g)
	}
	if err == nil {
		err = fn(it)
	}
	return errors.Join(err, it.Close())
}

func (s *Store) scanIterator(ctx context.Context, it *pebble.Iterator, fn func(key, value []byte) error) error {
	for ok := it.First(); ok; ok = it.Next() {
		if err := errors.Join(ctx.Err(), s.usable()); err != nil {
			return err
		}
		if it.Key()[0] == 0 {
			continue // the store's own
		}
		value, err := s.readIterator(it)
		if err != nil {
			continue
		}
		if err := fn(it.Key(), value); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return s.unreadable(nil, err)
	}
	return nil
}

// readIterator returns the value of the record that an iterator is at. Damage is reported.
func (s *Store) readIterator(it *pebble.Iterator) ([]byte, error) {
	rec, err := it.ValueAndErr()
	if err == nil {
		rec, err = decodeRecord(it.Key(), rec)
	}
	if err != nil {
		s.reportCorrupt(it.Key(), err)
		return nil, ErrCorrupt
	}
	return rec, nil
}

// usable says why the store cannot be used, if so.
func (s *Store) usable() error {
	if s.closed.Load() {
		return ErrClosed
	}
	return s.guard.failure()
}

// enterReader keeps Pebble from being closed until leave is called.
func (s *Store) enterReader() (leave func(), err error) {
	leave, ok := s.readers.Enter()
	if !ok {
		return nil, ErrClosed
	}
	if err := s.usable(); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}
