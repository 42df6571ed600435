package replica

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/wire"
)

// What a node keeps for programs that watch through it.
const (
	mostWatchSessions = 32
	watchSessionIdle  = 30 * time.Second // behind the last question
)

// An answer ends with so many changes, or so long behind the first one.
const (
	answerChanges = 1024
	answerGathers = 10 * time.Millisecond
)

// watchSessions are watches of programs that are no nodes. The zero value has none.
type watchSessions struct {
	mu  sync.Mutex
	all map[uint64]*watchSession
}

// watchSession is one such watch. One question at a time uses it.
type watchSession struct {
	id    uint64
	watch *bucketWatch
	used  chan struct{} // capacity 1: a question is over
	ended chan struct{} // closed when it is not asked for any more
	turn  chan struct{} // capacity 1: holds a token while a question uses the watch
}

// errBusyWatch: a program asks for the same changes twice at a time.
var errBusyWatch = errors.New("another question is using the watch")

// findSession returns nil if there is none of that number.
func (ws *watchSessions) findSession(id uint64) *watchSession {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.all[id]
}

// removeSession ends a watch, if nobody has done so.
func (ws *watchSessions) removeSession(w *watchSession) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.all[w.id] == w {
		delete(ws.all, w.id)
		close(w.ended)
	}
}

// addSession keeps a watch, unless there are too many.
func (ws *watchSessions) addSession(watch *bucketWatch) (*watchSession, bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.all) >= mostWatchSessions {
		return nil, false
	}
	if ws.all == nil {
		ws.all = make(map[uint64]*watchSession)
	}
	w := &watchSession{id: rand.Uint64() | 1, watch: watch, used: make(chan struct{}, 1), ended: make(chan struct{}), turn: make(chan struct{}, 1)}
	ws.all[w.id] = w
	return w, true
}

// keepSession holds a watch until it is ended or idle.
func (d adminDesk) keepSession(ctx context.Context, w *watchSession) {
	idle := time.NewTimer(watchSessionIdle)
	defer idle.Stop()
	for waiting := true; waiting; {
		select {
		case <-w.used:
			idle.Reset(watchSessionIdle)
		case <-idle.C:
			waiting = false
		case <-w.ended:
			waiting = false
		case <-ctx.Done():
			waiting = false
		}
	}
	d.s.sessions.removeSession(w)
	w.turn <- struct{}{} // the last question is over
	w.watch.reader.Close()
}

// answerWatch answers a program that watches.
func (d adminDesk) answerWatch(ctx context.Context, req []byte) ([]byte, error) {
	m, err := wire.DecodeAdminWatch(req)
	if err != nil {
		return nil, err
	}
	var reply wire.AdminChanges
	w := d.s.sessions.findSession(m.Session)
	switch {
	case m.Session == 0:
		w, err = d.beginSession(ctx, &m)
	case w != nil && m.End:
		d.s.sessions.removeSession(w)
		w = nil
	}
	if w != nil && err == nil {
		if err = w.fillAnswer(ctx, &reply); err != nil {
			d.s.sessions.removeSession(w)
		}
	}
	reply.AdminOutcome = faults.Outcome(err)
	return wire.AppendAdminChanges(nil, &reply), nil
}

// beginSession begins a watch for a program.
func (d adminDesk) beginSession(ctx context.Context, m *wire.AdminWatch) (*watchSession, error) {
	b, err := d.findBucket(ctx, m.Bucket)
	if err != nil {
		return nil, err
	}
	watch, err := b.beginWatch(WatchOptions{Prefix: m.Prefix, From: Cursor(m.From), Present: m.Present})
	if err != nil {
		return nil, err
	}
	w, ok := d.s.sessions.addSession(watch)
	if !ok {
		watch.reader.Close()
		return nil, admission.Overload{After: watchSessionIdle}
	}
	if !d.s.group.Go(func(ctx context.Context) { d.keepSession(ctx, w) }) {
		d.s.sessions.removeSession(w)
		watch.reader.Close()
		return nil, ErrClosed
	}
	return w, nil
}

// fillAnswer waits for changes and takes those that are there.
func (w *watchSession) fillAnswer(ctx context.Context, reply *wire.AdminChanges) error {
	select {
	case w.turn <- struct{}{}:
	default:
		return errBusyWatch
	}
	defer func() {
		<-w.turn
		select {
		case w.used <- struct{}{}:
		default:
		}
	}()
	reply.Session = w.id
	ends := time.Now().Add(answerTime)
	var err error
	for size := 0; size < answerBytes && len(reply.Changes) < answerChanges; {
		var c Change
		if c, err = w.nextBy(ctx, ends); errors.Is(err, ErrBucketConflict) {
			reply.Conflict = true
			continue
		}
		if err != nil {
			break
		}
		if len(reply.Changes) == 0 {
			ends = time.Now().Add(answerGathers)
		}
		out, n, fault := changeToWire(&c)
		if fault != nil {
			return fault
		}
		reply.Changes = append(reply.Changes, out)
		size += n
	}
	reply.Cursor = string((&Change{cursor: w.watch.reader.Cursor()}).Cursor())
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = nil // there is no more for now
	}
	return err
}

