package replica

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/outbox"
	"github.com/skeinmesh/skein/internal/replica/reading"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/replica/version"
)

// behindError says what a reader has seen that no store in reach knows.
type behindError struct {
	missing []version.Dot
	queued  bool // it waits in the outbox of this node
}

func (e *behindError) Error() string {
	if e.queued {
		return fmt.Sprintf("%v: it waits in the outbox of this node", ErrBehind)
	}
	const most = 4
	var text strings.Builder
	fmt.Fprintf(&text, "%v: missing write", ErrBehind)
	for _, d := range e.missing[:min(len(e.missing), most)] {
		fmt.Fprintf(&text, " %v", d)
	}
	if more := len(e.missing) - most; more > 0 {
		fmt.Fprintf(&text, " and %d more", more)
	}
	return text.String()
}

// Is tells that it is ErrBehind, and ErrDegraded.
func (e *behindError) Is(target error) bool { return target == ErrBehind || target == ErrDegraded }

// keyRead is a read of a key as its client wants it.
type keyRead struct {
	b     *Bucket
	at    layout.Place
	level replicate.Level
	seen  version.Context
	after uint64 // see Context

	queued bool // what was seen waited in the outbox when the last attempt began
}

// newRead is a read of a key by a client that has seen so much of it. In the outbox it has
// a number as long as it waits, and what it was delivered as is known for some time.
func (b *Bucket) newRead(key string, level replicate.Level, c Context) (keyRead, error) {
	r := keyRead{b: b, at: b.s.homes.LocateKey(b.b.ID, key), level: level, after: c.after}
	seen, err := c.seenFor(b, key)
	if seen != nil {
		r.seen = seen.Ctx
	}
	return r, err
}

// beginReading begins to read. Other operations of the key may wait: what counts is whether
// that which was seen is delivered. The order keeps one that is delivered in between from
// being neither.
func (r *keyRead) beginReading(ctx context.Context, questions reading.QuestionSender) reading.UnderWay {
	if box := r.b.s.outbox; r.after != 0 && box != nil {
		key := outbox.Key{Bucket: r.at.Bucket, Key: r.at.Key}
		r.queued = box.Concerns(key)
		if delivered, ok := box.SeenBy(key, false, r.after); ok {
			r.seen, r.queued = r.seen.Join(delivered.Ctx), false
		}
	}
	return r.b.s.reader.BeginRead(ctx, r.b.b, r.at, r.level, r.seen, questions)
}

// pursue goes on with a read that has begun until it covers what its client has seen.
func (r *keyRead) pursue(ctx context.Context, under reading.UnderWay) (replicate.ReadResult, error) {
	if len(r.seen) == 0 && !r.queued {
		return under.AwaitReplies(ctx)
	}
	s, begun := r.b.s, time.Now()
	var p *replicate.Pursuit
	for {
		queued := r.queued
		read, err := under.AwaitReplies(ctx)
		if err != nil || len(read.Missing) == 0 && !queued {
			return read, err
		}
		if p == nil {
			limit := s.patience.Forward()
			if end, ok := ctx.Deadline(); ok {
				limit = end.Sub(begun)
			}
			p = replicate.NewPursuit(s.uptime()+limit-time.Since(begun), s.cfg.AckTimeout)
		}
		wait, goOn := p.Next(&read, queued, s.uptime())
		switch {
		case !goOn && queued:
			return read, &behindError{queued: true}
		case !goOn && len(read.Missing) == 0:
			return read, nil
		case !goOn, !clock.Sleep(ctx, wait), s.group.Context().Err() != nil:
			return read, &behindError{missing: read.Missing, queued: queued}
		}
		under = r.beginReading(ctx, s.questions.Lanes)
	}
}
