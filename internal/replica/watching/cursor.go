package watching

import (
	"github.com/skeinmesh/skein/internal/scan"
	"github.com/skeinmesh/skein/internal/watch"
	"github.com/skeinmesh/skein/internal/wire"
)

// stands are where a watch stands by shard, as long as nothing but positions changes.
type stands struct {
	number uint64
	known  bool
	all    []watch.Stand
}

// Cursor is where a watch stands. It does not change.
type Cursor struct {
	bucket  uint64
	all     []watch.Stand // shared
	sources []watch.Place
	at      watch.Place // of the store that it has to do with; nowhere: as in sources
}

// cursorAt returns where the watch stands, and of one store a place that it has come to
// meanwhile.
func (r *Reader) cursorAt(at watch.Place) Cursor {
	if n := r.core.StandsNumber(); !r.stands.known || n != r.stands.number {
		r.stands.all, r.stands.number = r.core.Stands()
		r.stands.known = true
	}
	return Cursor{bucket: r.q.Bucket.ID, all: r.stands.all, sources: r.core.Sources(), at: at}
}

// IsZero tells that it is the cursor of no watch.
func (c *Cursor) IsZero() bool { return c.all == nil }

// ToWire returns the cursor as it is written.
func (c *Cursor) ToWire() wire.WatchCursor {
	out := wire.WatchCursor{Bucket: c.bucket}
	places := make(map[watch.Place]int)
	for shard := range c.all {
		p := c.placeOf(shard)
		if p.Store == 0 || p.At.Epoch == 0 {
			continue
		}
		i, known := places[p]
		if !known {
			i = len(out.Places)
			places[p] = i
			out.Places = append(out.Places, wire.WatchPlace{Store: p.Store, Epoch: p.At.Epoch, Seq: p.At.Seq, Shards: scan.NewShards(len(c.all))})
		}
		scan.Shards(out.Places[i].Shards).Add(shard)
	}
	return out
}

func (c *Cursor) placeOf(shard int) watch.Place {
	p := c.all[shard]
	if !p.Followed {
		return p.Place
	}
	if c.at.Store == p.Store && c.at.At.Epoch == p.At.Epoch {
		return c.at
	}
	for _, src := range c.sources {
		if src.Store == p.Store {
			return src
		}
	}
	return watch.Place{}
}

// PlacesOf returns where a watch goes on by a cursor, by shard.
func PlacesOf(m *wire.WatchCursor, shards int) []watch.Place {
	out := make([]watch.Place, shards)
	for i := range m.Places {
		p := &m.Places[i]
		for shard := range shards {
			if scan.Shards(p.Shards).Has(shard) {
				out[shard] = watch.Place{Store: p.Store, At: watch.Position{Epoch: p.Epoch, Seq: p.Seq}}
			}
		}
	}
	return out
}
