// Package backup keeps what a mesh holds in places that outlive it, sealed to somebody who is not
// on its devices, and brings it back: into the same mesh or another one, of any size.
//
// # The idea
//
// Items merge, so backups need no coordinator. Each node backs up the slices (the records of one
// bucket in one shard) of which it is the first home in contact, into a prefix of its own: there are
// no locks, and nothing that two nodes write. What is read of several nodes is merged.
//
// A backup is a manifest and the segments that it names. A slice is a base and what has changed
// since, record by record, so that a second backup of a hundred thousand records of which a hundred
// have changed holds a hundred records. Each object is compressed (zstd) and sealed by age with a key of
// its own, which is wrapped to the recipients of the tier and then forgotten: a thief of the node opens no
// earlier backup, and neither does the node. Manifests are signed by the node and chained, so that
// changes, gaps and forks are seen without any key. What stands in the clear is who has
// backed up when, by what policy, and how large the segments are.
//
// # Promises and limits
//
//	promise                                 until when                        what you see
//	--------------------------------------  --------------------------------  --------------------------
//	A restore makes nothing older than it   Always.                           -
//	is and undoes no delete.
//
//	What may have been deleted since, and   The backups were made more than   Restored.Refused.
//	nobody remembers, is not brought back.  1 024 deletes of a shard apart,
//	                                        or the mesh has forgotten as
//	                                        many since.
//
//	A backup holds what its node had        Records larger than 12 MiB, as    Done.TooLarge; Done.Failed;
//	synced when it was begun.               concurrent values may be          LevelStatus.
//	                                        together; slices of which a
//	                                        record does not read keep what
//	                                        an earlier backup has of them.
//
//	A damaged, missing or exchanged object  All tiers that have it are        Restored.Faults; Lost where
//	is named, and a copy at another tier,   damaged.                          there was none.
//	or an older backup, is used instead.
//
//	A tier that fails, or a node that dies  Always.                           LevelStatus.Error. The next
//	at any moment, costs nothing that was                                     try begins after 10 s, and
//	there before.                                                             later more.
//
//	Backups are made when they are due,     The objective is missed.          Alarm; LevelStatus.Missed.
//	whatever clocks say; one that was
//	missed is made up once.
//
// Whoever can write at a tier can write a manifest that reads as that of a node: the signature
// shows that a manifest was not changed, and its key who has written it. Compare keys before you
// restore from a tier that you do not trust.
//
// Not built: files and functions of the application as sources, copies to further tiers from a tier,
// restore that undoes later writes, drills.
package backup
