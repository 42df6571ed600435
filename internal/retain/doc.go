// Package retain decides about backups: when one is due, whether a slice is written whole or as
// what has changed, what may be deleted at a tier, what a restore takes, what is wrong with a chain, and
// what nobody has backed up. It is the pure core of protocol I.
//
// Running time decides when a backup is due, for as long as the process has made one. The wall
// clock only carries the schedule over a restart, and even there for one interval of running
// time at most. So no clock that jumps brings a storm of backups, or silence.
//
// What is deleted, is deleted by neither: the newest points of the nodes and the tier tell the
// time. A majority of wrong clocks is believed; by a device whose clock is as far ahead, so is a
// node that gave up all its chains while its clock was ahead. While most nodes back nothing up, that time
// stands still, and soon nothing is deleted any more.
//
// # Duties of the caller
//
//   - A chain is of one policy at one tier. Its numbers begin with 1. It is given up, for a new one, with
//     the list of what it holds.
//   - At one tier a node makes one backup at a time. Before it puts a manifest it looks whether the
//     segments are there that it had put in an earlier process.
//   - Prune is given whole lists. What it returns is deleted in order, and the first error ends that.
package retain
