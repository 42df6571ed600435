// Package mesh joins nodes into a mesh without any centre: they find each
// other, know who belongs to the mesh, see who lives, and call each other
// over authenticated connections. Every node runs the same code, and one that
// reaches nobody works on by itself.
//
// # The idea
//
// A mesh is a secret, a name and a shard count. Nodes that agree in the three
// are one mesh and merge when they meet, also after each has run alone for
// weeks; others never do. Whoever holds the secret can join as any node.
//
// A node is a data directory. Its NodeID is minted with the directory, and
// lives and dies with the data in it: an empty disk under an old name is a
// new node, which replaces the old one unless that one still runs. Identity
// is never shared: a copy of a running node's directory, or one restored from
// an old image, is found out as soon as it meets anybody, and stops with
// ErrIdentityConflict or ErrRolledBack. The running node is not disturbed.
//
// Two things are told apart. The roster is who belongs to the mesh, alive or
// not; all nodes come to have the same, each keeps it on disk, and only
// leaving, being replaced or being evicted takes a node out of it. Liveness is
// what one node sees of another right now; it changes nothing in the roster, so
// no silence, however long, makes a mesh forget a node. A View shows both.
//
// Liveness comes from serf's gossip and from direct probes, which have the
// last word: gossip alone never makes a node failed. Members out of contact
// are redialled for ever. Failed is still no more than what one node sees, over
// links of its own: before anything is moved off a member, Confirm asks others.
//
// # What the caller must do
//
//   - Keep the secret secret: identity.FormatSecret prints it for people.
//   - Give each node its own Dir on a disk that honours fsync, and never copy
//     one that belongs to a node that will run again.
//   - Give names that stay: the name decides with the zone where data lies.
//   - Watch Done, and read Err when it is closed: a node whose identity is
//     disputed stops by itself.
//   - Close what stands on the node before the node, or after: both work.
//   - Use Leave only to take a node out for good; Close is for all else.
//
// # Promises and limits
//
//	promise                                 until when                        what you see
//	--------------------------------------  --------------------------------  ------------------------------
//	A node works with nobody in reach,      For as long as it takes.          Ready returns once all that it
//	from its own disk, right after boot.                                      knows of were tried; View
//	                                                                          shows who is alive.
//
//	Strangers get nothing: every            Always. But who overhears a node  View.Problems tells of one who
//	connection is TLS 1.3 with both ends    that dials, or is dialled by it,  goes on knocking with another
//	authenticated, every datagram is        can repeat its knock: he learns   secret, mesh name or shard
//	sealed, nothing is parsed before that.  the ids of node and mesh, which   count.
//	Who does not prove by a knock that he   stand in the certificate, and
//	has the secret gets an alert of TLS     gets no further.
//	and no certificate.
//
//	Who holds the secret is a member.       A box is stolen: it can pose as   Nothing shows it.
//	There is one for the mesh.              any node, and the mesh needs a
//	                                        new secret. Certificates of an
//	                                        authority that no device holds
//	                                        are prepared for, not built.
//
//	A member keeps its place, and deletes   An operator evicts it, or a new   State Failed. replica.Health
//	wait for it, however long it is away.   disk takes its name.              says after a week what waits
//	                                                                          for it.
//
//	There is room for 10 000 members, and   Then new ones are not let in.     View.Problems, at the members
//	for the memory of 200 000 that are      Entries are not signed yet: a     and at the node that stays
//	gone for good, so that none comes back  faulty member can make up         outside, says so, and what to
//	with data deleted since. Of those gone  members until it is full. That    do.
//	for long little more than the id is     nodes unknown here are gone is
//	kept.                                   believed of 25 000 in one run; a
//	                                        new node believes all in its
//	                                        first minute with others.
//
//	Of two copies of one disk exactly one   As soon as they meet the mesh or  ErrIdentityConflict or
//	goes on; the node that ran before is    each other: a copy that starts    ErrRolledBack from Err of the
//	not disturbed.                          alone cannot know it. What only   other one.
//	                                        one of them holds is kept, but
//	                                        not a value that was copied
//	                                        elsewhere under an id that both
//	                                        gave out, and replaced there.
//
//	A node that was evicted, has left or    At once where another node can    ErrEvicted from Err, a new
//	was replaced comes back as a new        tell it; else the first start     NodeID, retired-ID in Dir.
//	member, and what its disk held is       ends, and the next one does it.
//	taken in.
//
//	The tags and capabilities of a node     A cut: each side shows what it    View has what was heard last,
//	(SetTags) come to all within two or     heard last, and the newest when   of a member that is silent too.
//	three seconds, and are set by it        it has healed. Nothing is         Empty: nothing was heard since
//	alone.                                  signed: what a faulty member      the start. Problems, where the
//	                                        says of another holds until       last number was made up.
//	                                        that one hears of it, and under
//	                                        the last number there is until
//	                                        it starts anew. They are not on
//	                                        disk.
//
//	Publish tells all nodes in reach, also  A cut, or a silent node, is not   Nothing shows what was missed.
//	through others, at each subscription    over in half a minute: what it    Message.Lost counts what was
//	once at most, in no sure order.         missed is gone. Who floods, or    not read in time.
//	                                        does not read, loses what is its
//	                                        own.
//
//	Request asks each node in contact       A cut: this side is asked. Who    A pair for each node asked, with
//	once, directly.                         is reached by others only is not  its answer or its error:
//	                                        asked by way of them.             ErrUnreachable of that one, of a
//	                                                                          silent one that of ctx.
//
//	A full disk ends no node: 1 MiB is      The disk cannot be written at     The log; the error of Start.
//	held as room for its next start.        all: then Start fails.
//
// What stores promise of items stands in package replica; how soon silent nodes are
// failed, in Profile; whom Confirm asks, there.
//
// Handlers and hooks are never called while a lock is held. They must not
// call Close or Leave of their own node.
package mesh
