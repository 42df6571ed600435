package replicate

import (
	"slices"
	"time"

	"github.com/skeinmesh/skein/partition/token"
)

// OutboxKey names a key of a bucket.
type OutboxKey struct {
	Bucket uint64
	Key    string
}

// OutboxOp is what the rules need to know of an operation in an outbox.
type OutboxOp struct {
	Seq      uint64 // in the order of acceptance
	Key      OutboxKey
	Priority int           // higher is delivered first and dropped last
	Bytes    int64         // what it counts towards the limit
	Accepted time.Duration // by a clock that counts only while the node runs
	// Follows is the operation of the key that was under delivery when this
	// one was accepted, whose client had seen it; 0: none. What that one
	// leaves behind is seen by this one, too.
	Follows uint64
	Token   token.Token // of the leader who writes
}

// SeesAll stands for all earlier operations of a key: a blind write replaces
// whatever its node knows of.
const SeesAll = ^uint64(0)

// Pauses between two attempts to deliver, growing from the first to the last:
// of what a store has refused, and of what met no store.
const (
	firstOutboxPause = 250 * time.Millisecond
	lastRefusedPause = time.Minute
	lastMissedPause  = 15 * time.Second
)

// Outbox decides about the operations that wait in a node which cannot reach
// those that store: which are taken in, which may be delivered now, which are
// given up. Operations of one key are delivered one after the other in the
// order of acceptance, those of different keys by priority, then by age, a
// bounded number at a time.
//
// An operation whose client had seen an earlier one replaces it where it
// waits: the earlier value would be overwritten anyway, and a status that is
// written every second for a week takes the room of one.
type Outbox struct {
	limit    int64
	age      time.Duration
	parallel int

	last      uint64
	bytes     int64
	ops       map[uint64]*boxed
	lines     map[OutboxKey]*keyQueue
	classes   []*priorityClass // by rising priority
	flying    int
	heldUntil time.Duration // nothing is given out before
	misses    int           // in a row
}

type boxState uint8

const (
	unsynced boxState = iota
	queued
	flying
)

type boxed struct {
	OutboxOp
	state      boxState
	tries      int
	line       *keyQueue
	prev, next *boxed // in its class
}

// keyQueue holds the operations of a key.
type keyQueue struct {
	ops   []*boxed // by rising Seq
	busy  bool     // one is under delivery, or was and is not yet synced as gone
	until time.Duration
}

// priorityClass holds the operations of a priority, oldest first.
type priorityClass struct {
	priority    int
	first, last *boxed
}

// NewOutbox returns an empty outbox for so many bytes, whose operations are
// given up at that age and delivered so many at a time.
func NewOutbox(limit int64, age time.Duration, parallel int) *Outbox {
	return &Outbox{
		limit: limit, age: age, parallel: parallel,
		ops: make(map[uint64]*boxed), lines: make(map[OutboxKey]*keyQueue),
	}
}

// Admission is what it takes to accept an operation, all in one batch.
type Admission struct {
	Op OutboxOp // with Seq and Follows
	// Replaced are earlier operations of the key to delete. What they had
	// seen this one has seen.
	Replaced []uint64
	// Dropped are operations of lower priority to delete for their room.
	Dropped []OutboxOp
}

// Admit takes an operation in, whose Seq and Follows it sets; sees is the
// earlier operation of the key that its client had seen, 0 or SeesAll. It
// reports false, and nothing has changed, when there is no room: an
// operation makes room only by dropping those of lower priority, the oldest of
// the lowest first. What was accepted is not given up for its equal.
func (o *Outbox) Admit(op OutboxOp, sees uint64) (Admission, bool) {
	replaced, follows, tries := o.listReplaced(op.Key, sees)
	free := o.limit - o.bytes - op.Bytes
	for _, b := range replaced {
		free += b.Bytes
	}
	dropped, ok := o.findRoom(op.Priority, -free, replaced)
	if !ok {
		return Admission{}, false
	}
	o.last++
	op.Seq, op.Follows = o.last, follows
	a := Admission{Op: op}
	o.appendOp(op).tries = tries // before the others go: the key keeps its pause
	for _, b := range replaced {
		a.Replaced = append(a.Replaced, b.Seq)
		o.removeOp(b)
	}
	for _, b := range dropped {
		a.Dropped = append(a.Dropped, b.OutboxOp)
		o.removeOp(b)
	}
	return a, true
}

