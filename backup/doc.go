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
// Beside buckets a policy names Sources: files of the application on its node. They are backed up as a
// slice of their own, of which the records are pieces of files, and RestoreSource gives them back.
//
// # Promises and limits
//
//	promise                                 until when                        what you see
//	--------------------------------------  --------------------------------  --------------------------
//	A restore makes nothing older than it   Always.                           -
//	is and undoes no delete.
//
//	What PutBack writes replaces what its   Somebody writes the key in the    PutBackResult.Raced.
//	read has seen, and nothing else.        moment between: both are kept,
//	                                        as concurrent values.
//
//	What may have been deleted since, and   The backups were made more than   Restored.Refused.
//	nobody remembers, is not brought back.  1 024 deletes of a shard apart,
//	                                        or the mesh has forgotten as
//	                                        many since.
//
//	A backup holds what its node had        Records larger than 14 MiB, as    Done.TooLarge, NotReady and
//	synced when it was begun.               concurrent values may be          Failed; LevelStatus.Last.
//	                                        together; slices that the node
//	                                        cannot vouch for, or of which a
//	                                        record does not read: what an
//	                                        earlier backup has of them
//	                                        stays.
//
//	A file of a Source is as it was read.   It was written while it was       Done.Failed, unless it
//	                                        read; it could not be read: then  has only grown.
//	                                        what an earlier backup has of it
//	                                        stays. In all 256 MiB, 10 000
//	                                        files.
//
//	A damaged, missing or exchanged object  All tiers that have it are        Restored.Faults; Lost where
//	is named, and a copy at another tier,   damaged.                          there was none.
//	or an older backup, is used instead.
//
//	A tier that fails, or a node that dies  Always.                           LevelStatus.Error. The next
//	at any moment, costs nothing that was                                     try begins after 10 s, and
//	there before.                                                             later more.
//
//	A manifest that was put is in the       More than 1 000 wait: the oldest  LevelStatus.Unentered, and
//	ledger, with Config.Enter, or is owed   are given up, of which later      a warning in the log.
//	to it over restarts, and a backup       manifests hold the hashes.
//	never fails for that.
//
//	Backups are made when they are due,     The objective is missed.          Alarm; LevelStatus.Missed.
//	whatever clocks say; one that was       A slice is never whole.           Alarm; LevelStatus.Bare.
//	missed is made up once.
//
// What stands at a tier is deleted by nobody but Prune, and by each node for itself, for Level.Keep.
// A base may be as old as its slice is unchanged: a lifecycle of the bucket that deletes by age deletes
// what is needed. The next backup notices, where the node may list, and begins anew.
//
// A restore puts a pin at each tier that it reads, a small object "MESH/p-TIME-RANDOM", and every 20 minutes
// another one in its place; it removes it at its end. While there is one, Prune keeps what it would delete
// for three days more, at a tier that is full as well. Later it goes all the same, so that nobody who can put
// holds up deleting for ever. A restore that died leaves its pin: it holds for a day, and Prune deletes it
// a day later. Needed are credentials that may put and delete there, a clock within a day where the tier
// has none, and nodes of a release that knows of pins. A pass of Prune that has looked at pins already goes
// on, and at other nodes (package peers) a node does not see a pin of which it has the only copy.
// Restored.Unpinned names the tiers where no pin could be put: there choose Level.Keep with room.
//
// # What a thief gets
//
// The node has the recipients, not the identities: whoever takes it opens no backup. He has what
// its disk holds, and its credentials at the tiers: let them put only, or give each node a prefix.
//
// Whoever can write at a tier can write manifests that read as those of a node. The signature shows
// that a manifest was not changed, and its key who has written it: name the keys of your nodes, see
// Backup.Key, as RestoreConfig.Signers before you restore from a tier that others can write to. A
// tier that was put back to an older state as a whole cannot be told from one that has not got more.
//
// # Not built
//
//   - Copies from tier to tier.
//   - A put-back that deletes what was not there then; one of keys that leaders write under tokens.
//   - A schedule of drills: see Drill.
//   - An alarm for slices that nobody backs up, as their first home runs no Backup: see to it that all
//     storing nodes run one.
//   - A restore that is begun anew passes over slices that it has brought, see RestoreConfig.Resume;
//     within a slice it reads all again, and brings what is missing.
//   - A backup that breaks off begins anew, and leaves segments that go a day after the next good one.
//   - A restore holds all records of a slice in memory, and all manifests of a tier.
//   - Of a mesh that was made anew under the same secret, name and number of shards the backups of
//     both lives lie side by side: restore one of them by time before the new one makes backups.
//   - Progress of bytes to come; alarms by the webhooks of failover: OnAlarm is the place for a sender.
package backup
