package former

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/purging"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// shardImport takes in one shard of old data, page by page.
type shardImport struct {
	*Importer
	f     *oldStore
	shard int
	state wire.ImportState
	tops  memberStampMap
	log   purgedSince
}

// importTries is how often a shard is begun anew because of purges meanwhile.
const importTries = 4

func (w *shardImport) importWithRetries(ctx context.Context) (err error) {
	for range importTries {
		if err = w.tryImport(ctx); !errors.Is(err, keep.ErrStale) && !errors.Is(err, purging.ErrMoved) {
			return err
		}
		w.tops = w.memberStamps(ctx)
	}
	return err
}

func (w *shardImport) tryImport(ctx context.Context) (err error) {
	old, err := w.f.stampOfShard(ctx, w.shard)
	if err != nil {
		return err
	}
	if w.log, err = w.purgedSince(ctx, w.shard, old, w.tops); err != nil {
		return err
	}
	for {
		page, err := w.f.readPage(ctx, w.Importer, w.shard, w.state.Cursor)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			w.state.Done = true
			return w.saveProgress(ctx, nil)
		}
		if err := w.bringPage(ctx, page); err != nil {
			return err
		}
	}
}

// bringPage deals with one page: what of it is missing in the mesh is synced at more
// than half of the homes afterwards, and what is refused is noted.
func (w *shardImport) bringPage(ctx context.Context, page []keep.Stamped) error {
	at := page[0].At.Slice
	b := w.homes.Buckets.FindByID(at.Bucket)
	if b == nil {
		return fmt.Errorf("%w %016x", layout.ErrUnknownBucket, at.Bucket)
	}
	lay := w.homes.Now()
	rt := lay.RouteOf(b, at.Shard)
	homes := rt.Order[:rt.Homes]
	most := len(homes)/2 + 1
	known, err := w.gatherKnown(ctx, lay, homes, most, page)
	if err != nil {
		return err
	}
	var out, anew []keep.Stamped // anew: Item.Sibs are what is to be written
	var refused [][]byte
	for i, k := range page {
		got := purge.Old{
			Item: k.Rec.Item, Known: known[i], Gone: w.log.buried[string(k.At.Record)], Whole: w.log.whole,
		}.Import(w.f.doubtedBirths())
		if got.Refused || w.carrier.TooLarge(k) {
			refused = append(refused, k.At.Record)
		}
		if one := (keep.Stamped{At: k.At, Stamp: w.log.stamp}); !got.Bring.Unknown() && !w.carrier.TooLarge(k) {
			one.Rec.Item, one.Rec.Raw = got.Bring, wire.AppendItem(nil, &got.Bring)
			out = append(out, one)
		}
		if len(got.Anew) > 0 {
			anew = append(anew, keep.Stamped{At: k.At, Rec: keep.Stored{Record: recordOf(got.Anew)}})
		}
	}
	if err := w.syncAtHomes(ctx, lay, homes, most, out, w.acceptHere); err != nil {
		return err
	}
	if len(anew) > 0 {
		if err := w.writeAnew(ctx, anew, page[len(page)-1].At.Record); err != nil {
			return err
		}
		written, err := w.records.ReadRecords(ctx, at, keysOf(anew))
		if err != nil {
			return err
		}
		if err := w.syncAtHomes(ctx, lay, homes, most, written, nil); err != nil {
			return err
		}
	}
	w.state.Cursor = page[len(page)-1].At.Record
	w.state.Brought += uint64(len(out) + len(anew))
	return w.saveProgress(ctx, refused)
}

func recordOf(sibs []version.Sibling) (r replicate.Record) {
	r.Sibs = sibs
	return r
}

func keysOf(page []keep.Stamped) (out []string) {
	for _, k := range page {
		out = append(out, k.At.Key)
	}
	return out
}

