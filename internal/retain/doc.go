// Package retain decides about backups: when one is due, and whether a slice is written whole or as
// what has changed. It is the pure core of protocol I.
//
// Running time decides when a backup is due, for as long as the process has made one. The wall
// clock only carries the schedule over a restart, and even there for one interval of running
// time at most. So no clock that jumps brings a storm of backups, or silence.
package retain
