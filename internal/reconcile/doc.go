// Package reconcile decides what one store does with one key: how a client
// write becomes a dot, how a record from elsewhere is taken in, what a reader
// is shown. It is the pure core of what internal/README.md says in protocol A: time
// and randomness are arguments, nothing is read or written here.
//
// It also holds the hashes, digests and sketches by which two stores find out
// in which records they differ (protocol D).
//
// # Duties of the caller
//
//  1. One record per key and store. Hints, adopted copies and leftovers point
//     to it; there is never a second record of a key.
//  2. Load the record, call Put or Absorb, and store the result in one step
//     of the single goroutine that commits (storage.Update). The Writer is a
//     value: work on a copy, and keep the copy only if the batch took the
//     write.
//  3. A Meta that comes back goes into the same batch as the record.
//  4. Nothing leaves the store, reads included, before that batch is synced.
//  5. A record whose checksum fails is an unknown record, the zero Local, and
//     is fetched from other homes before a write is based on it. It is never
//     a deleted one.
package reconcile
