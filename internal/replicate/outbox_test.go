package replicate

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// modelOp is an operation in the model.
type modelOp struct {
	OutboxOp
	synced, flying bool
	tries          int
}

// modelOutbox does by looking through everything, every time, what Outbox does
// by its lists.
type modelOutbox struct {
	limit    int64
	age      time.Duration
	parallel int
	last     uint64
	ops      []modelOp // by rising Seq
	gone     []OutboxKey
	until    map[OutboxKey]time.Duration
	hold     time.Duration
	misses   int
}

func (m *modelOutbox) bytes() (n int64) {
	for _, op := range m.ops {
		n += op.Bytes
	}
	return n
}

func (m *modelOutbox) find(seq uint64) int {
	return slices.IndexFunc(m.ops, func(op modelOp) bool { return op.Seq == seq })
}

func (m *modelOutbox) admit(op OutboxOp, sees uint64) (Admission, bool) {
	var a Admission
	seen := map[uint64]bool{sees: true}
	free, tries := m.limit-m.bytes()-op.Bytes, 0
	for i := len(m.ops) - 1; i >= 0; i-- {
		old := m.ops[i]
		if old.Key != op.Key || sees != SeesAll && !seen[old.Seq] {
			continue
		}
		seen[old.Follows] = true
		if old.flying {
			op.Follows = old.Seq
			continue
		}
		a.Replaced = append(a.Replaced, old.Seq)
		free += old.Bytes
		tries = max(tries, old.tries)
	}
	byRank := slices.Clone(m.ops)
	slices.SortStableFunc(byRank, func(x, y modelOp) int { return x.Priority - y.Priority })
	for _, old := range byRank {
		if free < 0 && old.Priority < op.Priority && !old.flying && !slices.Contains(a.Replaced, old.Seq) {
			a.Dropped = append(a.Dropped, old.OutboxOp)
			free += old.Bytes
		}
	}
	if free < 0 {
		return Admission{}, false
	}
	m.last++
	op.Seq = m.last
	a.Op = op
	m.ops = slices.DeleteFunc(m.ops, func(old modelOp) bool {
		return slices.Contains(a.Replaced, old.Seq) || slices.Contains(a.Dropped, old.OutboxOp)
	})
	m.ops = append(m.ops, modelOp{OutboxOp: op, tries: tries})
	m.forget()
	return a, true
}

// forget takes no pause from a key of which nothing is left.
func (m *modelOutbox) forget() {
	for key := range m.until {
		if !m.busy(key) && !slices.ContainsFunc(m.ops, func(op modelOp) bool { return op.Key == key }) {
			delete(m.until, key)
		}
	}
}

func (m *modelOutbox) busy(key OutboxKey) bool {
	return slices.Contains(m.gone, key) || slices.ContainsFunc(m.ops, func(op modelOp) bool { return op.Key == key && op.flying })
}

