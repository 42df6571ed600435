// Package partition sees when a mesh is cut, gives every part a leader, and brings
// the parts together again. It stands on a mesh node and needs no coordinator.
//
// # The idea
//
// From inside a mesh a dead node and one that is cut off look alike. So Status
// tells what was seen, not what must be: who is in reach, directly or through
// others (the component), who was lost, and what speaks for a cut. What it was is
// certain afterwards, of every member: it ran all the time, or was started anew.
//
// A leader leads by leases. It asks the voters of its component, each of which
// promises it, on disk, not to follow anybody else for a while; with the promises
// of more than half it leads, and stops before they end. Its Token is higher than
// that of any leader that one of these voters followed before. Who leads is a
// matter of a published score: the operator's priority, mains power, free
// processing power, memory and storage, reach, round trips, uptime. Another must
// be better by 15 % for half a minute before the leader hands over. Before the score counts
// a preference, which Partition.Prefer gives a node for one election.
//
// # What the caller must do
//
//   - Open a Partition on every node, and give all the same Pace and Voters.
//   - Return from work when its context ends, within Pace.Guard.
//   - Check the token, or have the resource keep a Fence, wherever two leaders at
//     once would do harm. The token may grow while work runs: show a Fence what
//     Token returns then.
//   - Use ScopeMajority for what two parts of a cut mesh can both reach.
//   - Keep the data directory: promises are in it. A node that lost it is a new
//     node, and has promised nothing.
//
// # Scopes
//
// An election has one of two scopes, for ever.
//
//	                      ScopeComponent: the line goes on        ScopeMajority: never two
//	--------------------  --------------------------------------  --------------------------------------
//	leaders at one time   one in each part of a cut mesh, a       one at most in the whole mesh, where
//	                      single node too                         more than half of the named voters are
//	                                                              in reach
//
//	in a minority         a leader                                none
//
//	tokens                grow within a part; of two parts that   always grow
//	                      do not meet they say nothing about who
//	                      came first
//
// # Steering
//
// What a node stands for can be steered from that node; the rules above hold all the same.
//
//	call      what comes of it                            who may lead next, and when
//	--------  ------------------------------------------  ---------------------------------------
//	Prefer    all hear how much this node is preferred    one that is preferred more than the
//	          for an election                             leader, after Pace.Hold
//	HandOver  work ends, then the lead is given back      whom it names, at once; or the best one
//	LetLapse  work ends, nothing is given back            anybody, when the lease has ended by
//	                                                      itself: what cannot be stopped is killed
//	                                                      by then
//	Lease     nothing: it tells until when that is
//
// # Bounds
//
//	pace  lease  replaced within  a side without one has one within                 cut off, it may be lost after
//	----  -----  ---------------  ------------------------------------------------  -----------------------------
//	LAN   2 s    3 s              20 s of 5 nodes, 30 s of 50; mostly half of that  1.3 s
//	WAN   6 s    8 s              40 s                                              3.4 s
//	Edge  18 s   21 s             60 s                                              more than 10 s
//
// A leader that was killed or falls silent is replaced within the third column's time
// where the voters left are more than half of those it had, not counting those started
// less than a lease ago. Otherwise, as on the smaller side of a cut, the mesh must have
// given up who is missing, see mesh.Profile: that, and a lease, is the fourth column.
// Many nodes are given up later than one. With Edge a link that is gone for 10 s
// costs no leader, and that is why its lease is 18 s: where UDP is blocked TCP waits
// ever longer before it tries again, here until 12.6 s after the link went, the last
// renewal may have been 3 s before that, and the leader must still lead when the
// next one gets through. On links that lose a fifth of their packets leaders stay,
// at every pace: what elections ask goes by UDP first, where no earlier loss holds
// it up.
//
// What a node leads it renews together, with one packet and an answer for each voter. Among
// five nodes 20 elections with LAN, four led by each node, cost a node a tenth of a percent
// of a core and 1.4 kB/s sent, beside what the mesh does anyway.
//
// A grant costs one sync of a disk at each voter, a renewal none. Slow flash adds the
// time of a sync to the bounds, and of up to three where other promises are being
// saved.
//
// # What a stall costs
//
// A process that stands still looks like a dead one until it goes on: starved of memory or
// processing time, stopped by SIGSTOP, or on a machine that does. It loses what it leads
// when its lease ends meanwhile; what others lead goes on, and a voter's stall costs nobody
// anything.
//
//	pace  costs nothing up to  a stall of 1 s  of 3 s                   of 10 s
//	----  -------------------  --------------  -----------------------  -----------------------
//	LAN   1.2 s                nothing         all that it leads        all that it leads
//	                                           (others lead after 2 s)
//	WAN   3.4 s                nothing         nothing                  all that it leads
//	                                                                    (others lead after 6 s)
//	Edge  14 s                 nothing         nothing                  nothing
//
// The second column is the lease less Guard, a hundredth and Renew; up to Renew more costs
// all or nothing, as it happens, for all that a node leads is renewed together. A disk that
// stands still costs no leads at all, however long: renewals write nothing.
//
// Nothing damps that beyond the lease without leaving the dead in office as much longer: who
// waits for one that stalls waits for one that died. What helps is to spread what runs over
// the nodes, by Prefer: then a stall costs what one node leads, and not all. Where a restart
// costs more than some seconds of silence do, the pace of WAN is the better one for a LAN.
//
// # Promises and limits
//
//	promise                                 until when                        what you see
//	--------------------------------------  --------------------------------  ------------------------------
//	ScopeComponent: each part of a cut      While nodes disagree about who    Status.Leader; a Fence refuses
//	mesh has one leader, followed by all    is in reach, until a cut is       the lower token with
//	its nodes.                              noticed and a lease has ended,    ErrFenced.
//	                                        there may be one leader more
//	                                        than parts.
//
//	When parts meet, the leader that more   Nobody has so many just then, of  Partition.Token: it grows
//	than half of the mesh follow leads on,  all that store, those that are    while work runs. Evict what
//	and its work with it: it takes a token  down counted: two halves, three   will not come back.
//	above the other's in a round trip, and  thirds, three of seven of which
//	the other yields as soon as it hears    three are down. Then chance
//	of that. So a node that comes and       decides: the lower token yields,
//	goes, or any smaller side, ends         and its work is handed over.
//	nobody's work but its own.              Elections of majority scope do
//	                                        not know this.
//
//	ScopeMajority: never two leaders.       Nodes that fix different Voters   An error in the log once they
//	                                        before they have met can choose   meet.
//	                                        two.
//
//	A voter that is down is waited for.     For ever: voters do not change.   Leadership.Problem says why
//	                                        One whose disk is lost returns    nobody leads.
//	                                        under a new NodeID, which is no
//	                                        voter, and counts as one that is
//	                                        down from then on. To replace
//	                                        one is not built yet.
//
//	A leader that is killed or falls        The voters left are not more      Leadership.Problem.
//	silent is replaced within a lease and   than half of those that it had,
//	a bit, see Bounds.                      as in a mesh of two: one vote is
//	                                        half, not more. Then the mesh
//	                                        has to give it up first.
//
//	Who leads stops before another may.     A lease alone is no lock: a       Only a Fence at the resource
//	                                        machine, or the virtual one it    helps: ErrFenced.
//	                                        is, may stand still between
//	                                        looking at its clock and acting.
//	                                        One that was suspended notices a
//	                                        moment after it wakes up. A
//	                                        hypervisor's pause stops all
//	                                        clocks of a guest, which cannot
//	                                        notice.
//
//	Guard keeps a write from being begun    It checks before and after, on    ErrUnsure.
//	without the lead.                       the node that writes; stores do
//	                                        not look at tokens. What was
//	                                        under way when the lease ended
//	                                        may be kept.
//
//	A disk that takes nothing ends          The directory is lost: that is a  Leadership.Problem.
//	nothing: such a node promises nothing   new node.
//	and goes on by itself when the disk
//	does; who leads leads on.
package partition
