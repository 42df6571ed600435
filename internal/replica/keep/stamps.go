package keep

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/wire"
)

// SyncedStanding is where this store stands in a shard, synced.
func (rs *Records) SyncedStanding(shard int) purge.Standing {
	if p := rs.rounds.shown[shard].Load(); p != nil {
		return p.Standing
	}
	return purge.Standing{}
}

// StampSum is a digest of all stamps of this store.
func (rs *Records) StampSum() uint64 {
	h := xxhash.New()
	var b [34]byte
	for shard := range rs.shards {
		st := rs.SyncedStamp(shard)
		if st == (purge.Stamp{}) {
			continue
		}
		binary.BigEndian.PutUint16(b[:], uint16(shard))
		binary.BigEndian.PutUint64(b[2:], st.Acked.Counter)
		binary.BigEndian.PutUint64(b[10:], uint64(st.Acked.Proposer))
		binary.BigEndian.PutUint64(b[18:], st.Committed.Counter)
		binary.BigEndian.PutUint64(b[26:], uint64(st.Committed.Proposer))
		_, _ = h.Write(b[:])
	}
	return h.Sum64() | 1 // never 0, which stands for no question
}

// LagsSomewhere tells whether this store has to catch up in any shard.
func (rs *Records) LagsSomewhere() bool {
	for shard := range rs.shards {
		if rs.SyncedStamp(shard).Lagging() {
			return true
		}
	}
	return false
}

// WireStamp is a stamp as it travels.
func WireStamp(s purge.Stamp) wire.Stamp {
	return wire.Stamp{Acked: wire.Round(s.Acked), Committed: wire.Round(s.Committed)}
}

// StampOf is the reverse of WireStamp.
func StampOf(s wire.Stamp) purge.Stamp {
	return purge.Stamp{Acked: purge.Round(s.Acked), Committed: purge.Round(s.Committed)}
}

// SyncedStamp is what items of a shard that are read from now on go out with.
func (rs *Records) SyncedStamp(shard int) purge.Stamp {
	if p := rs.rounds.shown[shard].Load(); p != nil {
		return p.Stamp
	}
	return purge.Stamp{}
}
