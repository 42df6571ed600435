package replica

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	compareWait = 30 * time.Second // for digests, which may have to be built there first
	pageMarks   = 1024
	pageBytes   = 256 << 10
	digestBatch = 4096
)

// shared lists the shards of a bucket that one store is to keep, who begins the
// comparison, and of which another is a home.
func (s *Store) shared(lay *layout, b *bucket, keeper, home view.NodeID) []slice {
	var out []slice
	for shard := range s.shardsOf(b) {
		if lay.route(b, shard).isHome(home) && lay.keeps(b, shard, keeper) {
			out = append(out, slice{b.id, shard})
		}
	}
	return out
}

// shardsOf returns how many shards a bucket lies in.
func (s *Store) shardsOf(b *bucket) int {
	if b.system {
		return 1
	}
	return s.shards
}

// compare makes this store and a peer equal in all that both are homes of.
func (s *Store) compare(ctx context.Context, peer view.NodeID) error {
	lay := s.layout.Load()
	if err := s.syncStamps(ctx, peer); err != nil {
		return err
	}
	theirs, err := s.askHeld(ctx, lay, peer)
	if err != nil {
		return err
	}
	// Whole buckets first: peers that are equal, as they mostly are, find
	// that out for a few bytes.
	var common [][]slice
	var whole []wire.Sum
	for _, b := range s.buckets.list() {
		if at := s.shared(lay, b, s.id, peer); len(at) > 0 {
			total, err := s.total(ctx, at)
			if err != nil {
				return err
			}
			total.Key += lay.roster // equal sums over different shards prove nothing
			common = append(common, at)
			whole = append(whole, wireSum(slice{b.id, wire.AllShards}, total))
		}
	}
	differ, err := s.askDigests(ctx, peer, whole)
	if err != nil {
		return err
	}
	var units []slice
	for _, i := range differ {
		units = append(units, common[i]...)
	}
	if err := s.exchange(ctx, peer, units, false); err != nil {
		return err
	}
	if err := s.exchange(ctx, peer, theirs.leftover, true); err != nil {
		return err
	}
	s.stats.compared.Add(1)
	for _, at := range common {
		s.madeEqual(ctx, lay, peer, at, theirs.seasoned[at[0].bucket])
		s.synced.note(at[0].bucket, peer, s.since())
	}
	s.consulted(ctx, lay, peer, theirs)
	return nil
}

// held is what a peer says of itself when this store has something to learn
// from that.
type peerHeld struct {
	asked    bool
	leftover []slice           // records there that belong here
	seasoned map[uint64][]byte // by bucket: the shards of which it is a seasoned home
}

// askHeld asks a peer for what it holds that belongs here, as long as this
// store does not know all that the homes of its shards know.
func (s *Store) askHeld(ctx context.Context, lay *layout, peer view.NodeID) (out peerHeld, err error) {
	if !s.unready(lay) {
		return out, nil
	}
	answer, err := s.ask(ctx, peer, wire.MethodHeld, wire.AppendHeldRequest(nil, &wire.HeldRequest{}))
	if err != nil {
		return out, err
	}
	m, err := wire.DecodeHeldReply(answer)
	if err != nil {
		return out, err
	}
	if m.Roster != lay.roster {
		return out, errRosters
	}
	out.asked, out.seasoned = true, make(map[uint64][]byte)
	for _, h := range m.Leftover {
		if b := s.buckets.byID(h.Bucket); b != nil && h.Shard < s.shardsOf(b) && lay.route(b, h.Shard).isHome(s.id) {
			out.leftover = append(out.leftover, slice{h.Bucket, h.Shard})
		}
	}
	for _, b := range m.Seasoned {
		out.seasoned[b.Bucket] = b.Shards
	}
	return out, nil
}

// unready tells whether this store is a home where it cannot vouch for what is
// not there.
func (s *Store) unready(lay *layout) bool {
	for _, b := range s.buckets.list() {
		for shard := range s.shardsOf(b) {
			if lay.route(b, shard).isHome(s.id) && !b.ready.absent(shard) {
				return true
			}
		}
	}
	return false
}

