// Package scan decides how the keys of a bucket are read in order from many stores:
// whom to ask for which shards from which key on, when a key is settled, and which
// shards too few stores could be asked for.
//
// A store keeps each shard in order of keys, and answers with pages in which the shards
// that it was asked for are merged. Scan merges the pages of all stores. Of each shard
// as many homes are asked as must say that a key is unknown for a read to conclude it,
// so what a scan does not come across is not there by the rule by which a read says so.
// A key is settled when every store that was asked for any shard has gone past it: only
// then is it known that no store has a key before it.
//
// A store that fails, or cannot vouch for what it lacks, is replaced in its shards by
// another home. That one is asked from the last settled key on, which is one place in
// the order of all keys, so that nothing comes twice and nothing is left out. For
// example, of three homes of which two are needed:
//
//	A: a b c | fails             settled: a b
//	B: a b | silent so far       c is not settled, B may have one between b and c
//	C is asked in A's place for what comes after b, and c comes from C
//
// Where the homes do not suffice every other store is asked, too: it may hold what the
// homes do not, as the homes before a join do. The shard is then a gap, told once: keys
// of it may be missing from there on.
//
// The caller's duties. It carries out Asks after each event. It reports of each either
// Paged or Failed, unless the ask was given up; late reports are ignored. It calls Replan
// when the homes of shards, or who can be asked, has changed. It reads a key that is
// damaged or disputed by itself, and calls NoteGap where that has not decided either. It
// tells Gaps before the next key.
package scan