// gatherKnown is what homes hold of the records of a page. Where the dots of these are
// in doubt, more than half of the homes have to say so.
func (w *shardImport) gatherKnown(ctx context.Context, lay *layout.Layout, homes []view.NodeID, most int, page []keep.Stamped) ([]version.Item, error) {
	out, told := make([]version.Item, len(page)), make([]int, len(page))
	asked := make([]wire.Lookup, len(page))
	for i, k := range page {
		asked[i] = wire.Lookup{Bucket: k.At.Bucket, Key: k.At.Key}
		if w.f.doubtedBirths() == nil { // else the same dots prove nothing
			asked[i].Known = w.records.VersionOf(k.At.Shard, k.Rec.Item)
		}
	}
	replies, away := 0, []view.NodeID(nil)
	var errs []error
	for _, id := range homes {
		if id != w.id && !lay.InMesh[id] {
			away = append(away, id)
			continue
		}
		items, err := w.askHome(ctx, id, asked)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		replies++
		for i, l := range items {
			var it version.Item
			switch l.Found {
			case wire.Nothing:
				continue
			case wire.Same:
				it = page[i].Rec.Item
			case wire.Present:
				if it, err = wire.DecodeItem(l.Item); err != nil {
					return nil, err
				}
			}
			out[i] = version.Merge(out[i], it)
			told[i]++
		}
	}
	if replies < most {
		return nil, errors.Join(append([]error{fmt.Errorf("%w: %s", errFewHomes, w.namesOf(away))}, errs...)...)
	}
	if w.f.doubtedBirths() != nil && slices.Min(told) < most {
		return nil, fmt.Errorf("%w: others are catching up", errFewHomes)
	}
	return out, nil
}

// askHome asks a home, which may be this store, for items.
func (im *Importer) askHome(ctx context.Context, id view.NodeID, asked []wire.Lookup) (out []wire.Lookedup, err error) {
	for len(out) < len(asked) {
		var items []wire.Lookedup
		var size int
		if id == im.id {
			items, size, err = im.records.AnswerLookups(ctx, asked[len(out):])
		} else {
			items, size, err = im.askPeer(ctx, id, asked[len(out):])
		}
		if err != nil {
			return nil, err
		}
		if err := im.carrier.Pace.WaitForBytes(ctx, size); err != nil {
			return nil, err
		}
		if len(items) == 0 || len(items) > len(asked)-len(out) {
			return nil, errors.New("replica: items do not match the keys asked for")
		}
		out = append(out, items...)
	}
	return out, nil
}

// askPeer asks another home for items, and returns how many bytes its answer took.
func (im *Importer) askPeer(ctx context.Context, id view.NodeID, asked []wire.Lookup) (items []wire.Lookedup, size int, err error) {
	req := wire.AppendReadRequest(nil, &wire.ReadRequest{Keys: asked})
	if err := im.carrier.Pace.WaitForBytes(ctx, len(req)); err != nil {
		return nil, 0, err
	}
	answer, err := im.opts.Peers.AskLong(ctx, id, wire.MethodRead, req)
	if err != nil {
		return nil, 0, err
	}
	m, err := wire.DecodeReadReply(answer)
	return m.Items, len(answer), err
}

// syncAtHomes has records synced at more than half of their homes. here takes them in
// at this store; nil: they are there.
func (w *shardImport) syncAtHomes(ctx context.Context, lay *layout.Layout, homes []view.NodeID, most int, page []keep.Stamped, here func(context.Context, []keep.Stamped) error) error {
	if len(page) == 0 {
		return nil
	}
	synced := 0
	var errs []error
	for _, id := range homes {
		var err error
		switch {
		case id == w.id && here != nil:
			err = here(ctx, page)
		case id == w.id:
		case lay.InMesh[id]:
			err = w.carrier.PushRecords(ctx, id, page)
		default:
			continue // it gets them from the others
		}
		if err != nil {
			errs = append(errs, err)
		} else {
			synced++
		}
	}
	if synced < most {
		return errors.Join(append([]error{errFewHomes}, errs...)...)
	}
	return nil
}

// acceptHere merges what is brought at this store, as a home of it.
func (w *shardImport) acceptHere(ctx context.Context, page []keep.Stamped) error {
	in := make([]keep.Arrival, len(page))
	for i, k := range page {
		in[i] = keep.Arrival{At: k.At, Item: k.Rec.Item, Raw: k.Rec.Raw, Stamp: k.Stamp}
		if w.log.from != w.id {
			in[i].From = w.log.from
		}
	}
	got, err := w.records.AcceptAll(ctx, in)
	if err == nil && slices.ContainsFunc(got, func(m keep.Merged) bool { return m.Stale }) {
		err = keep.ErrStale
	}
	return err
}