// nextBy returns the next change if it comes in time.
func (w *watchSession) nextBy(ctx context.Context, ends time.Time) (Change, error) {
	ctx, cancel := context.WithDeadline(ctx, ends)
	defer cancel()
	return w.watch.nextChange(ctx)
}

// changeToWire returns a change as it travels, and about how many bytes that takes.
func changeToWire(c *Change) (out wire.AdminChange, size int, err error) {
	out = wire.AdminChange{
		Kind: uint64(c.Kind), Key: c.Key, Replies: uint64(c.Replies), Values: c.listValues(), Last: c.placeOfLast(), Shards: c.Shards, Open: uint64(c.Open),
	}
	out.Context, err = c.Context.MarshalBinary()
	size = len(out.Key) + len(out.Context) + 4*len(out.Shards) + 32
	for _, v := range out.Values {
		size += len(v)
	}
	return out, size, err
}

// changeFromWire is the reverse; false if this release does not know what it tells.
func changeFromWire(m *wire.AdminChange) (Change, bool) {
	c := Change{Kind: ChangeKind(min(m.Kind, 255)), Shards: m.Shards, Open: int(min(m.Open, wire.AllShards))}
	c.Item = Item{Key: m.Key, Context: Context{token: string(m.Context)}, Replies: int(m.Replies), values: m.Values}
	c.takeLast(m.Last)
	return c, c.Kind >= ChangePut && c.Kind <= ChangeCurrent
}

// Watch returns the changes of the items of a bucket; see Bucket.Watch. The node keeps the
// watch and is asked for its changes, up to 128 KiB at a time. If it has lost it, because
// it was restarted or nobody consumed changes for half a minute, the watch goes on from its
// cursor, mostly behind a gap. It remembers no keys then: states may be told again, and a
// delete that was purged meanwhile is not told. A node keeps 32 watches of programs; further
// ones end in ErrOverloaded. A Cursor may stand for a place up to 1 024 changes before its
// change.
func (c *Client) Watch(ctx context.Context, bucket string, opts WatchOptions) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		cursor := opts.From
		fail := func(err error) { yield(Change{text: cursor}, err) }
		if len(bucket) > maxBucketName {
			fail(fmt.Errorf("%w: name of %d bytes", ErrNoBucket, len(bucket)))
			return
		}
		if err := opts.Validate(); err != nil {
			fail(err)
			return
		}
		var session uint64
		defer func() { c.endWatch(ctx, session) }()
		told := false
		for {
			ask := wire.AdminWatch{Session: session, Bucket: bucket, Prefix: opts.Prefix, From: string(cursor), Present: opts.Present}
			m, err := callAndDecode(ctx, c.node, wire.MethodAdminWatch, wire.AppendAdminWatch(nil, &ask), wire.DecodeAdminChanges)
			if err == nil && session == 0 && m.Session == 0 && m.Faults == 0 {
				err = fmt.Errorf("replica: answer to %s: no watch was begun: %w", wire.MethodAdminWatch, wire.ErrMalformed)
			}
			if err != nil {
				fail(err)
				return
			}
			session = m.Session
			if m.Conflict && !told {
				told = true
				if !yield(Change{text: cursor}, fmt.Errorf("%w: %q", ErrBucketConflict, bucket)) {
					return
				}
			}
			for i := range m.Changes {
				change, known := changeFromWire(&m.Changes[i])
				if change.text = cursor; i == len(m.Changes)-1 {
					change.text = Cursor(m.Cursor)
				}
				if known && !yield(change, nil) {
					return
				}
			}
			if m.Cursor != "" {
				cursor = Cursor(m.Cursor)
			}
			if err := faults.FromOutcome(m.AdminOutcome); err != nil {
				session = 0 // the node has ended it
				fail(err)
				return
			}
		}
	}
}

// endWatch tells the node that a watch is not asked for any more. It forgets it by itself,
// if not so soon.
func (c *Client) endWatch(ctx context.Context, session uint64) {
	if session == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = c.node.Call(ctx, wire.MethodAdminWatch, wire.AppendAdminWatch(nil, &wire.AdminWatch{Session: session, End: true}))
}
