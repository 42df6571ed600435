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
// # What is not here
//
// Writes of buckets are entered by whoever calls Append; manifests of backups come by
// EnterManifest. Time is that of the node, which may be wrong; the times of cosignatures
// are those of the peers. Keys are believed as each node tells them the first time over the
// mesh: whoever has the secret of the mesh can pose as a node that nobody has met. A log is never
// cut short.
package ledger