// consulted notes that all a peer holds of what belongs here is here.
func (s *Store) consulted(ctx context.Context, lay *layout, peer view.NodeID, theirs peerHeld) {
	if !theirs.asked {
		return
	}
	for _, b := range s.buckets.list() {
		var at []slice
		for shard := range s.shardsOf(b) {
			if rt := lay.route(b, shard); rt.isHome(s.id) && !rt.isHome(peer) {
				at = append(at, slice{b.id, shard})
			}
		}
		if len(at) > 0 {
			s.madeEqual(ctx, lay, peer, at, nil)
		}
	}
}

// madeEqual notes that slices of one bucket were made equal with a peer, under
// the roster then, and of which the peer said that it is a seasoned home.
func (s *Store) madeEqual(ctx context.Context, then *layout, peer view.NodeID, at []slice, seasoned []byte) {
	b := s.buckets.byID(at[0].bucket)
	s.following.Lock()
	lay := s.layout.Load()
	if lay.roster != then.roster {
		s.following.Unlock()
		return // other homes count now
	}
	changed := false
	for _, a := range at {
		rt := lay.route(b, a.shard)
		b.ready.equal(a.shard, peer, hasBit(seasoned, a.shard))
		changed = b.ready.judge(a.shard, s.id, rt.order[:rt.homes], lay.members) || changed
	}
	s.following.Unlock()
	if changed {
		s.saveSettled(ctx, lay, b)
	}
}

// exchange drives the core that makes the units equal with a peer. With pull
// only this store gains: the peer is not to keep them.
func (s *Store) exchange(ctx context.Context, peer view.NodeID, units []slice, pull bool) error {
	all := make([]int, len(units))
	for i := range all {
		all[i] = i
	}
	core := replicate.NewExchange(all, transferKeys)
	for {
		step := core.Step()
		var err error
		switch step.Kind {
		case replicate.Done:
			s.stats.moved.Add(uint64(core.Moved()))
			return nil
		case replicate.Digests:
			err = s.stepDigests(ctx, peer, units, core, step)
		case replicate.List:
			err = s.stepList(ctx, peer, units[step.Unit], core, step)
		case replicate.Pull:
			err = s.stepPull(ctx, peer, units[step.Unit], core, step.Keys)
		case replicate.Push:
			if pull {
				core.Pushed(len(step.Keys))
			} else {
				err = s.stepPush(ctx, peer, units[step.Unit], core, step.Keys)
			}
		}
		if err != nil {
			return fmt.Errorf("replica: compare with %v: %w", peer, err)
		}
	}
}

func (s *Store) stepDigests(ctx context.Context, peer view.NodeID, units []slice, core *replicate.Exchange, step replicate.Step) error {
	var differ []int
	for at := 0; at < len(step.Units); at += digestBatch {
		part := step.Units[at:min(at+digestBatch, len(step.Units))]
		sums := make([]wire.Sum, len(part))
		for i, u := range part {
			total, err := s.total(ctx, units[u:u+1])
			if err != nil {
				return err
			}
			sums[i] = wireSum(units[u], total)
		}
		got, err := s.askDigests(ctx, peer, sums)
		if err != nil {
			return err
		}
		for _, i := range got {
			differ = append(differ, part[i])
		}
	}
	core.Differ(differ)
	return nil
}

// askDigests returns which of the sums differ at the peer.
func (s *Store) askDigests(ctx context.Context, peer view.NodeID, sums []wire.Sum) ([]int, error) {
	if len(sums) == 0 {
		return nil, nil
	}
	answer, err := s.ask(ctx, peer, wire.MethodDigest, wire.AppendDigestRequest(nil, &wire.DigestRequest{Sums: sums}))
	if err != nil {
		return nil, err
	}
	m, err := wire.DecodeDigestReply(answer)
	if err != nil {
		return nil, err
	}
	for _, i := range m.Differ {
		if i >= len(sums) {
			return nil, errors.New("replica: digest that was not asked for")
		}
	}
	return m.Differ, nil
}

