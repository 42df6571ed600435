package former

import (
	"context"
	"errors"
	"fmt"
	"strings"

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
func (im *Importer) memberStamps(ctx context.Context) memberStampMap {
	lay := im.homes.Now()
	out := memberStampMap{byMember: make(map[view.NodeID]map[int]purge.Stamp)}
	for _, id := range lay.Members {
		if id == im.id && len(lay.Members) > 1 {
			continue
		}
		of, err := im.stampsAt(ctx, lay, id)
		if err != nil {
			out.away = append(out.away, id)
		} else {
			out.byMember[id] = of
		}
	}
	return out
}

func (im *Importer) stampsAt(ctx context.Context, lay *layout.Layout, id view.NodeID) (map[int]purge.Stamp, error) {
	if id != im.id && !lay.InMesh[id] {
		return nil, errFewHomes
	}
	req := wire.AppendStampsRequest(nil, &wire.StampsRequest{})
	var answer []byte
	var err error
	if id == im.id {
		answer, err = im.opts.Purging.ServeStamps(ctx, id, req)
	} else {
		answer, err = im.opts.Peers.AskLong(ctx, id, wire.MethodStamps, req)
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

// purgedSince finds out what was purged of a shard since a store stood at old, as
// purge.Recall says.
func (im *Importer) purgedSince(ctx context.Context, shard int, old purge.Stamp, tops memberStampMap) (best purgedSince, err error) {
	stand := make(map[view.NodeID]purge.Stamp, len(tops.byMember))
	for id, of := range tops.byMember {
		stand[id] = of[shard]
	}
	core := purge.NewRecall(stand, len(tops.away) > 0)
	for id, ok := core.Next(); ok; id, ok = core.Next() {
		log, err := im.readLog(ctx, id, shard, old)
		if err != nil {
			return best, err
		}
		if core.Told(log.whole) {
			best = log
		}
	}
	switch core.Verdict() {
	case purge.MemoryUnheard:
		err = fmt.Errorf("%w: %s", errFewHomes, im.namesOf(tops.away))
	case purge.MemoryBehind:
		err = purging.ErrMoved
	case purge.MemoryAway:
		err = fmt.Errorf("%w: %s", errLogsAway, im.namesOf(tops.away))
	}
	return best, err
}

// readLog reads what a member remembers.
func (im *Importer) readLog(ctx context.Context, peer view.NodeID, shard int, old purge.Stamp) (out purgedSince, err error) {
	out = purgedSince{from: peer, buried: make(map[string]version.Item)}
	req := wire.LogRequest{Shard: shard, Stamp: wire.Stamp{Acked: wire.Round(old.Acked)}}
	var read purge.Reading
	for {
		page, err := im.logPage(ctx, peer, &req)
		if err != nil {
			return out, err
		}
		read.Page(keep.StampOf(page.Stamp), purge.Round(page.From))
		for i := range page.Entries {
			e := &page.Entries[i]
			b, err := keep.DecodeBuried(e.Buried)
			if err != nil {
				return out, fmt.Errorf("replica: log of purges: %w", err)
			}
			out.buried[string(im.homes.LocateKey(e.Bucket, e.Key).Record)] = b.All
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
	out.stamp, out.whole = read.Theirs, old.Reaches(read.Theirs, read.From)
	return out, nil
}

func (im *Importer) logPage(ctx context.Context, peer view.NodeID, req *wire.LogRequest) (wire.LogReply, error) {
	data := wire.AppendLogRequest(nil, req)
	var answer []byte
	var err error
	if peer == im.id {
		answer, err = im.opts.Purging.ServeLog(ctx, peer, data)
	} else {
		answer, err = im.opts.Peers.AskLong(ctx, peer, wire.MethodLog, data)
	}
	if err != nil {
		return wire.LogReply{}, err
	}
	if err := im.carrier.Pace.WaitForBytes(ctx, len(answer)); err != nil {
		return wire.LogReply{}, err
	}
	return wire.DecodeLogReply(answer)
}

// namesOf lists nodes in words.
func (im *Importer) namesOf(ids []view.NodeID) string {
	v, out := im.opts.View(), make([]string, len(ids))
	for i, id := range ids {
		m, _ := v.Member(id)
		out[i] = view.Named{ID: id, Name: m.Name}.String()
	}
	return strings.Join(out, ", ")
}
