package scan

import (
	"encoding/binary"
	"flag"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	long = flag.Bool("long", false, "run 20 000 schedules")
	seed = flag.Uint64("seed", 0, "run this schedule only, and print what happens")
)

// TestF1_28_KeysThatLivedThroughoutComeOnce has scans run while stores are killed, cut off,
// restarted, let in and taken out, records move, and keys are written, deleted and
// purged. Whatever happens, keys come in order, one that was there all the time comes
// exactly once, with a value no older than it had at the start, and one that was deleted
// before does not come, but for shards that were told to be gaps. Where nothing happens,
// or one store at a time fails, there are no gaps.
func TestF1_28_KeysThatLivedThroughoutComeOnce(t *testing.T) {
	first, last := uint64(1), uint64(1000)
	if *long {
		last = 20_000
	}
	if *seed != 0 {
		first, last = *seed, *seed
	}
	var sum tally
	for n := first; n <= last && !t.Failed(); n++ {
		runSchedule(t, n, &sum)
	}
	t.Logf("%+v", sum)
	if *seed == 0 && !t.Failed() && (sum.lived < 6*sum.schedules || sum.whole < sum.schedules/3 || sum.disputed < sum.schedules/20 || sum.replaced < sum.schedules/2 || sum.damaged < sum.schedules/20) {
		t.Errorf("hardly anything has happened: %+v", sum)
	}
}

type tally struct{ schedules, lived, excused, whole, disputed, damaged, replaced int }

// readAhead returns what a store answers a question with: what it has kept of the last one
// if this one goes on there, and no shard has come to be vouched for since then, or what it
// has.
func (n *modelNode) readAhead(a *modelAsk, vouched Shards) [modelShards]map[string]modelItem {
	k := n.kept
	n.kept = nil
	if k != nil && k.next == a.Within && slices.Equal(k.shards, a.Shards) {
		gained := false
		for i := range vouched {
			gained = gained || vouched[i]&^k.vouched[i] != 0
		}
		if !gained {
			return k.data
		}
	}
	data := n.data
	for shard := range data {
		data[shard] = maps.Clone(data[shard])
	}
	return data
}

// read reads a page, as a store does that has so much room.
func (m *model) read(a *modelAsk) {
	n := m.nodes[a.To-1]
	page := Page{Vouched: NewShards(modelShards)}
	for shard := range modelShards {
		if a.Shards.Has(shard) && n.home[shard] && n.ready[shard] {
			page.Vouched.Add(shard)
		}
	}
	data := n.readAhead(a, page.Vouched)
	for shard := range modelShards {
		if !a.Shards.Has(shard) {
			continue
		}
		for key, it := range data[shard] {
			if a.Within.Has(key) {
				item := binary.BigEndian.AppendUint64([]byte{b2i(it.tomb)}, it.version)
				r := Record{Key: key, Shard: shard, Item: item}
				if m.damage && m.rng.IntN(4) == 0 {
					r.Item, r.Damaged = nil, true
				}
				page.Records = append(page.Records, r)
			}
		}
	}
	slices.SortFunc(page.Records, func(x, y Record) int {
		if a.Within.Reverse {
			x, y = y, x
		}
		return strings.Compare(x.Key, y.Key)
	})
	if room := 1 + m.rng.IntN(6); len(page.Records) > room {
		page.Records, page.More = page.Records[:room], true
		page.UpTo = page.Records[room-1].Key
		if m.rng.IntN(4) > 0 {
			n.kept = &keptRead{data, page.Vouched, a.Shards, a.Within.Beyond(page.UpTo)}
		}
	}
	a.page = &page
}

