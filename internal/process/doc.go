// Package process runs a command on a leash: a small process between this one and the
// command, which kills the command and all that it has started when the time is over that it
// was given last. So a service ends with its node's lease also when the node's process was
// killed or is frozen.
//
//	what happens                              what the leash does
//	----------------------------------------  ----------------------------------------------
//	Extend                                    sets its timer anew, by the boot clock
//	the time is over                          kills
//	Stop                                      sends TERM; kills after the grace
//	Kill, or the process that holds it ends   kills
//	the command exits                         kills what it has left, and exits as it did
//
// To kill is to send KILL to the command's process group and to all that has come to the leash
// from it as orphans; the leash exits when nothing of that is left. A leash holds a lock on a
// file meanwhile: another one with the same file waits. When a leash is killed itself the
// kernel kills the command; what that had started goes on. There is a leash on Linux alone.
//
// Nothing is killed by a number that may have been given to another process meanwhile: the
// leash is the parent, and sends signals before it has reaped.
package process