// Fence returns the highest token of the operations of a key, those under delivery among
// them. One with a lower token is not to be admitted: it would replace them, or be refused
// after them.
func (o *Outbox) Fence(key OutboxKey) (high token.Token) {
	if l := o.lines[key]; l != nil {
		for _, b := range l.ops {
			if high.Less(b.Token) {
				high = b.Token
			}
		}
	}
	return high
}

// listReplaced lists the waiting operations of a key that a client has seen, and
// tells which it has seen that is under delivery. tries are those of the
// replaced: a key that stores refuse is not asked for more often because it is
// written more often.
func (o *Outbox) listReplaced(key OutboxKey, sees uint64) (out []*boxed, follows uint64, tries int) {
	l := o.lines[key]
	if l == nil || sees == 0 {
		return nil, 0, 0
	}
	for i := len(l.ops) - 1; i >= 0; i-- {
		b := l.ops[i]
		switch {
		case sees != SeesAll && b.Seq != sees:
			continue
		case b.state == flying:
			follows = b.Seq
		default:
			out, tries = append(out, b), max(tries, b.tries)
		}
		if sees == b.Seq {
			sees = b.Follows // who has seen it has seen what it had seen
		}
	}
	return out, follows, tries
}

// findRoom finds operations of lower priority to drop for so many bytes.
func (o *Outbox) findRoom(priority int, need int64, except []*boxed) (out []*boxed, ok bool) {
	for _, c := range o.classes {
		if c.priority >= priority {
			break
		}
		for b := c.first; b != nil && need > 0; b = b.next {
			if b.state != flying && !slices.Contains(except, b) {
				out, need = append(out, b), need-b.Bytes
			}
		}
	}
	return out, need <= 0
}

// Restore takes in an operation that was accepted before a restart. Callers go
// by rising Seq.
func (o *Outbox) Restore(op OutboxOp) {
	o.last = max(o.last, op.Seq)
	o.appendOp(op).state = queued
}

// StartAfter makes all further operations come after seq, which may have been
// given before.
func (o *Outbox) StartAfter(seq uint64) { o.last = max(o.last, seq) }

// Last returns the highest Seq known.
func (o *Outbox) Last() uint64 { return o.last }

func (o *Outbox) appendOp(op OutboxOp) *boxed {
	l := o.lines[op.Key]
	if l == nil {
		l = &keyQueue{}
		o.lines[op.Key] = l
	}
	b := &boxed{OutboxOp: op, line: l}
	l.ops = append(l.ops, b)
	o.ops[op.Seq] = b
	o.bytes += op.Bytes
	c := o.classFor(op.Priority)
	if b.prev = c.last; b.prev == nil {
		c.first = b
	} else {
		b.prev.next = b
	}
	c.last = b
	return b
}

func (o *Outbox) classFor(priority int) *priorityClass {
	i, ok := slices.BinarySearchFunc(o.classes, priority, func(c *priorityClass, p int) int { return c.priority - p })
	if !ok {
		o.classes = slices.Insert(o.classes, i, &priorityClass{priority: priority})
	}
	return o.classes[i]
}

func (o *Outbox) removeOp(b *boxed) {
	c := o.classFor(b.Priority)
	if b.prev == nil {
		c.first = b.next
	} else {
		b.prev.next = b.next
	}
	if b.next == nil {
		c.last = b.prev
	} else {
		b.next.prev = b.prev
	}
	o.bytes -= b.Bytes
	delete(o.ops, b.Seq)
	i := slices.Index(b.line.ops, b)
	b.line.ops = slices.Delete(b.line.ops, i, i+1)
	o.dropIdleLine(b.Key, b.line)
}

func (o *Outbox) dropIdleLine(key OutboxKey, l *keyQueue) {
	if len(l.ops) == 0 && !l.busy {
		delete(o.lines, key)
	}
}

// Synced reports that the batch of an Admission is on disk. Only then may the
// operation be delivered.
func (o *Outbox) Synced(seq uint64) {
	if b := o.ops[seq]; b != nil && b.state == unsynced {
		b.state = queued
	}
}

// Next returns the operations to deliver now. wake is when to ask again though
// nothing has happened; ok is false if there is no such time.
func (o *Outbox) Next(now time.Duration) (out []OutboxOp, wake time.Duration, ok bool) {
	if o.heldUntil > now {
		return nil, o.heldUntil, len(o.ops) > 0
	}
	for i := len(o.classes) - 1; i >= 0; i-- {
		for b := o.classes[i].first; b != nil && o.flying < o.parallel; b = b.next {
			switch l := b.line; {
			case b.state != queued || l.busy || l.ops[0] != b:
			case l.until > now:
				if !ok || l.until < wake {
					wake, ok = l.until, true
				}
			default:
				b.state, l.busy = flying, true
				o.flying++
				out = append(out, b.OutboxOp)
			}
		}
	}
	return out, wake, ok
}

