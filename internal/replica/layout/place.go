package layout

import (
	"errors"

	"github.com/cespare/xxhash/v2"

	"github.com/skeinmesh/skein/internal/wire"
)

// SystemBucket is the id of the bucket whose items define all others. Its
// keys are names, its values definitions. All of it lies in shard 0, and every
// Storing node is a home of it.
const SystemBucket = 1

// BucketID hashes all that never changes of a bucket.
func BucketID(def []byte) uint64 {
	id := xxhash.Sum64(def)
	if id <= SystemBucket {
		id += SystemBucket + 1
	}
	return id
}

// Slice is what two stores compare: the records of one bucket in one shard.
// Buckets are told apart because their homes differ.
type Slice struct {
	Bucket uint64
	Shard  int
}

// Place is where a key's record is.
type Place struct {
	Slice
	Key    string
	Record []byte // storage key
}

// PlaceOf reads a storage key; ok is false if it is not that of a record. The place holds on
// to the key.
func PlaceOf(record []byte) (at Place, ok bool) {
	shard, bucket, key, ok := wire.ParseRecordKey(record)
	return Place{Slice{bucket, shard}, key, record}, ok
}

// ErrUnknownBucket: a bucket of which the definition has not come here.
var ErrUnknownBucket = errors.New("replica: unknown bucket")
