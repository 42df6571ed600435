package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/purging"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// errFewHomes: not enough homes are in contact to take in what was found.
var errFewHomes = errors.New("replica: too few homes of the shard are in contact")

// errLogsAway: members that may remember what the others do not are away.
var errLogsAway = errors.New("replica: those in contact do not remember all deletes since, and others are away")

// purgedSince is what was purged of a shard since the old store stood there, as
// one member remembers it.
type purgedSince struct {
	from   view.NodeID
	stamp  purge.Stamp             // of that member: what is brought has caught up to there
	whole  bool                    // it remembers all of it
	buried map[string]version.Item // by record key
}

// memberStampMap is where the members in contact stand, by shard.
type memberStampMap struct {
	byMember map[view.NodeID]map[int]purge.Stamp
	away     []view.NodeID // members that did not say
}

// memberStamps asks all members where they stand. This store is as new as its
// NodeID: it is asked only if it is the only one.
func (s *Store) memberStamps(ctx context.Context) memberStampMap {
	lay := s.homes.Now()
	out := memberStampMap{byMember: make(map[view.NodeID]map[int]purge.Stamp)}
	for _, id := range lay.Members {
		if id == s.id && len(lay.Members) > 1 {
			continue
		}
		of, err := s.stampsAt(ctx, lay, id)
		if err != nil {
			out.away = append(out.away, id)
		} else {
			out.byMember[id] = of
		}
	}
	return out
}

func (s *Store) stampsAt(ctx context.Context, lay *layout.Layout, id view.NodeID) (map[int]purge.Stamp, error) {
	if id != s.id && !lay.InMesh[id] {
		return nil, errFewHomes
	}
	req := wire.AppendStampsRequest(nil, &wire.StampsRequest{})
	var answer []byte
	var err error
	if id == s.id {
		answer, err = s.purging.ServeStamps(ctx, id, req)
	} else {
		answer, err = s.peering.AskLong(ctx, id, wire.MethodStamps, req)
	}
	if err != nil {
		return nil, err
	}
	m, err := wire.DecodeStampsReply(answer)
	out := make(map[int]purge.Stamp, len(m.Stamps))
	for _, st := range m.Stamps {
		out[st.Shard] = keep.StampOf(st.Stamp)
	}
	return out, err
}

// purgedSince finds out what was purged of a shard since a store stood at old:
// from a member that knows of all rounds that any of them knows of.
func (s *Store) purgedSince(ctx context.Context, shard int, old purge.Stamp, tops memberStampMap) (best purgedSince, err error) {
	var top purge.Stamp
	for _, of := range tops.byMember {
		top = top.Latest(of[shard])
	}
	behind := false
	for _, id := range slices.Sorted(maps.Keys(tops.byMember)) {
		if tops.byMember[id][shard].Acked.Before(top.Acked) {
			behind = true // it has yet to hear of something
			continue
		}
		log, err := s.readLog(ctx, id, shard, old)
		if err != nil {
			return best, err
		}
		if best.from == 0 || log.whole {
			best = log
		}
		if log.whole {
			return best, nil
		}
	}
	switch {
	case best.from == 0 && len(tops.byMember) == 0:
		return best, fmt.Errorf("%w: %s", errFewHomes, s.joinNames(tops.away))
	case best.from == 0 || behind:
		return best, purging.ErrMoved
	case len(tops.away) > 0:
		return best, fmt.Errorf("%w: %s", errLogsAway, s.joinNames(tops.away))
	}
	return best, nil
}

// readLog reads what a member remembers.
func (s *Store) readLog(ctx context.Context, peer view.NodeID, shard int, old purge.Stamp) (out purgedSince, err error) {
	out = purgedSince{from: peer, buried: make(map[string]version.Item)}
	req := wire.LogRequest{Shard: shard, Stamp: wire.Stamp{Acked: wire.Round(old.Acked)}}
	var from purge.Round
	for first := true; ; first = false {
		page, err := s.logPage(ctx, peer, &req)
		if err != nil {
			return out, err
		}
		if first {
			out.stamp = keep.StampOf(page.Stamp)
		}
		if from.Before(purge.Round(page.From)) {
			from = purge.Round(page.From)
		}
		for i := range page.Entries {
			e := &page.Entries[i]
			b, err := keep.DecodeBuried(e.Buried)
			if err != nil {
				return out, fmt.Errorf("replica: log of purges: %w", err)
			}
			out.buried[string(s.homes.LocateKey(e.Bucket, e.Key).Record)] = b.All
		}
		if !page.More {
			break
		}
		if len(page.Entries) == 0 {
			return out, fmt.Errorf("replica: empty page of a log: %w", wire.ErrMalformed)
		}
		last := page.Entries[len(page.Entries)-1]
		req.Bucket, req.Key, req.More = last.Bucket, last.Key, true
	}
	out.whole = old.Reaches(out.stamp, from)
	return out, nil
}

func (s *Store) logPage(ctx context.Context, peer view.NodeID, req *wire.LogRequest) (wire.LogReply, error) {
	data := wire.AppendLogRequest(nil, req)
	var answer []byte
	var err error
	if peer == s.id {
		answer, err = s.purging.ServeLog(ctx, peer, data)
	} else {
		answer, err = s.peering.AskLong(ctx, peer, wire.MethodLog, data)
	}
	if err != nil {
		return wire.LogReply{}, err
	}
	if err := s.carrier.Pace.WaitForBytes(ctx, len(answer)); err != nil {
		return wire.LogReply{}, err
	}
	return wire.DecodeLogReply(answer)
}
