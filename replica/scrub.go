package replica

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
)

const (
	scrubPage = 256 << 10 // bytes read at a time; one page a second
	scrubNote = time.Hour // of running time, between two notes of how far it is
	scrubWait = 10        // times that a part that does not read is tried again: it is mended, see lose
)

// scrub reads all records now and then, so that damage on the disk is found, and
// mended from other homes, while there are other homes. Whatever does not read is
// reported by the storage; see openDisk. How far it is outlives a restart: boxes
// that never run for a week are scrubbed, too.
type scrub struct {
	s     *Store
	state wire.ScrubState
	stuck int           // times that it came to a part that does not read
	noted time.Duration // since(), when the state was last noted
	seen  time.Duration // since(), up to when state.Ran counts
}

func metaScrub() []byte { return wire.MetaKey("scrub") }

func (c *scrub) run(ctx context.Context) {
	every := c.s.cfg.ScrubEvery
	if every < 0 {
		return
	}
	if data, err := c.s.disk.Get(ctx, metaScrub()); err == nil {
		if c.state, err = wire.DecodeScrubState(data); err != nil {
			c.state = wire.ScrubState{}
		}
	}
	c.seen, c.noted = c.s.since(), c.s.since()
	for {
		pause := time.Second
		if len(c.state.Cursor) == 0 {
			pause = min(max(every-time.Duration(c.state.Ran), time.Second), scrubNote)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if err := c.step(ctx, every); err != nil && ctx.Err() == nil {
			c.s.log.Warn("scrub goes on later", "error", err)
		}
	}
}

// step counts the time, and reads the next page if it is time for that.
func (c *scrub) step(ctx context.Context, every time.Duration) error {
	now := c.s.since()
	c.state.Ran += uint64(now - c.seen)
	c.seen = now
	begun := len(c.state.Cursor) > 0
	if !begun && time.Duration(c.state.Ran) < every {
		return c.note(ctx, now-c.noted >= scrubNote)
	}
	if !begun {
		c.state.Cursor, _ = wire.RecordRange()
		c.state.Ran = 0
	}
	last, err := c.page(ctx)
	if last {
		c.state.Cursor = nil
		c.s.stats.scrubbed.Add(1)
	}
	return errors.Join(err, c.note(ctx, last || now-c.noted >= scrubNote))
}

// page reads on from the cursor. last tells that it came to the end.
func (c *scrub) page(ctx context.Context) (last bool, err error) {
	_, upper := wire.RecordRange()
	size := 0
	err = c.s.disk.Scan(ctx, c.state.Cursor, upper, func(k, v []byte) error {
		c.state.Cursor = append(append(c.state.Cursor[:0:0], k...), 0)
		if rec, err := decodeStored(v, nil); err == nil && rec.unknown {
			if at, ok := placeOf(c.state.Cursor[:len(k):len(k)]); ok {
				c.s.repairs.lost(at)
			}
		}
		if size += len(k) + len(v); size >= scrubPage {
			return errStop
		}
		return nil
	})
	if errors.Is(err, storage.ErrCorrupt) {
		if c.stuck++; c.stuck < scrubWait {
			return false, nil
		}
		// It cannot be mended. What lies behind it is read all the same.
		c.state.Cursor = wire.NextShard(c.state.Cursor)
		err = errStop
	}
	c.stuck = 0
	if errors.Is(err, errStop) {
		return bytes.Compare(c.state.Cursor, upper) >= 0, nil
	}
	return err == nil, err
}

// note writes down how far it is, if it is time for that.
func (c *scrub) note(ctx context.Context, due bool) error {
	if !due {
		return nil
	}
	c.noted = c.s.since()
	return c.s.update(ctx, "note the scrub", func(tx *storage.Tx) error {
		return tx.Set(metaScrub(), wire.AppendScrubState(nil, c.state))
	})
}