func b2i(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// deliver lets a question get on: it is read, then answered.
func (m *model) deliver() {
	for _, a := range m.scan.Asks(m.now) {
		m.say("ask %d of %v for %x within %+v", a.ID, a.To, a.Shards, a.Within)
		m.asked = append(m.asked, modelAsk{Ask: a})
	}
	for _, src := range m.scan.sources {
		if len(src.page) > 6 || len(src.next) > 6 || src.asking != 0 && len(src.next) > 0 {
			m.t.Fatalf("more than two pages of %v are held", src.to)
		}
	}
	if len(m.asked) == 0 {
		return
	}
	i := m.rng.IntN(len(m.asked))
	a := &m.asked[i]
	n := m.nodes[a.To-1]
	switch {
	case !n.up || n.cut || !n.member:
		m.say("ask %d fails", a.ID)
		m.scan.Failed(a.ID, m.now)
		m.sum.replaced++
	case a.page == nil:
		m.read(a)
		return
	default:
		m.say("ask %d answered: %+v, %v, vouched %x", a.ID, a.page.Records, a.page.More, a.page.Vouched)
		m.scan.Paged(a.ID, *a.page, m.now)
	}
	m.asked = slices.Delete(m.asked, i, i+1)
}

// take takes what is settled; it tells whether that was all.
func (m *model) take() (ended bool) {
	for range 1 + m.rng.IntN(4) {
		f, state := m.scan.Next()
		for _, shard := range m.scan.Gaps() {
			m.say("shard %d is a gap", shard)
			m.gaps[shard] = len(m.seen)
		}
		switch state {
		case Waiting:
			return false
		case Ended:
			return true
		}
		m.say("got %q, disputed %v", f.Key, f.Disputed)
		m.seen = append(m.seen, f)
	}
	return false
}

// readAgain is what a read of one key finds, if those that are up are all that it needs.
func (m *model) readAgain(key string) modelItem {
	return m.newestOf(key, func(n *modelNode) bool { return n.up })
}

func (m *model) newestOf(key string, at func(*modelNode) bool) (top modelItem) {
	shard := modelShard(key)
	for _, n := range m.nodes {
		if it := n.data[shard][key]; at(n) && it.version > top.version {
			top = it
		}
	}
	return top
}

func runSchedule(t *testing.T, n uint64, sum *tally) {
	m := &model{
		t: t, rng: rand.New(rand.NewPCG(n, 9)), copies: 1 + int(n%3), now: time.Second, sum: sum,
		gaps: make(map[int]int), lived: make(map[string]uint64), dead: make(map[string]bool), calm: n%3 == 2 && n%2 == 0, damage: n%4 == 3,
	}
	sum.schedules++
	defer func() {
		if t.Failed() || *seed != 0 {
			t.Logf("schedule %d; to try it again: go test ./internal/scan -run %s -seed %d\n%s", n, t.Name(), n, strings.Join(m.log, "\n"))
		}
	}()
	const keys = 40
	m.prepare(keys)
	within := Bounds{Reverse: n%4 >= 2}
	if n%5 == 0 {
		within.Lower, within.Upper, within.Bounded = "b", "f1", true
	}
	m.scan = New(within, m.plan(), modelPatience, m.now)
	chaos := n%7 != 0
	for step := 0; ; step++ {
		m.now += time.Millisecond
		if chaos && step < 600 && m.rng.IntN(16) == 0 {
			m.disturb()
		}
		if chaos && step == 600 {
			m.replan()
		}
		if m.rng.IntN(6) == 0 {
			m.change(keys)
		}
		m.dropPurged()
		m.deliver()
		if m.rng.IntN(3) == 0 && m.take() {
			break
		}
		if step > 20_000 {
			t.Fatal("the scan does not end")
		}
	}
	m.verify(within, chaos)
}

// prepare makes a mesh, and keys of which some are deleted.
func (m *model) prepare(keys int) {
	for range 3 + m.rng.IntN(3) {
		m.addNode().heard = true
	}
	m.follow()
	for _, n := range m.nodes {
		n.ready, n.seasoned = n.home, n.home
	}
	for i := range keys {
		m.now++
		key := modelKey(i)
		m.write(key, modelItem{uint64(m.now), false})
		switch m.rng.IntN(3) {
		case 0:
			m.write(key, modelItem{uint64(m.now + 1), true})
			m.dead[key] = true
			m.now++
		case 1:
			if m.rng.IntN(2) == 0 {
				m.now++
				m.write(key, modelItem{uint64(m.now), false})
			}
			m.lived[key] = uint64(m.now)
		}
	}
}

func (m *model) verify(within Bounds, chaos bool) {
	got := make(map[string]Found)
	for i, f := range m.seen {
		if i > 0 && !within.Precedes(m.seen[i-1].Key, f.Key) {
			m.t.Fatalf("%q comes after %q", f.Key, m.seen[i-1].Key)
		}
		if !within.Has(f.Key) {
			m.t.Fatalf("%q is not within the bounds", f.Key)
		}
		got[f.Key] = f
	}
	for key, version := range m.lived {
		f, ok := got[key]
		top := f.newest()
		if f.Damaged {
			m.sum.damaged++
			top = m.newestOf(key, isMember)
		}
		switch {
		case !within.Has(key):
		case (!ok || top.version < version) && m.mayLack(key, within):
			m.sum.excused++
		case !ok || top.tomb || top.version < version:
			m.t.Errorf("%q of version %d lived throughout, and came as %+v, %v", key, version, top, ok)
		default:
			m.sum.lived++
		}
	}
	for key := range m.dead {
		f, ok := got[key]
		if ok && f.Damaged {
			if it := m.newestOf(key, isMember); !it.tomb && it.version > 0 {
				m.t.Errorf("%q was deleted, its record is damaged, and is read again as %+v", key, it)
			}
			continue
		}
		if ok && f.Disputed {
			m.sum.disputed++
			f = Found{Copies: nil}
			if it := m.readAgain(key); !it.tomb && it.version > 0 {
				m.t.Errorf("%q was deleted, and is read again as %+v", key, it)
			}
		}
		if top := f.newest(); ok && len(f.Copies) > 0 && !top.tomb && !m.mayLack(key, within) {
			m.t.Errorf("%q was deleted before the scan and came as %+v, copies %d", key, top, len(f.Copies))
		}
	}
	if len(m.gaps) == 0 {
		m.sum.whole++
	} else if !chaos || m.calm {
		m.t.Errorf("gaps %v without a reason", m.gaps)
	}
}

// mayLack tells whether the shard of a key was a gap before the key's turn came.
func (m *model) mayLack(key string, within Bounds) bool {
	at, gap := m.gaps[modelShard(key)]
	return gap && (at == 0 || within.Precedes(m.seen[at-1].Key, key))
}

func (f *Found) newest() (top modelItem) {
	for _, c := range f.Copies {
		if v := binary.BigEndian.Uint64(c[1:]); v > top.version {
			top = modelItem{v, c[0] == 1}
		}
	}
	return top
}