// writeAnew gives values new dots of this store, once: that it was done is part
// of the same batch. A home or not, this store keeps them until the homes have
// them.
func (w *shardImport) writeAnew(ctx context.Context, page []keep.Stamped, last []byte) error {
	next := w.state
	next.Anew = last
	err := w.records.Update(ctx, "import", func(tx keep.Tx) error {
		for i := range page {
			at := page[i].At
			if bytes.Compare(at.Record, w.state.Anew) <= 0 {
				continue
			}
			old, err := tx.Load(at)
			if err != nil {
				return err
			}
			if old.Damaged {
				return keep.ErrUninformed // until it is repaired
			}
			r := old.Take(replicate.HomeRole)
			for _, sib := range page[i].Rec.Sibs {
				wrote := tx.Writer().Import(r.Local, sib)
				r.Local = wrote.Local
				if err := tx.SaveMeta(wrote.Meta); err != nil {
					return err
				}
			}
			if err := tx.Save(at, old, r, wire.AppendItem(nil, &r.Item)); err != nil {
				return err
			}
		}
		return tx.Set(metaImport(w.f, w.shard), wire.AppendImportState(nil, next))
	})
	if err == nil {
		w.state = next
	}
	return err
}

// saveProgress makes durable how far it is, and what was refused or does not read.
func (w *shardImport) saveProgress(ctx context.Context, refused [][]byte) error {
	unread := w.f.takeLost()
	err := w.records.Update(ctx, "note what was taken in", func(tx keep.Tx) error {
		for _, record := range refused {
			if err := tx.Set(append(metaRefused(w.f), record...), nil); err != nil {
				return err
			}
		}
		for _, record := range unread {
			if err := tx.Set(append(metaUnread(w.f), record...), nil); err != nil {
				return err
			}
		}
		return tx.Set(metaImport(w.f, w.shard), wire.AppendImportState(nil, w.state))
	})
	if err != nil {
		for _, record := range unread {
			w.f.markDamaged(record)
		}
	}
	return err
}

// listRefused counts what was not taken in, and writes beside the old store which
// records these are, what it had given up itself among them.
func (im *Importer) listRefused(ctx context.Context, f *oldStore) error {
	var list strings.Builder
	list.WriteString("# records of the store beside this file that were not taken into the mesh: why, shard, bucket, key\n")
	add := func(why string, record []byte) {
		at, _ := layout.PlaceOf(record)
		name := fmt.Sprintf("%016x", at.Bucket)
		if b := im.homes.Buckets.FindByID(at.Bucket); b != nil && !b.System {
			name = b.Def.Name
		}
		fmt.Fprintf(&list, "%s\t%d\t%q\t%q\n", why, at.Shard, name, at.Key)
	}
	refused, err := im.eachNoted(ctx, metaRefused(f), func(record []byte) { add("deleted?", record) })
	if err != nil {
		return err
	}
	unread, err := im.eachNoted(ctx, metaUnread(f), func(record []byte) { add("damaged", record) })
	if err != nil {
		return err
	}
	if err := f.setAside(ctx, func(record []byte) { refused++; add("deleted?", record) }); err != nil {
		return err
	}
	f.mu.Lock()
	f.refused, f.unread = refused, unread
	f.mu.Unlock()
	if refused+unread == 0 {
		return nil
	}
	return file.WriteText(f.fs, f.fs.PathJoin(f.dir, RefusedName), list.String())
}

// eachNoted goes through the records that were noted under a prefix.
func (im *Importer) eachNoted(ctx context.Context, prefix []byte, fn func(record []byte)) (n int, err error) {
	err = im.disk.Scan(ctx, prefix, wire.After(prefix), func(k, _ []byte) error {
		n++
		fn(slices.Clone(k[len(prefix):]))
		return nil
	})
	return n, im.records.WrapError("import", err)
}
