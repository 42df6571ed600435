// Package slice has the words for records that leave a mesh and come back: what a store exports for
// backups, and what it takes in again.
package slice

import (
	"bytes"
	"slices"
	"time"
)

// Slice is the records of one bucket in one shard.
type Slice struct {
	Bucket string
	Shard  int
	// Def is the definition of the bucket. Two buckets may have one name, when two sides of a cut
	// have defined it apart from each other; then this tells them apart.
	Def []byte
	// Digest is equal as long as no record changes, as far as a hash of 128 bits can tell.
	// It is as of before the records are read. Zero: see Err.
	Digest [16]byte
	// Origin goes with the records when they are taken in again.
	Origin []byte
	// Err says why the slice cannot be read now.
	Err error
}

// Record is one record of a slice: what the store keeps of a key, deletes among it, or what was
// purged of one lately.
type Record struct {
	Purged  bool
	Key     string
	Version uint64 // equal as long as the item does not change, as far as a hash can tell
	Item    []byte // valid during the call that tells it
}

// Old is a record that was exported, here or from another mesh.
type Old struct {
	Key  string
	Item []byte
	// Origin is that of the slice in which it was read; empty: nobody knows.
	Origin []byte
	// Gone are the items of that key that were told to be purged, in this slice or in a
	// later one of the same shard. Whole says that nobody is known to have purged anything of
	// the shard after Origin that Gone may lack. It counts where the mesh cannot tell, as it is
	// another one than that of Origin, or was made anew.
	Gone  [][]byte
	Whole bool
}

// Imported tells what became of records.
type Imported struct {
	// Brought is how many of them had something that the mesh lacked. It is synced on more
	// than half of the homes of each.
	Brought int
	// Refused are the places of those that may have been deleted since, so that to bring
	// them back could revive what was deleted, and of those that do not fit to what the mesh
	// has: they were not taken in, at least not whole.
	Refused []int
}

// Current is what a read shows of a key.
type Current struct {
	// Last is the value by the rule of last-writer-wins, and Live whether there is one. All are
	// the concurrent values, deletes left out.
	Last []byte
	Live bool
	All  [][]byte
	// Known tells whether a write of the key is remembered, a delete among it.
	Known bool
	// Seen is the context of the read: equal as long as nobody writes.
	Seen []byte
	// Err is why it could not be read, by enough stores to be sure. Then the rest is zero.
	Err error
}

// Anew is values that are to be written to a key, beside each other, in the place of what a read
// has seen and of nothing else.
type Anew struct {
	Key    string
	Values [][]byte
	// TTL is how long each value lives. Zero: for ever.
	TTL  []time.Duration
	Seen []byte
}

// Rewritten tells what became of an Anew.
type Rewritten struct {
	// Raced says that somebody has written the key at the same time: what he has written is kept
	// beside the values, or hidden by them, or hides them, as the policy of the bucket says.
	Raced bool
	// Err says why the values were not written, or why it is not known; some may have been.
	Err error
}

// SameValues tells whether two lists hold the same values, in any order.
func SameValues(a, b [][]byte) bool {
	left := append([][]byte(nil), b...)
	for _, v := range a {
		i := slices.IndexFunc(left, func(w []byte) bool { return bytes.Equal(v, w) })
		if i < 0 {
			return false
		}
		left = append(left[:i], left[i+1:]...)
	}
	return len(left) == 0
}
