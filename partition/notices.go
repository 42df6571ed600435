package partition

import (
	"cmp"
	"context"
	"encoding/binary"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Methods by which notices travel: news are handed on to a few at once, and now
// and then two nodes compare what they have (Demers et al., Epidemic Algorithms,
// 1987: rumour mongering backed by anti-entropy).
const (
	methodSums = "partition/sums"
	methodSwap = "partition/swap"
)

const (
	newsPause   = 50 * time.Millisecond // news wait so long for company
	compareMean = 20 * time.Second
	maxSeq      = 1 << 62 // more notices than any node makes
	maxSwaps    = 2       // messages with notices that are read at a time
)

// notices keeps the last notice of each node, its own too.
type notices struct {
	mu    sync.Mutex
	last  map[view.NodeID]heardNotice
	mine  wire.Notice
	fresh map[view.NodeID]bool // to be handed on
	kick  notify.Bell          // there are some
	heard notify.Bell          // others' have changed
}

// heardNotice is a notice and when it came, by this node's run time.
type heardNotice struct {
	wire.Notice
	at time.Duration
}

func newNotices(self view.NodeID, boot uint64) *notices {
	return &notices{
		last: map[view.NodeID]heardNotice{}, mine: wire.Notice{Node: self, Boot: boot},
		fresh: map[view.NodeID]bool{}, kick: notify.NewBell(), heard: notify.NewBell(),
	}
}

// set replaces what this node says of itself, if that is anything new. Up is how
// long it has been running.
func (n *notices) set(now, up time.Duration, change func(*wire.Notice)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := n.mine
	change(&next)
	if n.mine.Seq > 0 && reflect.DeepEqual(next, n.mine) {
		return
	}
	next.Seq++
	next.Up = up
	n.mine = next
	n.last[next.Node] = heardNotice{next, now}
	n.fresh[next.Node] = true
	n.kick.Ring()
}

// say sends this node's notice again, with a new uptime: for whoever was just met.
func (n *notices) say(now, up time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mine.Seq++
	n.mine.Up = up
	n.last[n.mine.Node] = heardNotice{n.mine, now}
	n.fresh[n.mine.Node] = true
	n.kick.Ring()
}

// take takes in what a peer has, if it is newer. A fault somewhere must not silence
// a node everywhere: no life of it is believed that the roster does not know, and of
// its own life it says something newer still itself.
func (n *notices) take(now time.Duration, v view.View, in []wire.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, got := range in {
		if !n.takes(v, got.Node, got.Boot, got.Seq) {
			continue
		}
		if got.Node == n.mine.Node {
			n.mine.Seq, n.mine.Up = got.Seq+1, now
			got = n.mine
		}
		n.last[got.Node] = heardNotice{got, now}
		n.fresh[got.Node] = true
		n.kick.Ring()
		n.heard.Ring()
	}
}

// takes tells whether a notice would be taken in.
func (n *notices) takes(v view.View, node view.NodeID, boot, seq uint64) bool {
	m, known := v.Member(node)
	have, ok := n.last[node]
	if !known || m.Status.Gone() || boot > m.Boot || seq > maxSeq {
		return false
	}
	return !ok || newer(boot, seq, have.Boot, have.Seq)
}

// sieve returns what a decoder is to keep of one message: what would be taken in, and of
// each node one notice. So a message takes no more memory than the roster has members.
func (n *notices) sieve(v view.View) func(node view.NodeID, boot, seq uint64) bool {
	kept := map[view.NodeID]bool{}
	return func(node view.NodeID, boot, seq uint64) bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		if kept[node] || !n.takes(v, node, boot, seq) {
			return false
		}
		kept[node] = true
		return true
	}
}

func newer(boot, seq, thanBoot, thanSeq uint64) bool {
	return boot > thanBoot || boot == thanBoot && seq > thanSeq
}

// all returns the last notice of each node. Nobody may change it.
func (n *notices) all() map[view.NodeID]heardNotice {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.last)
}

// forget drops what is known of nodes that left for good.
func (n *notices) forget(gone func(view.NodeID) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.last, func(id view.NodeID, _ heardNotice) bool { return id != n.mine.Node && gone(id) })
}

