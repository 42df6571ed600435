// Package replica keeps items on several nodes of a mesh, and keeps what it
// said it keeps.
//
// A Store opens on a running mesh node and holds that node's part of the data.
// A Bucket is a named set of items that are kept alike. Any node may put, get
// and delete any item at any time, with whatever other nodes it can reach: a
// cut mesh goes on on all its sides, and when the sides meet again they become
// equal, with no one in charge.
//
// # Promises and limits
//
//	promise                                 until when                        what you see
//	--------------------------------------  --------------------------------  ------------------------------
//	What was acknowledged stays: it was     All of these lose their disks     ErrDegraded beside a Result:
//	synced on Result.Durable distinct       before they could pass it on.     it is kept, but on fewer
//	stores before the call returned.        The other homes of the key get    stores than asked for.
//	                                        it in the background, those that
//	                                        are down when they return.
//
//	A write in the outbox of a node that    It gets older than OutboxAge or   Queued beside ErrDegraded.
//	stores nothing is synced on that one    makes room for a higher           Status and Health: how many
//	disk.                                   priority; that disk is lost, or   wait, how many bytes, for how
//	                                        damaged: an outbox is not         long, why; how many were given
//	                                        mended.                           up, which is logged, too.
//
//	Nothing unsynced is shown, to a reader  Always.                           -
//	or to another node: it is on disk
//	where it comes from.
//
//	Nothing concurrent is dropped. A value  Always. A key has 32 concurrent   One value, by causality first
//	disappears when a write replaces it     values at most, and a write that  and the later clock second, or
//	that had seen it: one that carries the  replaces none of them is          all: see Policy and
//	Context of a read, or a blind one at a  refused; one that has seen them   Item.Siblings.
//	store that knew the value.              replaces them.                    ErrSiblingLimit.
//
//	Clocks decide only which of concurrent  There are two storing nodes:      Health says which clock is
//	values is shown, and when a TTL ends.   nobody can tell who is right,     off, by how much.
//	A clock that is off by more than        and a value lives on by the
//	MaxSkew, either way, does not count:    later clock.
//	the median of the peers' does.
//
//	What a leader has written is replaced   The key is deleted and purged, or ErrFenced, where a store that
//	by no write with a lower token, or      its TTL has ended and it is.      is asked has seen the higher
//	none, and LastWriterWins shows it,                                        token: see below.
//	whatever the clocks say.
//
//	Deletes stay deleted, also when a node  Always. So deletes take room      Health.PurgeBlocked, after a
//	returns after weeks. The record of a    while a member is away.           week of running: whom to bring
//	delete is forgotten only when every                                       back or give up, and what they
//	storing member, down ones included,                                       take.
//	has acknowledged that it holds nothing
//	older any more and takes in nothing
//	that was read before; never because of
//	time. One that was not asked, because
//	it was given up, catches up before
//	anything is taken from it.
//
//	Values whose TTL has ended are          The clock is not vouched for, see They read as deleted all the
//	forgotten, too. Before that, a minute   below.                            same. Health.Expired tells
//	and MaxSkew after their end, their                                        what waits.
//	bytes go, whoever is away.
//
//	A missing or damaged record is not an   Only the damaged block held it,   Health.Problems, also where it
//	answer, and never taken for a deleted   as with Copies: 1. Then it is     cannot be mended. Only a store
//	one: each has a checksum, and one that  lost, and reads as not found      that cannot open without what
//	is bad reads as unknown and is fetched  once all nodes were asked.        is damaged does not, and says
//	from its other homes. Of a part of the                                    what to do.
//	disk that does not read a block of
//	records is given up, as a rule, all
//	but what can be read some other way;
//	what the store does not hold proves
//	nothing until it has compared with the
//	other homes, which bring it back.
//
//	A full disk stops writes here alone:    A sync fails: the store stops.    ErrStorageFull; ErrStorage,
//	reads go on, and writes go to homes     Of Config.ReserveBytes an eighth  and Health says what to do.
//	that have room. Deletes go on on the    is left: deletes are refused,
//	full disk too, and give room back       too, until others make room.
//	within seconds, without a restart.
//	What has expired gives its room first,
//	within five seconds of MaxSkew after
//	its end.
//
//	A get returns what the stores that it   It may miss what another store    -
//	asked know, with causal order for each  acknowledged a moment ago, as
//	key. With GetOptions.Seen it goes on    across a cut. With Quorum for
//	until that covers what its client has   writes and reads alike it sees
//	seen.                                   the last completed write, while
//	                                        homes are in reach. There is no
//	                                        transaction over keys and no
//	                                        compare-and-set.
//
//	A write that ended in an error other    Until then it may or may not      The error.
//	than ErrDegraded may be written again:  have been kept.
//	it replaces what the first attempt
//	left.
//
//	While a node joins nothing is lost to   Reads that meet only those        ErrDegraded beside ErrNotFound
//	readers. Its new homes know of nothing  cannot be sure before the homes   until then.
//	for some seconds.                       before them were heard; with
//	                                        Copies: 1, or when several homes
//	                                        of a shard change at once, all
//	                                        storing nodes.
//
//	What a member that is down held is      Not while one of those asked      Health says which link to
//	copied elsewhere.                       still reaches it; they are drawn  mend.
//	                                        anew each time. Nodes of
//	                                        releases that do not know the
//	                                        question cannot be asked: where
//	                                        there are too few others copying
//	                                        waits until they are updated.
//
//	What lives is not copied in its place.  Three witnesses are not all: a    Health.Lost.
//	                                        fourth, which was not asked, may
//	                                        reach what three do not. Too
//	                                        much is copied then, not too
//	                                        little, and goes when it is
//	                                        back.
//
//	A disk that was put back to an older    Not within the same boot of the   Health.SetAside counts that.
//	state is found out.                     machine; see
//	                                        Config.DistrustDisk. The store
//	                                        then catches up with deletes
//	                                        before it gives anything out;
//	                                        what it cannot vouch for, as all
//	                                        other disks of that time are
//	                                        gone, is set aside, not served.
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
// # What a TTL means when clocks are wrong
//
// A TTL counts from when the write reaches the store that coordinates it. By whose
// clock that is, and by whose it has ended, is a matter of what the storing nodes' clocks
// show: the median of those that were read counts where one is off by more than MaxSkew,
// whatever its own node believes. So a value lives for its TTL, and for twice MaxSkew more
// at the most:
//
//	what is wrong                     what becomes of values with a TTL
//	--------------------------------  ----------------------------------------------------
//	the clock of the node that        They live for their TTL, as they would by the median.
//	writes, or of the store that      A store that has just started asks for the others'
//	coordinates: ahead or behind      clocks before it dates the end of a value.
//
//	the clock of the node that        It finds what the others find: it judges by the
//	reads: ahead or behind            median. With two storing nodes it judges by its own
//	                                  clock, and may find values too long, or not find them
//	                                  while that is ahead.
//
//	one of two storing nodes' clocks  Nobody can tell which. A value lives on by the later
//	                                  one. Health says so, and no value is forgotten.
//
//	the clocks of a whole site, or    They end by those clocks. What is written while they
//	that of the only store            are ahead lives too long once they are right, by as
//	                                  much; what is written while they are behind has ended
//	                                  by then, unless the disks of its stores held later
//	                                  dates when they were started. Nothing is forgotten
//	                                  within an hour of a step of the clock, or of a start.
//
//	they are set right later          From the first write on all TTLs count by the right
//	                                  time, also of keys that were written before, where
//	                                  more than half of all storing nodes' clocks tell it.
//	                                  The only store needs an hour without a step for that.
//	                                  What a store had dated ahead before it was started
//	                                  anew stays: its clock might be behind. Until then
//	                                  TTLs count from the later time, and Health says so.
//
//	a node, or a side, is cut off     The others' clocks count as they went on when they
//	                                  were last seen. One that has not seen enough of them
//	                                  since it was started goes by those that it has.
//
//	whatever                          Values give their bytes back for good only by a clock
//	                                  with which those of more than half of all storing
//	                                  nodes agree, as far as a node has read them since it
//	                                  was started: never by that of one that is alone, or
//	                                  of a side with half of them or less that has come up
//	                                  by itself. They keep their bytes until then.
//
// An item with concurrent values keeps the bytes of those that have ended until all of them
// have, or until the next write that has seen them.
//
// # Scans
//
// Bucket.Scan reads all keys, or some, in order, from all nodes at once:
//
//	while                             a scan
//	--------------------------------  ----------------------------------------------------
//	nodes die, restart, join, leave   comes to an item that lived throughout exactly once:
//	or heal                           another home is asked from the last key on.
//
//	a part of the mesh is cut off     comes to what this part holds. ErrDegraded says of
//	                                  which shards, and from where on, items may be missing
//	                                  or older than acknowledged, or be there although they
//	                                  were deleted. A silent store costs one to two times
//	                                  Config.AckTimeout, and that again every four, while
//	                                  it counts as alive and a shard lacks homes.
//
//	no store is in reach of a node    ends in ErrUnavailable.
//	that stores nothing
//
//	nodes of an earlier release are   takes them for nodes that are cut off: they do not
//	there                             know the question.
//
//	a clock is off                    goes on in order. Whether a TTL has ended, so that the
//	                                  item is left out, and which of concurrent values is
//	                                  shown, is judged as by Get.
//
//	a disk is full                    goes on: nothing is written for it.
//
//	a disk fails, or a record is      takes what the other homes hold. On a node whose own
//	damaged                           disk has failed a key on which they do not agree makes
//	                                  its shard one of which items may be missing.
//
//	a disk hangs                      asks others in the place of another node's. It waits
//	                                  for that of its own node.
//
//	deletes are purged                does not come to what was deleted before it began, but
//	                                  beside ErrDegraded.
//
//	nobody consumes it                holds two pages of each node in memory. A node that
//	                                  it asked keeps what it has read ahead for ten seconds,
//	                                  2 MiB at most, and of four scans. It goes on when it
//	                                  is consumed, with the homes of that time.
//
//	many scan at once                 waits for its turn: a store reads four pages at a
//	                                  time, of 128 KiB. One that has refused a page a
//	                                  hundred times, or has no room for requests at all,
//	                                  counts as silent.
//
// # Watches
//
// Bucket.Watch tells of changes as they happen, from one home of each shard at a time:
//
//	while                             a watch
//	--------------------------------  ----------------------------------------------------
//	nothing happens                   is told by each node that it follows, once in twice
//	                                  Config.AckTimeout, that it is there: a second by
//	                                  default.
//
//	a node that it follows dies, is   notices that at once when the mesh does, else after
//	cut off or hangs                  three of these beats. It tells a gap, follows another
//	                                  home, reads the shards concerned anew and tells what is
//	                                  news. Without another home the gap stays open until one
//	                                  is back.
//
//	such a node is restarted          tells a gap and reads its shards anew: what it would
//	                                  have told is remembered in memory only.
//
//	nodes join or leave               tells a gap of those shards whose home it followed is
//	                                  none any more, and reads them anew.
//
//	too few homes are in reach to     keeps the gap open and reads anew, less and less often,
//	know what exists                  until there are enough. Changes of the home that it
//	                                  follows are told meanwhile.
//
//	no store is in reach of a node    tells a gap and waits.
//	that stores nothing
//
//	nodes of an earlier release are   takes them for nodes that are cut off.
//	there
//
//	a clock is off                    tells the end of a TTL when a home, or its own node,
//	                                  sees it, by the rule by which they read. A put that has
//	                                  ended when it comes is told as its end.
//
//	a disk is full or has failed      tells a gap, follows other homes and reads the shards
//	                                  concerned anew: such a home misses what is written.
//	                                  Without another one the gap stays open. Nothing is
//	                                  written for a watch.
//
//	deletes are purged                has been told of them before, but within a gap: then it
//	                                  tells the delete of a key that is among those that it
//	                                  told last.
//
//	nobody consumes it                holds a page of each node, and fetches nothing. It ends
//	                                  in ErrTooSlow once a node has forgotten what comes
//	                                  next. Nobody waits for it.
//
//	values under Siblings end         tells an end when no value is left. That one of several
//	                                  has ended is seen by a Get.
//
// While nobody watches a store keeps no changes, nor five minutes later: then a cursor is
// good for a watch behind a gap.
//
// # Reads of what was seen
//
// A get with GetOptions.Seen goes on until what it shows covers what its client has seen:
// its own write, or what it has read elsewhere. It asks the homes first, then all stores,
// then all of them again.
//
//	while                             such a get
//	--------------------------------  ----------------------------------------------------
//	copies are on their way           waits for the first store that has what was seen.
//
//	who has it is down, or cut off    goes on until the deadline of ctx, or for three times
//	                                  Config.AckTimeout without one. ErrBehind names the
//	                                  missing writes beside what is known here.
//
//	it waits in this node's outbox    waits for its delivery as long. Only the Context that
//	                                  the write returned here tells of it.
//
//	it was deleted and purged since   shows what there is, once all stores have said twice
//	                                  that they do not know it; one that cannot be asked
//	                                  might.
//
//	a clock is off                    does not depend on it.
//
//	a disk is full, or has failed     takes what the other stores know. What a full disk
//	                                  holds is read.
//
// # Batches
//
// Bucket.PutMany, Bucket.DeleteMany and Bucket.GetMany do what a Put, Delete or Get for
// each entry would, with one message for each store and, of writes, one sync at each, or few
// where they are large. Each entry has its own result, and the writes of one key happen in
// their order. A batch is no transaction:
//
//	while                             a batch
//	--------------------------------  ----------------------------------------------------
//	an entry cannot be: its key or    is refused as a whole. ErrBadBatch names all such
//	value is too large, its context   entries, and nothing was begun.
//	belongs to another key
//
//	others read                       may be seen in part, and kept in part for good where
//	                                  some of its entries end in an error.
//
//	a home dies, or is silent         takes no longer than a put. What that home was to
//	                                  coordinate goes to other homes, in the order of each
//	                                  key; ErrDegraded is said of each entry of its own.
//
//	a part of the mesh is cut off     is kept by the stores on this side, as puts are. On a
//	                                  node that stores nothing those entries wait in the
//	                                  outbox that no store takes, or that follow others of
//	                                  their key there.
//
//	a store has no room for all       ends in ErrOverloaded from the first entry on that it
//	                                  does not take; the entries of other stores go on.
//	                                  One that finds nothing else under way at a store
//	                                  that was never late is taken whole.
//
//	a disk is full                    goes to homes that have room, entry by entry;
//	                                  ErrStorageFull where none has.
//
//	a clock is off                    is dated as puts are. A TTL counts for each entry.
//
//	nodes of an earlier release are   passes them over: other homes coordinate, or the
//	there                             writing node does if it stores, or its outbox waits.
//
// # Keys of a leader
//
// A program that leads an election writes with its token: PutOptions.Token. Then one that
// led before it, and does not know yet that it leads no more, cannot write over it. A key
// keeps the highest token that it was written with. A write that shows that one or a higher one
// goes; one that shows a lower one, or none, ends in ErrFenced, and FencedBy tells the token
// that was seen. All writes of a key show tokens of one election.
//
//	while                             such a key
//	--------------------------------  ----------------------------------------------------
//	all homes are in contact          refuses what shows a lower token than a write that was
//	                                  acknowledged, where both are of level Quorum: one home
//	                                  knows both. So it is with Sloppy(2) of three copies.
//
//	a store that coordinates has not  is told of it by the other homes that it asks: ErrFenced
//	seen the higher token             comes in place of the acknowledgement, and of
//	                                  ErrDegraded. What has been kept of the write stays
//	                                  beside the later leader's: LastWriterWins never shows
//	                                  it, Siblings does. Is none of those that have seen it
//	                                  in reach, as across a cut, the write is acknowledged.
//
//	two sides of a cut have leaders   is written on both. When they meet LastWriterWins shows
//	                                  what has the higher token, whatever the dates, deletes
//	                                  among it. Siblings shows all values, as ever: only the
//	                                  leader of the higher token, or a later one, can write
//	                                  what replaces them.
//
//	a leader takes over               takes the former one's writes until the new one has
//	                                  written it. So a new leader writes a key, if only to
//	                                  claim it, before it builds on what it has read of it.
//	                                  The token of a lead may grow: take it for each write.
//
//	an operator, or another program,  is written with the token that a read tells,
//	has to write it                   Context.Token. Without one it is refused: nobody writes
//	                                  over a leader's key by mistake.
//
//	it is deleted, or its TTL ends    keeps its token until the delete, or what has ended, is
//	                                  purged: at any moment after it, see Config.PurgeEvery.
//	                                  Then it is a new key, and a former leader may write it.
//	                                  Who must not let that happen writes that it is gone in
//	                                  place of a delete.
//
//	a write of it waits in an outbox  is written in the order of tokens: the outbox refuses a
//	                                  lower one than waits in it. When it is delivered, and a
//	                                  later leader has written meanwhile, it is given up:
//	                                  that is logged, and Status.OutboxDropped counts it.
//
//	nodes of an earlier release are   is not read by them, nor copied to them, and neither is
//	there                             what travels in one message with it: update all storing
//	                                  nodes before the first token is shown. A directory that
//	                                  holds such keys is not for an earlier release any more.
//
// # Members that come and go
//
// Where items belong follows from who belongs to the mesh, not from who is
// alive. What a home misses while it is down is kept for it by others; when it
// has been seen down for Config.HealAfter, and other nodes have said that they do
// not reach it either, copies are made elsewhere until it is back. A store that is
// no home any more lets go of a record only when all homes have vouched that they
// hold it. A home that came by a join vouches for what does not exist only once it
// has what the homes before it knew. Node.Leave
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
// closed), and becomes concurrent with what others have written meanwhile. Until
// then a write that has seen an earlier one of the key in the outbox takes its
// place there. A crash at the wrong moment has a write delivered twice, as two
// writes of the same value.
//
// # Several stores in one process
//
// A goroutine that waits for a disk keeps the processor that Go has lent it until
// the runtime's monitor notices, 20 us to 10 ms later. When all of GOMAXPROCS are
// kept that way nothing else runs. With two storing nodes in a process on two cores
// the slowest puts took 1.7 times as long beside a healing as with a process for
// each. A process with several stores, or on a single core, should have one more for
// each store: runtime.GOMAXPROCS(runtime.NumCPU() + stores).
//
// # Who owns bytes
//
// Keys and values given to this package stay the caller's; it copies what it
// keeps. What it returns is the caller's.
package replica
