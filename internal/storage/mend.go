package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/notify"
)

const (
	firstMend       = time.Second
	lastMend        = 10 * time.Minute
	maxSalvage      = 64 << 20 // bytes of records that are carried out of a damaged part
	maxPartsPerMend = 64       // parts of one file that are given up in one go
	// damagePause is what Pebble waits for where it comes across damage that stays:
	// it tries a merge of tables that has failed again at once, and for ever.
	damagePause = 500 * time.Millisecond
)

// salvaged is what the keys begin with under which records are kept while the
// part of the store that they were in is given up. Callers cannot use them. Alone
// it says that there are such: it is found, or not, without a look at its
// neighbours, which may be damaged themselves.
var (
	salvaged      = []byte{0, 's'}
	salvagedUpper = []byte{0, 's' + 1}
	callersLower  = []byte{1} // the first key that callers may use
)

// OnLost is told, on the committer, that the store is about to forget which of
// the keys lower <= key < upper it held, because a part of the disk cannot be
// read. From then on they are not found, but for those that could be read some
// other way. What it writes is synced before anything is forgotten; then is
// called when that is done, or has failed. Like the function of an update it must
// not call the Store but through tx.
type OnLost func(tx *Tx, lower, upper []byte) (then func(), err error)

// damage is what has been found of tables that do not read.
type damage struct {
	kick notify.Bell // a file was found

	mu    sync.Mutex
	files map[string]*damagedFile // by path
	parts uint64                  // given up since Open
	lost  uint64                  // records in them that are known to be lost
}

type damagedFile struct {
	seenAgain bool  // it was come across since it was last looked at
	err       error // why it could not be mended
}

// noteFile is called by Pebble wherever it comes across damage. news: for the first
// time; stays: it could not be mended.
func (d *damage) noteFile(path string) (news, stays bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.files[path]; f != nil {
		f.seenAgain = true
		return false, f.err != nil // it is tried again when its time has come
	}
	if d.files == nil {
		d.files = make(map[string]*damagedFile)
	}
	d.files[path] = &damagedFile{seenAgain: true}
	d.kick.Ring()
	return true, false
}

// nextPaths lists the files to be looked at.
func (d *damage) nextPaths() (paths []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for path, f := range d.files {
		paths = append(paths, path)
		f.seenAgain = false
	}
	return paths
}

// noteOutcome notes what came of it. It reports whether the file is done with.
func (d *damage) noteOutcome(path string, err error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[path]
	if err == nil || errors.Is(err, errReadsWell) && !f.seenAgain {
		delete(d.files, path)
		return true
	}
	f.err = err
	return false
}

func (d *damage) countGivenUp(lost int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.parts++
	d.lost += uint64(lost)
}

// damageTotals returns how many parts were given up, how many records were lost in them
// for all that is known, and how many files are damaged and not mended.
func (d *damage) damageTotals() (parts, lost uint64, files int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.files {
		if f.err != nil {
			files++
		}
	}
	return d.parts, d.lost, files
}

// errReadsWell: nothing is wrong with the records of a file, at least not now.
var errReadsWell = errors.New("records read well")

// errTableGone: Pebble has merged the table into others meanwhile, which are looked at
// when they are come across.
var errTableGone = errors.New("the table has gone meanwhile")

// Mend gives up, until ctx ends, what of the store's tables is found not to read:
// a block of records as a rule. A part that nobody can read would end each scan
// and each merge of tables for ever. What is lost is told first. What cannot be
// mended is tried again later and later, and counted in Stats.
func (s *Store) Mend(ctx context.Context, lost OnLost) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	timer.Stop()
	again := clock.Backoff{First: firstMend, Last: lastMend}
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.damage.kick:
		case <-timer.C:
		}
		left, wait := false, again.Next()
		for _, path := range s.damage.nextPaths() {
			err := s.mendFile(ctx, path, lost)
			if ctx.Err() != nil || s.usable() != nil {
				return
			}
			if !s.damage.noteOutcome(path, err) {
				left = true
				s.opts.Logger.Error("storage: damaged file cannot be mended", "path", path, "error", err, "again_in", wait.String())
			}
		}
		if !left {
			again.Reset()
			continue
		}
		timer.Reset(wait)
	}
}

// mending is a part to be given up by the committer: nothing is written meanwhile.
type mending struct {
	ctx  context.Context
	path string
	part *part
	lost OnLost
	done chan error // capacity 1
}

// mendFile gives up what of a file does not read.
func (s *Store) mendFile(ctx context.Context, path string, lost OnLost) error {
	for n := 0; ; n++ {
		leave, err := s.enterReader()
		if err != nil {
			return err
		}
		part, err := s.spoiledPart(path)
		leave()
		switch {
		case err != nil:
			return err
		case part == nil && n == 0:
			return errReadsWell
		case part == nil:
			return nil
		case n == maxPartsPerMend:
			return errors.New("too many parts do not read")
		}
		if err := s.mendPart(&mending{ctx, path, part, lost, make(chan error, 1)}); err != nil {
			return err
		}
	}
}

func (s *Store) mendPart(m *mending) error {
	select {
	case s.mends <- m:
	case <-s.committerDone:
		return ErrClosed
	case <-m.ctx.Done():
		return m.ctx.Err()
	}
	select {
	case err := <-m.done:
		return err
	case <-s.committerDone:
		return ErrClosed
	}
}