func (m *modelOutbox) next(now time.Duration) (out []OutboxOp) {
	if m.hold > now {
		return nil
	}
	flying := len(m.gone)
	for _, op := range m.ops {
		flying += btoi(op.flying)
	}
	for flying < m.parallel {
		best := -1
		for i, op := range m.ops {
			first := !slices.ContainsFunc(m.ops[:i], func(older modelOp) bool { return older.Key == op.Key })
			if first && op.synced && !m.busy(op.Key) && m.until[op.Key] <= now && (best < 0 || op.Priority > m.ops[best].Priority) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		m.ops[best].flying = true
		out = append(out, m.ops[best].OutboxOp)
		flying++
	}
	return out
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (m *modelOutbox) delivered(seq uint64) (followers []uint64) {
	i := m.find(seq)
	key := m.ops[i].Key
	m.ops = slices.Delete(m.ops, i, i+1)
	m.gone = append(m.gone, key)
	for _, op := range m.ops {
		if op.Key == key && op.Follows == seq {
			followers = append(followers, op.Seq)
		}
	}
	return followers
}

func (m *modelOutbox) release(key OutboxKey) {
	m.hold, m.misses = 0, 0
	m.gone = slices.DeleteFunc(m.gone, func(k OutboxKey) bool { return k == key })
	delete(m.until, key)
}

func (m *modelOutbox) failed(seq uint64, now time.Duration, refused bool) {
	op := &m.ops[m.find(seq)]
	op.flying = false
	op.tries++
	longest := time.Minute
	if !refused {
		longest = 15 * time.Second
		if now >= m.hold {
			m.misses++
			m.hold = now + min(250*time.Millisecond<<min(m.misses-1, 16), longest)
		}
	}
	m.until[op.Key] = now + min(250*time.Millisecond<<min(op.tries-1, 16), longest)
}

func (m *modelOutbox) expire(now time.Duration, most int) (out []OutboxOp) {
	byRank := slices.Clone(m.ops)
	slices.SortStableFunc(byRank, func(x, y modelOp) int { return x.Priority - y.Priority })
	for _, op := range byRank {
		if len(out) < most && !op.flying && now-op.Accepted > m.age {
			out = append(out, op.OutboxOp)
		}
	}
	m.ops = slices.DeleteFunc(m.ops, func(op modelOp) bool { return slices.Contains(out, op.OutboxOp) })
	m.forget()
	return out
}

// pair runs the two side by side.
type pair struct {
	t     *testing.T
	o     *Outbox
	m     *modelOutbox
	now   time.Duration
	fresh []uint64    // not synced yet
	air   []OutboxOp  // under delivery
	gone  []OutboxKey // delivered, not synced as gone
}

func (p *pair) same(what string, got, want any) {
	p.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		p.t.Fatalf("%s: %v, the model says %v", what, got, want)
	}
}

func (p *pair) step(r *rand.Rand) {
	switch r.IntN(10) {
	case 0, 1, 2:
		key := OutboxKey{uint64(r.IntN(2)), string(rune('a' + r.IntN(4)))}
		op := OutboxOp{Key: key, Priority: r.IntN(3) - 1, Bytes: int64(1 + r.IntN(40)), Accepted: p.now}
		sees := []uint64{0, SeesAll, p.o.last, uint64(r.IntN(int(p.o.last) + 1))}[r.IntN(4)]
		got, ok := p.o.Admit(op, sees)
		want, should := p.m.admit(op, sees)
		p.same("admit", []any{got, ok}, []any{want, should})
		if ok {
			p.fresh = append(p.fresh, got.Op.Seq)
		}
	case 3, 4:
		for _, seq := range p.fresh {
			p.o.Synced(seq)
			if i := p.m.find(seq); i >= 0 {
				p.m.ops[i].synced = true
			}
		}
		p.fresh = nil
	case 5, 6:
		got, _, _ := p.o.Next(p.now)
		p.same("next", got, p.m.next(p.now))
		p.air = append(p.air, got...)
	case 7:
		p.land(r)
	case 8:
		p.now += time.Duration(r.IntN(2000)) * time.Millisecond
		p.same("expire", p.o.Expire(p.now, 2), p.m.expire(p.now, 2))
	case 9:
		if r.IntN(20) == 0 {
			p.o.Resume()
			p.m.hold, p.m.misses = 0, 0
			clear(p.m.until)
			for i := range p.m.ops {
				p.m.ops[i].tries = 0
			}
		}
	}
}

// land ends a delivery, or syncs the end of one.
func (p *pair) land(r *rand.Rand) {
	if len(p.gone) > 0 && r.IntN(2) == 0 {
		key := p.gone[0]
		p.gone = p.gone[1:]
		p.o.Release(key)
		p.m.release(key)
		return
	}
	if len(p.air) == 0 {
		return
	}
	i := r.IntN(len(p.air))
	op := p.air[i]
	p.air = slices.Delete(p.air, i, i+1)
	if r.IntN(3) > 0 {
		p.same("followers", p.o.Delivered(op.Seq), p.m.delivered(op.Seq))
		p.gone = append(p.gone, op.Key)
		return
	}
	refused := r.IntN(2) == 0
	p.o.Failed(op.Seq, p.now, refused, 0)
	p.m.failed(op.Seq, p.now, refused)
}

func (p *pair) check() {
	n, bytes := p.o.Size()
	p.same("size", []any{n, bytes}, []any{len(p.m.ops), p.m.bytes()})
	if bytes > p.m.limit {
		p.t.Fatalf("%d bytes, the limit is %d", bytes, p.m.limit)
	}
	since, ok := p.o.Oldest()
	if ok != (len(p.m.ops) > 0) || ok && since != p.m.ops[0].Accepted {
		p.t.Fatalf("oldest of %v, %v, the model says %v", since, ok, p.m.ops)
	}
	for _, op := range p.m.ops {
		held, landing := p.o.Holds(op.Key)
		rest := slices.ContainsFunc(p.m.ops, func(o modelOp) bool { return o.Key == op.Key && !o.flying })
		if !held || landing == rest {
			p.t.Fatalf("holds %v: %v, landing %v, with others waiting: %v", op.Key, held, landing, rest)
		}
	}
}

func TestOutboxLikeItsModel(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 4))
		limit, age := int64(60+r.IntN(200)), time.Duration(5+r.IntN(60))*time.Second
		p := &pair{
			t: t, o: NewOutbox(limit, age, 3),
			m: &modelOutbox{limit: limit, age: age, parallel: 3, until: map[OutboxKey]time.Duration{}},
		}
		for range 600 {
			p.step(r)
			p.check()
		}
	}
}

func admit(t *testing.T, o *Outbox, key string, priority int, bytes int64, sees uint64) Admission {
	t.Helper()
	a, ok := o.Admit(OutboxOp{Key: OutboxKey{Key: key}, Priority: priority, Bytes: bytes}, sees)
	if !ok {
		t.Fatalf("%s refused", key)
	}
	o.Synced(a.Op.Seq)
	return a
}

