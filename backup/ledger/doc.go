// Package ledger keeps a tamper-evident log on each node, and has the peers watch it.
//
// A log is a Merkle tree after RFC 6962 of leaves that say that something was written, backed up
// or has happened, and when. It only grows. A leaf reveals no bucket, key or value, but with
// what Prove adds to it anybody can check offline for what it stands. The node signs checkpoints
// of its log, and a few peers cosign each: they have checked that it goes on from all that they
// saw of that log before. So nobody, not even who holds the node, can take back or change what is
// in the log unseen, and no two of its peers can be shown different logs for long.
//
// Nothing waits for the peers: a log that they do not cosign, as in a cut mesh, grows all the
// same, and Status tells by how many of how many it is cosigned. What is wrong with a log, of this
// node or of another, is an Alarm with the checkpoints that show it. A log that somebody has put
// back to an earlier state, or of which there are two, is cosigned no more; to delete the Dir
// of its node begins another one, of which the peers tell, too.
//
// Checkpoints, cosignatures and proofs have the forms of C2SP (tlog-checkpoint, tlog-cosignature,
// tlog-proof): programs of others accept them. Tiles have those of tlog-tiles, but
// one that is not full yet is kept under the name of the full one.
//
// # What comes into a log
//
// Append enters what its caller likes, EnterManifest a manifest of a backup: see backup.Config.Enter.
// A Feed enters the writes of buckets that the store of its node has coordinated; the dot of a
// write names that store, and so the log. It follows each bucket by a watch, and nothing of it
// is on the way of a write:
//
//	what                              is in the log
//	--------------------------------  ----------------------------------------------------
//	a write, when Put returns         not yet. Its leaf follows in about a fifth of a second,
//	                                  and is cosigned in the next round.
//
//	what the node had when it was     once the feed runs again, and has read the bucket: of
//	killed, lost its power, or the    each key those writes that none has replaced. What was
//	feed was stopped                  entered is not entered again.
//
//	a write that was replaced before  not. The N of dots counts the writes of a birth from
//	its leaf                          1, so that the log shows which numbers are missing.
//	                                  FeedStatus.LeftOut counts them.
//
//	what was there before the feed    values. Deletes of that time are not.
//	ran for the first time
//
//	concurrent writes                 all of them.
//
//	a delete, or a value that had     with a Sum of zeros, unless it was purged before. A
//	ended by its TTL before its leaf  delete of what is deleted may be left out.
//
//	a write in an outbox              when a store has taken it, in the log of that one.
//
//	a write of a node without a feed  not; nor if its disk is lost before the leaf.
//
//	the same write twice              after a fault of the disk, or with two feeds at a time.
//
// ProveKey goes from a key to such a leaf, in the log of whichever node it is.
//
// A feed holds about 40 bytes in memory for each key that its store has written, and reads the
// log when it begins. Every node that feeds from a bucket follows all of it, also what lies on
// other nodes alone. Whoever has the secret of the mesh can make up writes of any store.
//
// # What is not here
//
// Time is that of the node, which may be wrong; the times of cosignatures
// are those of the peers. Keys are believed as each node tells them the first time over the
// mesh: whoever has the secret of the mesh can pose as a node that nobody has met. A log is never
// cut short.
package ledger
