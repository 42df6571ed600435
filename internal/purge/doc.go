// Package purge decides when the record of a delete may go for good. It is the
// pure core of what internal/README.md says in protocol A.7 and A.8.
//
// A tomb that one store forgets while another still holds, or carries, the
// value it had deleted lets that value come back. How long such a copy may
// live no clock can tell: a gateway may be off for months. So tombs go in
// rounds, by shard, and by acknowledgement of every storing member, those that
// are down included.
//
// A store that acknowledges a round holds, of each key in it, nothing older
// than the tomb, and from then on takes in only what was read at stores that
// had acknowledged the round as well: every item in motion carries the stamp
// that its store had in the shard when the item was read there, and the stamp
// travels with it unchanged, through read repair too. By induction no store
// that has acknowledged ever holds what the tomb had deleted as live. Once all
// have, that is everyone, and the tomb may go.
//
// A store that was not asked, because it joined later or had been evicted and
// brings its old data, first catches up with the rounds it has missed, from
// the log that the others keep of them. It does so with every round that any
// member has acknowledged: of which of them all had acknowledged, those who know
// may not have been heard yet.
//
// What a store has left that is no member any more is held against the same log,
// and against what homes hold, record by record; see Old. It is never merged as
// such: nobody has waited for its acknowledgement.
//
// # Duties of the caller
//
//   - Read the stamp before the item that it is sent with, or together with it;
//     show a stamp only once it is synced.
//   - Store a new stamp in the batch that holds the tombs of its round, and make
//     no other change to the shard between the check and that batch.
//   - Keep what a round has deleted in the log; say from where on it is whole.
package purge
