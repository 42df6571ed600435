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
// be better by 15 % for half a minute before the leader hands over.
//
// An election has a scope. With ScopeComponent every part of a cut mesh has a
// leader, also the smallest: the line goes on. Two parts then have two, who do not
// know of each other. With ScopeMajority there is one at most, where more than half
// of the named voters are in reach, and none elsewhere.
//
//	                        ScopeComponent          ScopeMajority
//	leaders at one time     one per component (*)   one
//	in a minority           a leader                none
//	tokens                  grow within a component grow
//	                        and where parts overlap
//
// (*) and for the time that views disagree, up to the detection of a cut and a
// lease, one more.
//
// # What the caller must do
//
//   - Open a Partition on every node, and give all the same Pace and Voters.
//   - Return from work when its context ends, within Pace.Guard.
//   - Check the token, or have the resource keep a Fence, wherever two leaders at
//     once would do harm. A lease alone is no lock: a machine may stand still
//     between looking at its clock and acting. The token may grow while work runs:
//     show a Fence what Token returns then.
//   - Use ScopeMajority for what two parts of a cut mesh can both reach.
//   - Keep the data directory: promises are in it. A node that lost it is a new
//     node, and has promised nothing.
//
// # Bounds
//
// With the LAN pace a leader that was killed, or falls silent, is replaced within
// the lease of 2 s and a second, if the voters left are more than half of those it
// had, not counting those started less than a lease ago; else as soon as the mesh has
// given it up, see mesh.Profile, and a lease after. That is also when the smaller
// side of a cut has its leader: but many nodes are given up later than one, the last
// after 20 s among 5 and 30 s among 50; see LAN, WAN and Edge. After the heal the
// leader that more than half of the mesh follow leads on with a token above the
// other's, which it takes in a round trip, and the other yields as soon as it hears of
// that; where nobody has so many the lower token yields.
//
// A grant costs one sync of a disk at each voter, a renewal none. Slow flash adds the
// time of a sync to the bounds above, and of up to three where other promises are being
// saved. A node whose disk takes nothing promises nothing, and goes on by itself when the
// disk does; who leads leads on meanwhile. Status says why nobody leads.
package partition