// giveUp forgets a part of the store, all but what can be read otherwise: newer
// records of the same keys above all, in memory or in other tables. In this
// order: the loss is told, what can be read is written down elsewhere, the part
// goes, what can be read comes back. A crash between any two of these leaves what
// Open needs to go on; see restore.
func (s *Store) giveUp(m *mending) error {
	p := m.part
	tight, _ := s.checkSpace()
	if err := errors.Join(s.guard.failure(), tight); err != nil {
		return err
	}
	// What cannot be done shall not be told.
	if err := s.checkGiveUp(p); err != nil {
		return err
	}
	then, err := s.announceLoss(m.lost, p)
	defer then()
	if err != nil {
		return err
	}
	if err := s.flushMemTables(m.ctx); err != nil {
		return err
	}
	kept, lost, err := s.salvagePart(p)
	if err != nil {
		return err
	}
	err = s.writeAlone(func(b *pebble.Batch) {
		_ = b.Set(salvaged, encodeRecord(salvaged, nil), nil)
		for key, rec := range kept {
			_ = b.Set(append(salvaged[:len(salvaged):len(salvaged)], key...), rec, nil)
		}
	})
	if err != nil {
		return err
	}
	if err := errors.Join(s.flushMemTables(m.ctx), s.checkEdges(p)); err != nil {
		return errors.Join(err, s.writeBackSalvaged(kept))
	}
	s.exciseLock.Lock() // nobody sees the store without what comes back
	s.exciseSeq.Add(1)
	defer func() {
		s.exciseSeq.Add(1)
		s.exciseLock.Unlock()
	}()
	err = s.db.Excise(m.ctx, pebble.KeyRange{Start: p.lower, End: p.upper})
	if err == nil {
		s.damage.countGivenUp(lost)
		s.cache.forgetRange(p.lower, p.upper)
		s.opts.Logger.Error("storage: a part of the disk does not read and was given up", "path", m.path,
			"from", fmt.Sprintf("%.40q", p.lower), "to", fmt.Sprintf("%.40q", p.upper), "records kept", len(kept), "known to be lost", lost)
	}
	return errors.Join(err, s.writeBackSalvaged(kept))
}

// checkGiveUp says why a part cannot be given up.
func (s *Store) checkGiveUp(p *part) error {
	all, err := s.tables()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(t pebble.SSTableInfo) bool { return t.FileNum == p.table.FileNum }) {
		return errTableGone
	}
	if _, err := s.readableKeys(p); err != nil {
		return err
	}
	return s.checkEdges(p)
}

// announceLoss has the loss of a part told, and syncs what is written about it.
func (s *Store) announceLoss(lost OnLost, p *part) (then func(), err error) {
	then = func() {}
	g := &group{opened: time.Now(), writes: make(map[string]write), done: make(chan struct{})}
	tx := &Tx{s: s, g: g}
	err = tx.runUpdate(&update{fn: func(tx *Tx) error {
		told, err := lost(tx, p.lower, p.upper)
		if told != nil {
			then = told
		}
		return err
	}})
	if err == nil {
		g.err = s.persistGroup(g)
		err = g.err
	}
	close(g.done)
	return then, err
}

// writeBackSalvaged writes what was salvaged to where it was.
func (s *Store) writeBackSalvaged(kept map[string][]byte) error {
	return s.writeAlone(func(b *pebble.Batch) {
		_ = b.Delete(salvaged, nil)
		for key, rec := range kept {
			_ = b.Set([]byte(key), rec, nil)
			_ = b.Delete(append(salvaged[:len(salvaged):len(salvaged)], key...), nil)
		}
	})
}

// writeAlone is a commit of the store's own. The count of groups goes with it: it
// may have been in a part that is to go.
func (s *Store) writeAlone(fill func(*pebble.Batch)) error {
	batch := s.db.NewBatch()
	fill(batch)
	var count [8]byte
	binary.LittleEndian.PutUint64(count[:], s.groupCount+1)
	_ = batch.Set(countKey, encodeRecord(countKey, count[:]), nil)
	s.applyBatch(batch)
	if err := s.guard.failure(); err != nil {
		return err
	}
	s.groupCount++
	s.syncedCount.Store(s.groupCount)
	s.pressure.noteChange()
	return nil
}

// restore ends what a crash has cut short: nothing was written between the two
// ends of a giveUp, so what was salvaged is what the store held last.
func (s *Store) restore() error {
	if s.opts.ReadOnly {
		return nil
	}
	if _, err := s.loadUnsynced(salvaged, s.db.Get); errors.Is(err, ErrNotFound) {
		return nil
	} else if err != nil {
		return wrapCorrupt(err)
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: salvaged, UpperBound: salvagedUpper})
	if err != nil {
		return wrapCorrupt(err)
	}
	kept := make(map[string][]byte)
	for ok := it.First(); ok; ok = it.Next() {
		rec, err := it.ValueAndErr()
		if err != nil {
			return wrapCorrupt(errors.Join(err, it.Close()))
		}
		if key := it.Key()[len(salvaged):]; len(key) > 0 {
			kept[string(key)] = bytes.Clone(rec)
		}
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return wrapCorrupt(err)
	}
	return s.writeBackSalvaged(kept)
}

// flushMemTables brings all that is in memory into tables.
func (s *Store) flushMemTables(ctx context.Context) error {
	done, err := s.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-done:
		return s.guard.failure()
	case <-s.refused:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}
