// Package exporting reads what one store is to back up: the slices of which it is the first
// home in contact, so that all of them are read once and nobody has to agree on who reads
// what. Where two stores take themselves for the first, as on the sides of a cut, both read:
// what they read merges.
package exporting

import (
	"context"
	"errors"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/handover"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// pageBytes is how much is read at a time.
const pageBytes = 256 << 10

// ErrNotReady says that this store cannot vouch for what it holds of a slice: it is catching
// up with other homes, or with a purge.
var ErrNotReady = errors.New("replica: this store is catching up")

// ErrDamaged says that a record does not read, so that what a slice lacks is not known.
var ErrDamaged = errors.New("replica: records of the slice do not read")

// Options describe what is read at one store. All fields must be set.
type Options struct {
	Self    view.NodeID
	Mesh    view.MeshID
	Records *keep.Records
	Disk    *storage.Store
	Homes   *layout.Homes
	Pace    *handover.Pace
}

// Exporter reads for backups. All methods may be used concurrently.
type Exporter struct{ Options }

// New returns an exporter.
func New(opts Options) *Exporter { return &Exporter{opts} }

// Led is a slice of which this store is the first home in contact.
type Led struct {
	At     layout.Slice
	Bucket *layout.Bucket
}

// ListLed lists those slices, in the order of buckets and shards.
func (e *Exporter) ListLed() (out []Led) {
	lay := e.Homes.Now()
	for _, b := range e.Homes.Buckets.ListAll() {
		if b.System {
			continue // definitions go with the slices of their buckets
		}
		for shard := range e.Homes.ShardsOf(b) {
			if e.isFirst(lay, lay.RouteOf(b, shard)) {
				out = append(out, Led{layout.Slice{Bucket: b.ID, Shard: shard}, b})
			}
		}
	}
	return out
}

// isFirst tells whether this store is the first of the homes that are in contact.
func (e *Exporter) isFirst(lay *layout.Layout, r *layout.Route) bool {
	for _, id := range r.Order[:r.Homes] {
		if id == e.Self || lay.InMesh[id] {
			return id == e.Self
		}
	}
	return false
}

// State is what a slice is like before it is read.
type State struct {
	Digest reconcile.Digest
	Origin wire.Origin
}

// ReadState returns it. The error is ErrNotReady where this store cannot tell what the slice
// lacks.
func (e *Exporter) ReadState(ctx context.Context, at Led) (s State, err error) {
	m := e.Records.SyncedStanding(at.At.Shard)
	if !at.Bucket.ProvesAbsence(at.At.Shard) || !e.Homes.IsHome(at.At) || m.Stamp.Lagging() {
		return s, ErrNotReady
	}
	s.Origin = wire.Origin{Mesh: e.Mesh, Shard: at.At.Shard, Stamp: keep.WireStamp(m.Stamp), From: wire.Round(m.From)}
	s.Digest, err = e.Records.Digest(ctx, []layout.Slice{at.At})
	return s, err
}

// Record is one record of a slice, or what was purged of a key of it.
type Record struct {
	Purged  bool
	Key     string
	Version uint64 // equal for equal items only, as far as a hash can tell
	Item    []byte // in Page.bytes
}

// Page is some records, and where the next begin; nil: there are no more.
type Page struct {
	Records []Record
	Next    []byte
	bytes   []byte
}

// ReadPage reads the records of a slice that come after those of a page, into it: what the store
// holds first, then what was purged of it lately. A Page without Next comes before all. All of it is
// synced. What the page had before is overwritten.
func (e *Exporter) ReadPage(ctx context.Context, at layout.Slice, p *Page) error {
	from := p.Next
	*p = Page{Records: p.Records[:0], bytes: p.bytes[:0]}
	records := wire.RecordPrefix(at.Shard, at.Bucket, 0)
	log := wire.LogKey(records)
	if from == nil {
		from = records
	}
	size, purged := 0, from[0] == log[0]
	upper := wire.After(records)
	if purged {
		upper = wire.After(log)
	}
	err := e.Disk.Scan(ctx, from, upper, func(k, v []byte) error {
		if size >= pageBytes {
			p.Next = append([]byte{}, k...)
			return keep.ErrStop
		}
		size += len(k) + len(v)
		return e.addRecord(p, at, k, v, purged)
	})
	switch {
	case errors.Is(err, keep.ErrStop):
		err = nil
	case errors.Is(err, storage.ErrCorrupt):
		err = errors.Join(ErrDamaged, err)
	}
	if err == nil && p.Next == nil && !purged {
		p.Next = log
	}
	if err != nil {
		return err
	}
	return e.Pace.WaitForBytes(ctx, size)
}

// addRecord adds one record to a page. What is kept for another store alone is of the slice, too: it
// does no harm.
func (e *Exporter) addRecord(p *Page, at layout.Slice, k, v []byte, purged bool) error {
	r := Record{Purged: purged}
	begin := len(p.bytes)
	if purged {
		b, ok, err := keep.BuriedAt(v, nil)
		if err != nil || !ok {
			return errors.Join(err, ErrDamaged)
		}
		_, _, r.Key, _ = wire.ParseLogKey(k)
		r.Version = e.Records.VersionOf(at.Shard, b.All)
		p.bytes = wire.AppendItem(p.bytes, &b.All)
	} else {
		rec, err := keep.DecodeStored(v, nil)
		switch {
		case err != nil:
			return err
		case rec.Damaged:
			return ErrDamaged
		case rec.Unknown():
			return nil
		}
		_, _, r.Key, _ = wire.ParseRecordKey(k)
		r.Version = e.Records.VersionOf(at.Shard, rec.Item)
		p.bytes = append(p.bytes, rec.Raw...)
	}
	r.Item = p.bytes[begin:len(p.bytes):len(p.bytes)]
	p.Records = append(p.Records, r)
	return nil
}

// OriginStamp is where the store stood of which an origin tells.
func OriginStamp(o wire.Origin) purge.Stamp { return keep.StampOf(o.Stamp) }