// Delivered takes out an operation that a store has taken, and returns those
// that follow it: in one batch the caller deletes it and adds what it has left
// behind to what those have seen. Until that is synced, see Release, no other
// of the key is given out.
func (o *Outbox) Delivered(seq uint64) (followers []uint64) {
	b := o.ops[seq]
	if b == nil {
		return nil
	}
	o.removeOp(b)
	for _, f := range b.line.ops {
		if f.Follows == seq {
			followers = append(followers, f.Seq)
		}
	}
	return followers
}

// Release reports that the batch of Delivered is on disk.
func (o *Outbox) Release(key OutboxKey) {
	o.Reached()
	if l := o.lines[key]; l != nil && l.busy {
		l.until = 0
		o.endFlight(key, l)
	}
}

// Reached reports that a store has answered. It reports true if deliveries were
// held because none did.
func (o *Outbox) Reached() (held bool) {
	held = o.heldUntil > 0
	o.heldUntil, o.misses = 0, 0
	return held
}

func (o *Outbox) endFlight(key OutboxKey, l *keyQueue) {
	l.busy = false
	o.flying--
	o.dropIdleLine(key, l)
}

// Failed takes back an operation that was not delivered: refused by a store, or
// because no store took it. The key pauses; in the second case all do, for
// nobody may be there. chance, from 0 to 1, spreads the pauses.
func (o *Outbox) Failed(seq uint64, now time.Duration, refused bool, chance float64) {
	b := o.ops[seq]
	if b == nil || b.state != flying {
		return
	}
	b.state = queued
	b.tries++
	limit := lastRefusedPause
	if !refused {
		limit = lastMissedPause
		if now >= o.heldUntil { // one of several that failed together
			o.misses++
			o.heldUntil = now + retryPause(o.misses, limit, chance)
		}
	}
	b.line.until = now + retryPause(b.tries, limit, chance)
	o.endFlight(b.Key, b.line)
}

// retryPause grows with the attempts; up to half of it is left to chance.
func retryPause(tries int, limit time.Duration, chance float64) time.Duration {
	p := min(firstOutboxPause<<min(tries-1, 16), limit)
	return p - time.Duration(chance*float64(p)/2)
}

// Resume ends all pauses: a store has come into contact.
func (o *Outbox) Resume() {
	o.Reached()
	for _, l := range o.lines {
		l.until = 0
		for _, b := range l.ops {
			b.tries = 0
		}
	}
}

// Expire gives up operations that have waited too long, so many at most, and
// returns them. What is under delivery is left.
func (o *Outbox) Expire(now time.Duration, most int) (out []OutboxOp) {
	for _, c := range o.classes {
		for b := c.first; b != nil && len(out) < most && now-b.Accepted > o.age; {
			next := b.next
			if b.state != flying {
				out = append(out, b.OutboxOp)
				o.removeOp(b)
			}
			b = next
		}
	}
	return out
}

// Expires returns when Expire has something to do.
func (o *Outbox) Expires() (at time.Duration, ok bool) {
	since, ok := o.Oldest()
	return since + o.age + 1, ok
}

// Oldest returns when the oldest operation was accepted.
func (o *Outbox) Oldest() (since time.Duration, ok bool) {
	for _, c := range o.classes {
		if c.first != nil && (!ok || c.first.Accepted < since) {
			since, ok = c.first.Accepted, true
		}
	}
	return since, ok
}

// Holds tells whether operations of a key are waiting, and whether all there is
// of it is under delivery: who comes next may as well wait for the outcome.
func (o *Outbox) Holds(key OutboxKey) (held, landing bool) {
	l := o.lines[key]
	if l == nil {
		return false, false
	}
	return true, l.busy && (len(l.ops) == 0 || len(l.ops) == 1 && l.ops[0].state == flying)
}

// Has tells whether an operation is there.
func (o *Outbox) Has(seq uint64) bool { return o.ops[seq] != nil }

// Size returns how many operations there are and how many bytes they count.
func (o *Outbox) Size() (ops int, bytes int64) { return len(o.ops), o.bytes }
