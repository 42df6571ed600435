// Package failover runs services on the nodes of a mesh such that they survive their node. It
// stands on elections, as package partition holds them, and needs no coordinator.
//
// # The idea
//
// A service NAME is the election service/NAME. Each node that can run it stands; who leads
// runs it, and its token fences what the service writes. An Exclusive service runs at one
// node of the whole mesh at most, where more than half of the voters are; one PerComponent
// runs in each part of a cut mesh, and in one place once the parts have met. A plan says who
// is preferred, what a node needs, how long each step may take, and when the service goes
// back; package service has its words.
//
// A start is five steps: prepare, sync, start, route, verify. One that fails is undone and
// tried again; in the end all is undone, a person is told, and another node's turn comes
// first for a while. While the service runs it is checked; what is not well for three checks
// is started anew, and then elsewhere.
//
// # What the caller must do
//
//   - Serve the same services, with the same Mode, at all nodes that can run them.
//   - Return from hooks when their context ends. Have Stop end what Start began, whatever
//     state that is in, and return nil only if nothing of it is left.
//   - Show Run.Token to what the service writes to or switches, and take it anew before each
//     act: package replica and a Fence refuse lower ones.
//   - Close the Failover before the Partition and the store of its Records, and those before the
//     node.
//
// # Promises and limits
//
//	promise                                 until when                        what you see
//	--------------------------------------  --------------------------------  --------------------------
//	An Exclusive service is never begun     The hooks of a former leader      Alarm: it does not stop.
//	while a leader before has a lease.      that ignore their contexts and    The node stands for it no
//	Whoever loses the lead stops first.     the end of the lease: use         more until it has stopped;
//	                                        tokens for what may not be done   another starts it when the
//	                                        twice.                            lease is over.
//
//	A service whose node is killed runs     More than half of the voters,     Status.Leader is zero; the
//	elsewhere within a lease, a second,     and a node that fits, are in      election's Problem says
//	and what its steps take.                reach.                            what is missing.
//
//	What runs well is not moved: not for    The plan says FailBackAfter, the  BetterSeen with
//	a node that comes back, nor for one     node does not fit any more, or    FailBackByHand.
//	that uses less.                         Move is called.
//
//	A node that does not fit goes on if     For ever.                         Alarm: no other one does.
//	no other one fits.
//
//	A cold start runs it at the node that   That node says later than a       A later Move, or fail-back.
//	the plan prefers.                       second after another leads that
//	                                        it stands.
//
//	A move stops the service first, under   The node named does not stand:    Alarm.
//	the lease, and starts it then.          nothing is moved.
//
//	A plan of SetPlan reaches all nodes     A node serves it before it has    Status.Plan. What cannot be
//	that serve it, and outlives them.       read the records: Serve's plan    read is logged once, and the
//	                                        counts until then.                plan before it goes on.
//
//	A service has one mode. Of two, from    For ever.                         Alarm at all nodes; the one
//	two sides of a cut, Exclusive counts.                                     per component stands still.
//
//	A service that is verified is found     The node that asks is in reach    ErrNotServed. Where a leader
//	at once where it runs, by all nodes.    of no store of the records that   has died: its address, until
//	                                        its leader reaches.               that is known.
//
//	What has happened to a service is in    Config.Keep is over; a node has   Dropped. Nothing waits for
//	its History.                            1 024 events that cannot be       records that are slow.
//	                                        kept, or is killed before.
//
//	A hook that panics, hangs or fails      For ever; one that never returns  ErrPanic or a timeout in
//	holds up no other service.              holds up Close.                   an Event.
//
//	The command of a Process, and all that  On Linux. A leash that is killed  ErrNoLeash elsewhere.
//	it has started, are gone when the       itself takes the command along,
//	lease ends, also if this process was    not what that has started: have a
//	killed or is frozen.                    service manager end the node
//	                                        alone (KillMode=mixed).
//
// Config.Records is a bucket that all nodes share, in which plans, routes and the history lie:
// package replica's Bucket.Records. Without it a program gives each node its plans by Serve and
// UsePlan.
//
// Resolve and WatchRoute tell all nodes where a service is found: at the node that leads it, as
// far as is known there, at the address that this has published in the records under its lead.
// So a former leader's address is not believed, whatever the records hold, and each side of a
// cut finds its own. For programs that are no nodes failover/dns answers where a service is,
// failover/forward connects them to it, and failover/vip gives it an address that goes along.
//
// # What else a plan says
//
//	field       what it does
//	----------  ------------------------------------------------------------------------------
//	Conditions  A node in which one of them holds gives the service to another one that fits:
//	            an overload by Config.Used, whatever Config.Conditions tell. What ends a node,
//	            cuts it off or fails its checks counts in any case.
//	Requires    A node begins the service while each of these is led somewhere in reach. What
//	            runs is not ended for it. SetPlan refuses services that need each other, as far
//	            as their plans are in reach.
//	Procedures  Functions of the Service, or commands (ExecCheck), run with the steps of a
//	            start, in order, each told of in the history. A node that lacks one does not
//	            stand.
//
// Config.Recover tries to bring failed nodes back, at one node of each part of a cut mesh:
// WakeOnLAN, RecoverCommand, or a function. Config.Webhooks get what a person should see.
// Client, and the command in examples/skeinctl, look after services through any node.
//
// # Drills
//
// A plan with a Drill has it be tried now and then whether another node can run the service: it
// is moved to the best one, verified there, and moved back, or its shadow is tried by the
// service's Rehearse. Drill does so at once.
//
//	promise                                 until when                        what you see
//	--------------------------------------  --------------------------------  --------------------------
//	A drill of one time is begun once, by   The records were lost, or two     DrillBegan.
//	whichever node runs the service then.   sides of a cut run it.
//
//	A clock that is set begins none, and a  -                                 The next one is due by the
//	drill that nobody was there for is                                        schedule.
//	left out.
//
//	A drill that fails is an Alarm, and     No other node is able to.         DrillEnded with an Error;
//	the service runs where it can.                                            Webhooks and the history.
package failover