// news returns the notices that are to be handed on, once.
func (n *notices) news() (out []wire.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id := range n.fresh {
		if got, ok := n.last[id]; ok {
			out = append(out, got.Notice)
		}
	}
	clear(n.fresh)
	slices.SortFunc(out, func(a, b wire.Notice) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

// sums returns what this node has, sorted, and a digest of it.
func (n *notices) sums() wire.NoticeSums {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := wire.NoticeSums{}
	for id, got := range n.last {
		out.Sums = append(out.Sums, wire.NoticeSum{Node: id, Boot: got.Boot, Seq: got.Seq})
	}
	slices.SortFunc(out.Sums, func(a, b wire.NoticeSum) int { return cmp.Compare(a.Node, b.Node) })
	h := fnv.New64a()
	var b [24]byte
	for _, s := range out.Sums {
		binary.BigEndian.PutUint64(b[:], uint64(s.Node))
		binary.BigEndian.PutUint64(b[8:], s.Boot)
		binary.BigEndian.PutUint64(b[16:], s.Seq)
		h.Write(b[:])
	}
	out.Digest = h.Sum64()
	return out
}

// against returns what a peer with such sums lacks, and what it has that is newer.
func (n *notices) against(theirs []wire.NoticeSum) (out wire.NoticeSwap) {
	n.mu.Lock()
	defer n.mu.Unlock()
	told := map[view.NodeID]wire.NoticeSum{}
	for _, s := range theirs {
		told[s.Node] = s
		have, ok := n.last[s.Node]
		if s.Node != n.mine.Node && (!ok || newer(s.Boot, s.Seq, have.Boot, have.Seq)) {
			out.Want = append(out.Want, s.Node)
		}
	}
	for id, have := range n.last {
		if s, ok := told[id]; !ok || newer(have.Boot, have.Seq, s.Boot, s.Seq) {
			out.Have = append(out.Have, have.Notice)
		}
	}
	slices.Sort(out.Want)
	slices.SortFunc(out.Have, func(a, b wire.Notice) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

// some returns the notices of some nodes, each once.
func (n *notices) some(ids []view.NodeID) (out []wire.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	given := map[view.NodeID]bool{}
	for _, id := range ids {
		if have, ok := n.last[id]; ok && !given[id] {
			given[id] = true
			out = append(out, have.Notice)
		}
	}
	return out
}

// serveSums answers whether a peer has the same notices.
func (p *Partition) serveSums(_ context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	theirs, err := wire.DecodeNoticeSums(req)
	if err != nil {
		return nil, err
	}
	mine := p.notices.sums()
	if mine.Digest == theirs.Digest {
		mine.Sums = nil
	}
	return wire.AppendNoticeSums(nil, mine), nil
}

// serveSwap takes notices in and hands over those wanted.
//
// What is read of a message takes several times its bytes, so few are read at a time.
func (p *Partition) serveSwap(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	select {
	case p.swaps <- struct{}{}:
		defer func() { <-p.swaps }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	v := p.mesh.View()
	swap, err := wire.DecodeNoticeSwap(req, p.notices.sieve(v))
	if err != nil {
		return nil, err
	}
	p.notices.take(p.since(), v, swap.Have)
	return wire.AppendNoticeSwap(nil, wire.NoticeSwap{Have: p.notices.some(swap.Want)}), nil
}

// spread hands news on.
func (p *Partition) spread(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.notices.kick:
			if !clock.Sleep(ctx, newsPause/2+rand.N(newsPause)) {
				return
			}
			if news := p.notices.news(); len(news) > 0 {
				req := wire.AppendNoticeSwap(nil, wire.NoticeSwap{Have: news})
				for _, id := range roster.Partners(p.mesh.View()) {
					p.group.Go(func(ctx context.Context) { _, _ = p.call(ctx, id, methodSwap, req) })
				}
			}
		}
	}
}

// compare compares now and then what this node has with what another has. One that
// does not answer holds up no news.
func (p *Partition) compare(ctx context.Context) {
	for pause := rand.N(compareMean); clock.Sleep(ctx, pause); pause = compareMean/2 + rand.N(compareMean) {
		if ids := roster.Partners(p.mesh.View()); len(ids) > 0 {
			p.compareWith(ctx, ids[rand.IntN(len(ids))])
		}
	}
}

// depart has this node's last notice say that it takes no part any more: the others
// keep it for as long as the node below runs.
func (p *Partition) depart() {
	p.notices.set(p.since(), p.since(), func(n *wire.Notice) {
		*n = wire.Notice{Node: n.Node, Boot: n.Boot, Seq: n.Seq, Voters: n.Voters}
	})
	req := wire.AppendNoticeSwap(nil, wire.NoticeSwap{Have: []wire.Notice{p.notices.own().Notice}})
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	var all sync.WaitGroup
	for _, id := range roster.Partners(p.mesh.View()) {
		all.Go(func() { _, _ = p.call(ctx, id, methodSwap, req) })
	}
	all.Wait()
}

// compareWith makes the notices of this node and of a peer the same.
func (p *Partition) compareWith(ctx context.Context, peer view.NodeID) {
	mine := p.notices.sums()
	b, err := p.call(ctx, peer, methodSums, wire.AppendNoticeSums(nil, wire.NoticeSums{Digest: mine.Digest}))
	if err != nil {
		return
	}
	theirs, err := wire.DecodeNoticeSums(b)
	if err != nil || theirs.Digest == mine.Digest {
		return
	}
	if b, err = p.call(ctx, peer, methodSwap, wire.AppendNoticeSwap(nil, p.notices.against(theirs.Sums))); err != nil {
		return
	}
	v := p.mesh.View()
	if swap, err := wire.DecodeNoticeSwap(b, p.notices.sieve(v)); err == nil {
		p.notices.take(p.since(), v, swap.Have)
	}
}

// call calls a peer with this pace's patience. All that is asked of peers may be
// taken in twice, and late: grants and what gives them back name their term, notices
// are numbered.
func (p *Partition) call(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Pace.Lease)
	defer cancel()
	return p.mesh.CallIdempotent(ctx, to, method, req)
}
