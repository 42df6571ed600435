// Package replica keeps items on several nodes of a mesh, and keeps what it
// said it keeps.
//
// A Store opens on a running mesh node and holds that node's part of the data.
// A Bucket is a named set of items that are kept alike. Any node may put, get
// and delete any item at any time, with whatever other nodes it can reach: a
// cut mesh goes on on all its sides, and when the sides meet again they become
// equal, with no one in charge.
//
// # What is promised
//
// A write that returned is synced to disk on Result.Durable distinct stores.
// It is lost only if all of them lose their disks, and all that have got it
// since: the remaining homes of the key get it in the background, those that
// are down when they return. ErrDegraded beside a Result says that the write
// is kept, but on fewer stores than was asked for.
//
// A value disappears when a write replaces it that had seen it: one that
// carries the Context of a read, or a blind one at a store that knew the
// value. Writes that have not seen each other are concurrent, and all of them
// are kept until the next write that has seen them. A reader is shown one
// value, by causality first and the later clock second, or all of them; see
// Policy. Clocks decide nothing else. A wrong clock can make the wrong one of
// two concurrent writes the one shown; it cannot lose either.
//
// A missing or damaged record is never taken for a deleted one. The record of a
// delete is forgotten only when every storing member has acknowledged that it
// holds nothing older any more, those that are down included, and takes in
// nothing that was read before. Time alone never does it.
//
// # How long it takes
//
// No put, delete or get waits for long for stores that are silent, be it that one is
// frozen or that most are behind a cut that nobody has noticed yet: it returns within
// three times Config.AckTimeout, 1.5 s by default, and mostly within one and a bit.
// What could not be asked by then is told by ErrDegraded, or ErrUnavailable where
// nobody was there; copies that are missing are made later. What disks take comes on
// top, a store that answers other questions has more time for the write that it is
// at, and ctx ends all of it sooner. A write that is handed to a second store is not
// committed by the first one any more.
//
// # Members that come and go
//
// Where items belong follows from who belongs to the mesh, not from who is
// alive. What a home misses while it is down is kept for it by others; when it
// has been seen down for Config.HealAfter, and other nodes have said that they do
// not reach it either, copies are made elsewhere until it is back. A store that is no home any more lets go of a record only when all homes
// have vouched that they hold it. A home that came by a join vouches for what
// does not exist only once it has what the homes before it knew. Node.Leave
// hands over what the node holds to the homes in reach and gives others what it
// keeps for those that are not; where nobody is there to take it the node stays.
// A member that will not come back must be given up by an operator
// (mesh.Node.Evict), or be replaced by a new disk under its name. Health tells,
// shard by shard, how all this stands. What came back, was filled again or has missed
// a write is compared with until the digests are equal; before that Health counts
// the shards as syncing.
//
// # Data of a former identity
//
// A node that was evicted, has left or was replaced, or whose disk was rolled
// back, comes back under a new NodeID, and the mesh sets its old data aside. Open
// finds it, and takes it in in the background once homes are in contact, at the
// pace of all copying; a restart goes on where it was. A key that the mesh has is
// merged, which a write can only gain from. One that it has not is added, unless
// it was deleted since: that the other members' memory of purged deletes tells. A
// write that the delete had not seen is no part of what was deleted, and is kept.
// Where nobody remembers far enough back the record is refused: it stays in the
// old directory, named in a list, and an operator decides (Inspect shows it). If
// the disk was rolled back, ids that it gave out may name other writes: those
// values are written anew, with their old dates, as concurrent ones. An old
// directory of which nothing was refused and everything read is removed once more
// than half of the homes of each record have synced what was brought; any other
// one is kept.
//
// # What is not
//
// A read returns what the stores it asked know, which may be old: level
// Quorum for writes and reads alike makes reads see the last completed write
// while homes of the key are in reach. There is no compare-and-set and no
// transaction over keys. A write that ended in an error other than ErrDegraded
// may have been kept.
//
// # Nodes that store nothing
//
// A node whose mesh.Config says Storing: false holds no items and coordinates
// no writes; it reads and writes through the nodes that do. Out of their reach
// its reads end in ErrUnavailable, and its writes are synced into an outbox on
// its own disk, see Result.Queued: bounded by Config.OutboxBytes and
// Config.OutboxAge, kept over restarts, and delivered by
// BucketConfig.Priority when a store can be reached. Delivered, it is a new
// write of that moment, also to LastWriterWins: it replaces what its client
// had seen, a blind one what this node had last written of the key, and
// what was there at that time (it remembers some thousand keys, until it is
// closed), and becomes concurrent with what others have written meanwhile. Until then a
// write that has seen an earlier one of the key in the outbox takes its place
// there. A crash at the wrong moment has a write delivered twice, as two
// writes of the same value.
//
// What is older than OutboxAge, or has to make room for a higher priority, is
// given up. Status counts that, and it is logged.
//
// # Several stores in one process
//
// A goroutine that waits for a disk keeps the processor that Go has lent it until
// the runtime's monitor notices, 20 us to 10 ms later. When all of GOMAXPROCS are
// kept that way nothing else runs. A process with several stores, or on a single
// core, should have one more of them for each store; see runtime.GOMAXPROCS.
//
// # Who owns bytes
//
// Keys and values given to this package stay the caller's; it copies what it
// keeps. What it returns is the caller's.
package replica
