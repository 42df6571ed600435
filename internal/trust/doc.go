// Package trust decides who is a node of a mesh by what keys have signed: whether a
// charter goes on from the one before, a statement counts, a passport is good, and an entry
// is what its device may say. No shell uses it yet.
//
// # Charters
//
// A node begins with the charter of epoch 1 that it was given: by its hash. The next has
// the epoch above, names the hash of the one before, and is signed by as many of the roots
// of that one as its threshold says; where it has other roots or another threshold, by as
// many of its own as well. The whole chain is kept and handed on without gaps.
//
// Two charters of one epoch are a fork: operators on two sides of a cut have each written
// one. The lower hash wins, everywhere and in any order, and an alarm is told. A charter
// that has a successor is final. So who comes by roots that were taken out of office long
// ago cannot write another past. The price: where both sides have gone on with a second
// charter, neither gives up its own, and people have to choose.
//
// # Statements
//
// Statements are a set that only grows: it needs no order and no clock, and is the same on
// all nodes that have heard the same. One counts while the charter has its signer as a
// revoker. It leaves only by a charter: one that does not have the signer any more, or has
// retired every generation that it speaks of, and is final: a charter that may yet lose
// against another takes nothing out of the set for good. The set is bounded; when it is full,
// statements about tokens make room for others. Others are then refused, never dropped.
//
// # Floors
//
// The epoch never falls, nor does what a charter of ours has ever said to be the lowest
// generation of an issuer, not even where a fork takes that charter back.
//
// # Secret mode
//
// Where a mesh has a secret and no authority, FoundBySecret yields the charter of epoch 1:
// the key that the secret yields is its root, issuer and revoker. All else is the same.
//
// Nothing here looks at a clock. A State is not safe for concurrent use.
package trust
