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
// leaving, being replaced or being evicted takes a node out of it. It has room for
// 10 000 members; of those gone it remembers 200 000, by little more than their
// ids. Liveness is what one node sees of another right now; it changes nothing in
// the roster, so no silence, however long, makes a mesh forget a node. A View
// shows both.
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
// Handlers and hooks are never called while a lock is held. They must not
// call Close or Leave of their own node.
package mesh
