// Package takeover decides for one node about one service: whether the node stands for it,
// how much it is preferred, and, when it leads, what is to be done next. A service NAME is
// the election service/NAME. Each node that can run the service stands; the one that leads
// runs it, and its token fences what the service writes.
//
// # Choosing
//
// A plan names the primary, backups in their order, and what a node needs. Of that and the
// facts of a node one number is made, its Preference, by the same rule everywhere. A node that
// runs the service is preferred to all others, so that neither a reconnect nor a node that
// the plan places higher ever moves what runs well; only its leader does, when it fails
// back or is asked to. A node that could not run it stands behind all others for a
// penalty, which is doubled with each failure up to half an hour and forgotten by the hour;
// it ends with the process.
//
// # Running
//
// A Run goes through five steps: prepare, sync, start, route, verify. How many have begun is
// all the state of a start. It is up when all have ended well, and undoes them from the last
// one to the first. A step that was begun is undone, whether it has ended or not, and also
// before it is tried again.
//
//	state         event                         what comes of it
//	------------  ----------------------------  -------------------------------------------
//	any           the lead is lost, or its      Stop at once; what has begun is undone, from
//	              lease ends                    Start down once the stop has ended
//	no lead       a run may be left here        Stop; nothing is begun before that has ended
//	              it leads                      it rests, if it has just failed; it goes up
//	              it leads for the first time,  a node that the plan prefers gets the lead, or
//	              and nobody was seen to run    has a second to say that it stands
//	              the service
//	going up      the step has ended well       the next one; verified after the last
//	              it fails or hangs             it is undone and tried again
//	              for the last time             down; a penalty, an alarm, the lead is given
//	                                            back
//	verified      a check is bad, or two        degraded
//	              three are                     down to Start and up again, so many times
//	              and restarts are used up      down; penalty, alarm, lead given back
//	              a better node stays           down, and the lead goes to it (FailBackAfter)
//	going up or   a move is asked for           down, and the lead goes to that node
//	verified      the node is unfit             down, and the lead is given back, if another
//	                                            node fits; else an alarm, and it goes on
//	              another thing is to be run    down, and up again under the same lead
//	              the node is withdrawn         down, and the lead is given back
//	going down    an undoing fails or hangs     it is passed over; that of Start has Stop
//	                                            follow
//	              it leads again                up again when all is undone
//	stopping      the stop does not end         an alarm and Stop again, as often as need be;
//	                                            the lead lapses, and the node stands no more
//
// What holds whatever hooks and leads do: nothing is begun without a lead, and nothing of a
// run is at this node when another start is begun. With a lead that lasts, a node that fits
// and hooks that work at their last try, the service is verified within UndoBound, 30 s of
// rest and StartBound.
//
// That holds in both modes: they differ in the scope of the election alone.
//
// # The caller's duties
//
// It reports FactsChanged before Led, and RunLeft before both where a process of this node
// may have ended without having stopped what it ran. It carries the actions out in their
// order, and calls Tick no later than NextDue says, by a clock that goes on while the machine
// sleeps. A newer Begin or Undo makes void an older one, and a check: contexts of those hooks
// end; nothing makes a Stop void. It asks Standing after each event, and tells the
// others what has changed before it gives a lead back; a node without a preference does not
// stand. A hook may be called again, and undone
// without having been done. When a lease ends here of which the extension comes too late, the
// caller gives the lead back: nothing is begun under it any more.
//
// # What is not here
//
// Calling hooks and containing their panics, processes and whatever kills them by the
// lease's end, the election and how preferences reach it, conditions, drills, history and
// alerts as such. A step is begun however short the lease is: whether its result can come in
// time is the shell's matter. Plans do not know of other services.
package takeover
