package keep

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
)

const (
	scrubPage = 256 << 10 // bytes read at a time; one page a second
	scrubNote = time.Hour // of running time, between two notes of how far it is
	scrubWait = 10        // times that a part that does not read is tried again: the storage mends it or gives it up
)

// scrub reads all records now and then, so that damage on the disk is found, and
// mended from other homes, while there are other homes. Whatever does not read is
// reported by the storage. How far it is outlives a restart: boxes
// that never run for a week are scrubbed, too.
type scrub struct {
	rs    *Records
	every time.Duration
	state wire.ScrubState
	stuck int           // times that it came to a part that does not read
	noted time.Duration // uptime(), when the state was last noted
	seen  time.Duration // uptime(), up to when state.Ran counts
}

func metaScrub() []byte { return wire.MetaKey("scrub") }

// KeepScrubbing reads all records in every period of running time until ctx ends; negative:
// never.
func (rs *Records) KeepScrubbing(ctx context.Context, every time.Duration) {
	if every < 0 {
		return
	}
	c := &scrub{rs: rs, every: every}
	if data, err := c.rs.disk.Get(ctx, metaScrub()); err == nil {
		if c.state, err = wire.DecodeScrubState(data); err != nil {
			c.state = wire.ScrubState{}
		}
	}
	c.seen, c.noted = c.rs.opts.Uptime(), c.rs.opts.Uptime()
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
		if err := c.readIfDue(ctx); err != nil && ctx.Err() == nil {
			c.rs.log.Warn("scrub goes on later", "error", err)
		}
	}
}

// readIfDue counts the time, and reads the next page if it is time for that.
func (c *scrub) readIfDue(ctx context.Context) error {
	now := c.rs.opts.Uptime()
	c.state.Ran += uint64(now - c.seen)
	c.seen = now
	begun := len(c.state.Cursor) > 0
	if !begun && time.Duration(c.state.Ran) < c.every {
		return c.saveIfDue(ctx, now-c.noted >= scrubNote)
	}
	if !begun {
		c.state.Cursor, _ = wire.RecordRange()
		c.state.Ran = 0
	}
	last, err := c.readPage(ctx)
	if last {
		c.state.Cursor = nil
		c.rs.scrubs.Add(1)
	}
	return errors.Join(err, c.saveIfDue(ctx, last || now-c.noted >= scrubNote))
}

// readPage reads on from the cursor. last tells that it came to the end.
func (c *scrub) readPage(ctx context.Context) (last bool, err error) {
	_, upper := wire.RecordRange()
	size := 0
	err = c.rs.disk.Scan(ctx, c.state.Cursor, upper, func(k, v []byte) error {
		c.state.Cursor = append(append(c.state.Cursor[:0:0], k...), 0)
		if rec, err := DecodeStored(v, nil); err == nil && rec.Damaged {
			if at, ok := layout.PlaceOf(c.state.Cursor[:len(k):len(k)]); ok {
				c.rs.opts.Damaged(at)
			}
		}
		if size += len(k) + len(v); size >= scrubPage {
			return ErrStop
		}
		return nil
	})
	if errors.Is(err, storage.ErrCorrupt) {
		if c.stuck++; c.stuck < scrubWait {
			return false, nil
		}
		// It cannot be mended. What lies behind it is read all the same.
		c.state.Cursor = wire.NextShard(c.state.Cursor)
		err = ErrStop
	}
	c.stuck = 0
	if errors.Is(err, ErrStop) {
		return bytes.Compare(c.state.Cursor, upper) >= 0, nil
	}
	return err == nil, err
}

// saveIfDue writes down how far it is, if it is time for that.
func (c *scrub) saveIfDue(ctx context.Context, due bool) error {
	if !due {
		return nil
	}
	c.noted = c.rs.opts.Uptime()
	return c.rs.Update(ctx, "note the scrub", func(tx Tx) error {
		return tx.Set(metaScrub(), wire.AppendScrubState(nil, c.state))
	})
}