func (s *Store) ask(ctx context.Context, peer view.NodeID, method string, req []byte) ([]byte, error) {
	call, cancel := context.WithTimeout(ctx, compareWait)
	defer cancel()
	return s.mesh.Call(call, peer, method, req)
}

// total is the digest over slices; what is not built yet is built.
func (s *Store) total(ctx context.Context, at []slice) (reconcile.Digest, error) {
	var total reconcile.Digest
	var missing []slice
	for _, a := range at {
		if d, _, ok := s.digests.get(a); ok {
			total.Key += d.Key
			total.Version += d.Version
		} else {
			missing = append(missing, a)
		}
	}
	if len(missing) == 0 {
		return total, nil
	}
	if err := s.digests.build(ctx, s.disk, missing); err != nil {
		return total, err
	}
	for _, a := range missing {
		d, _, _ := s.digests.get(a) // one that was forgotten meanwhile differs, which is all right
		total.Key += d.Key
		total.Version += d.Version
	}
	return total, nil
}

func wireSum(at slice, d reconcile.Digest) wire.Sum {
	out := wire.Sum{Bucket: at.bucket, Shard: at.shard}
	binary.BigEndian.PutUint64(out.Digest[:8], d.Key)
	binary.BigEndian.PutUint64(out.Digest[8:], d.Version)
	return out
}

func (s *Store) stepList(ctx context.Context, peer view.NodeID, at slice, core *replicate.Exchange, step replicate.Step) error {
	req := wire.ListRequest{Bucket: at.bucket, Shard: at.shard, After: step.After, From: !step.First}
	answer, err := s.ask(ctx, peer, wire.MethodList, wire.AppendListRequest(nil, &req))
	if err != nil {
		return err
	}
	m, err := wire.DecodeListReply(answer)
	if err != nil {
		return err
	}
	theirs := replicate.Page{After: step.After, First: step.First, Last: !m.More, Marks: make([]replicate.Mark, len(m.Marks))}
	for i, k := range m.Marks {
		theirs.Marks[i] = replicate.Mark(k)
	}
	var upper []byte
	if n := len(m.Marks); m.More && n > 0 {
		upper = append(wire.RecordKey(at.shard, at.bucket, m.Marks[n-1].Key), 0)
	}
	mine, _, err := s.marks(ctx, at, req.After, req.From, upper, 0)
	if err != nil {
		return err
	}
	core.Listed(theirs, mine)
	return nil
}