func keysOf(ops []OutboxOp) (out []string) {
	for _, op := range ops {
		out = append(out, op.Key.Key)
	}
	return out
}

func TestOutboxMakesRoomOnlyOfLowerPriority(t *testing.T) {
	o := NewOutbox(100, time.Hour, 8)
	for i, priority := range []int{0, -1, -1, 0} {
		admit(t, o, fmt.Sprint(i), priority, 25, 0)
	}
	for _, refused := range []struct {
		priority int
		bytes    int64
	}{{-1, 1}, {0, 51}, {1, 101}} {
		if a, ok := o.Admit(OutboxOp{Key: OutboxKey{Key: "x"}, Priority: refused.priority, Bytes: refused.bytes}, 0); ok {
			t.Errorf("%+v taken in place of %v", refused, a.Dropped)
		}
	}
	if n, bytes := o.Size(); n != 4 || bytes != 100 {
		t.Fatalf("refusals have left %d operations of %d bytes", n, bytes)
	}
	if a := admit(t, o, "y", 0, 20, 0); !reflect.DeepEqual(keysOf(a.Dropped), []string{"1"}) {
		t.Errorf("dropped %v, want the oldest of the lowest", keysOf(a.Dropped))
	}
	if a := admit(t, o, "z", 5, 50, 0); !reflect.DeepEqual(keysOf(a.Dropped), []string{"2", "0"}) {
		t.Errorf("dropped %v, want the lowest first, then the oldest", keysOf(a.Dropped))
	}
}

// What a client had not seen its write does not replace, be it of the same
// node.
func TestOutboxKeepsWhatWasNotSeen(t *testing.T) {
	o := NewOutbox(1000, time.Hour, 8)
	first := admit(t, o, "k", 0, 1, 0).Op.Seq
	second := admit(t, o, "k", 0, 1, 0)
	if len(second.Replaced) != 0 {
		t.Fatalf("a write that has seen nothing replaces %v", second.Replaced)
	}
	third := admit(t, o, "k", 0, 1, second.Op.Seq)
	if !reflect.DeepEqual(third.Replaced, []uint64{second.Op.Seq}) {
		t.Fatalf("replaces %v, had seen %d", third.Replaced, second.Op.Seq)
	}
	out, _, _ := o.Next(0)
	if len(out) != 1 || out[0].Seq != first {
		t.Fatalf("delivery begins with %v", out)
	}
	blind := admit(t, o, "k", 0, 1, SeesAll)
	if !reflect.DeepEqual(blind.Replaced, []uint64{third.Op.Seq}) || blind.Op.Follows != first {
		t.Fatalf("a blind write: %+v, want it to replace all that waits and to follow what is under way", blind)
	}
	if got := o.Delivered(first); !reflect.DeepEqual(got, []uint64{blind.Op.Seq}) {
		t.Fatalf("followers %v", got)
	}
	if out, _, _ := o.Next(0); len(out) != 0 {
		t.Fatalf("%v given out before the end of the one before is synced", out)
	}
	o.Release(OutboxKey{Key: "k"})
	if out, _, _ := o.Next(0); len(out) != 1 || out[0].Seq != blind.Op.Seq {
		t.Fatalf("next is %v", out)
	}
}

func TestOutboxPauses(t *testing.T) {
	o := NewOutbox(1000, time.Hour, 1)
	admit(t, o, "bad", 1, 1, 0)
	admit(t, o, "good", 0, 1, 0)
	now := time.Duration(0)
	for try, want := range []time.Duration{250 * ms, 500 * ms, time.Second, 2 * time.Second} {
		out, _, _ := o.Next(now)
		if len(out) != 1 || out[0].Key.Key != "bad" {
			t.Fatalf("attempt %d: %v", try, out)
		}
		o.Failed(out[0].Seq, now, true, 0)
		if out, _, _ = o.Next(now); len(out) != 1 || out[0].Key.Key != "good" {
			t.Fatalf("a refused operation holds up %v", out)
		}
		o.Failed(out[0].Seq, now, false, 0)
		if _, wake, ok := o.Next(now); !ok || wake <= now {
			t.Fatalf("attempt %d: wake at %v %v", try, wake, ok)
		}
		o.Release(OutboxKey{Key: "none"}) // somebody is there
		_, wake, ok := o.Next(now)
		if !ok || wake != now+want {
			t.Fatalf("attempt %d: pause of %v, want %v", try, wake-now, want)
		}
		now = wake
	}
	for try := range 40 {
		if p := retryPause(try+1, lastRefusedPause, 0.99); p > time.Minute || p <= 0 {
			t.Fatalf("pause %d is %v", try, p)
		}
	}
	out, _, _ := o.Next(now)
	o.Failed(out[0].Seq, now, false, 0)
	if out, _, _ := o.Next(now); len(out) != 0 {
		t.Fatalf("%v given out though nobody is there", out)
	}
	o.Resume()
	if out, _, _ := o.Next(now); len(out) != 1 || out[0].Key.Key != "bad" {
		t.Fatalf("after contact: %v", out)
	}
}