// marks lists the keys of a slice from after on, up to limit marks (0: all).
func (s *Store) marks(ctx context.Context, at slice, after string, from bool, upper []byte, limit int) (out []replicate.Mark, more bool, err error) {
	prefix := wire.RecordPrefix(at.shard, at.bucket, 0)
	lower := prefix
	if from {
		lower = append(wire.RecordKey(at.shard, at.bucket, after), 0)
	}
	if upper == nil {
		upper = wire.After(prefix)
	}
	size := 0
	err = s.disk.Scan(ctx, lower, upper, func(k, v []byte) error {
		if limit > 0 && (len(out) == limit || size > pageBytes) {
			more = true
			return errStop
		}
		it, err := itemOf(v)
		if err != nil {
			return nil // damaged: it is not there
		}
		_, _, key, _ := wire.ParseRecordKey(k)
		size += len(key) + 16
		out = append(out, replicate.Mark{Key: key, Hash: s.digests.hashers[at.shard].Version(it)})
		return nil
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return out, more, err
}

// stepPull gets items from the peer and merges them here.
func (s *Store) stepPull(ctx context.Context, peer view.NodeID, at slice, core *replicate.Exchange, keys []string) error {
	req := wire.ReadRequest{Keys: make([]wire.Lookup, len(keys))}
	for i, k := range keys {
		req.Keys[i] = wire.Lookup{Bucket: at.bucket, Key: k}
	}
	answer, err := s.ask(ctx, peer, wire.MethodRead, wire.AppendReadRequest(nil, &req))
	if err != nil {
		return err
	}
	if err := s.pace.wait(ctx, len(answer)); err != nil {
		return err
	}
	m, err := wire.DecodeReadReply(answer)
	if err != nil {
		return err
	}
	if len(m.Items) == 0 || len(m.Items) > len(keys) {
		return errors.New("replica: items do not match the keys asked for")
	}
	var in []arrival
	for i, l := range m.Items {
		if l.Found != wire.Present {
			continue
		}
		it, err := wire.DecodeItem(l.Item)
		if err != nil {
			return err
		}
		in = append(in, arrival{at: s.place(at.bucket, keys[i]), item: it, raw: l.Item, stamp: stampOf(l.Stamp), from: peer})
	}
	var back []string
	if len(in) > 0 {
		got, err := s.acceptAll(ctx, in)
		if err != nil {
			return err
		}
		for i := range got {
			if got[i].stale {
				return errStale // the peer has to catch up first
			}
			if got[i].behind {
				back = append(back, in[i].at.key)
			}
		}
	}
	core.Pulled(len(m.Items), back)
	return nil
}

// stepPush sends records from here to the peer.
func (s *Store) stepPush(ctx context.Context, peer view.NodeID, at slice, core *replicate.Exchange, keys []string) error {
	page, err := s.page(ctx, at, keys)
	if err != nil {
		return err
	}
	page = slices.DeleteFunc(page, s.tooLargeToSend)
	if err := s.push(ctx, peer, page); err != nil {
		return err
	}
	core.Pushed(len(keys))
	return nil
}

// page reads records; those that are not there, or damaged, are left out.
func (s *Store) page(ctx context.Context, at slice, keys []string) ([]kept, error) {
	out := make([]kept, 0, len(keys))
	for _, key := range keys {
		p := s.place(at.bucket, key)
		stamp := s.stamp(p.shard)
		rec, err := s.load(ctx, p)
		if err != nil {
			return nil, err
		}
		if stamp.Lagging() {
			return nil, errStale // some of it may have been purged
		}
		if !rec.Unknown() {
			out = append(out, kept{p, rec, stamp})
		}
	}
	return out, nil
}

// serveDigest compares the asker's digests with those here.
func (s *Store) serveDigest(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeDigestRequest(req)
	if err != nil {
		return nil, err
	}
	lay := s.layout.Load()
	reply := wire.DigestReply{}
	for i, sum := range m.Sums {
		at := []slice{{sum.Bucket, sum.Shard}}
		switch b := s.buckets.byID(sum.Bucket); {
		case sum.Shard == wire.AllShards && b == nil:
			reply.Differ = append(reply.Differ, i)
			continue
		case sum.Shard == wire.AllShards:
			at = s.shared(lay, b, from, s.id)
		case sum.Shard >= s.shards:
			return nil, fmt.Errorf("replica: shard %d of %d", sum.Shard, s.shards)
		}
		total, err := s.total(ctx, at)
		if err != nil {
			return nil, err
		}
		if sum.Shard == wire.AllShards {
			total.Key += lay.roster
		}
		if wireSum(slice{sum.Bucket, sum.Shard}, total).Digest != sum.Digest {
			reply.Differ = append(reply.Differ, i)
		}
	}
	return wire.AppendDigestReply(nil, &reply), nil
}

// serveList tells what is here of a slice.
func (s *Store) serveList(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeListRequest(req)
	if err != nil {
		return nil, err
	}
	marks, more, err := s.marks(ctx, slice{m.Bucket, m.Shard}, m.After, m.From, nil, pageMarks)
	if err != nil {
		return nil, err
	}
	reply := wire.ListReply{More: more, Marks: make([]wire.Mark, len(marks))}
	for i, k := range marks {
		reply.Marks[i] = wire.Mark(k)
	}
	return wire.AppendListReply(nil, &reply), nil
}
