// Package elect chooses one leader of an election among the nodes that stand
// for it, and lets it know for how long it leads (protocol E.2 in
// internal/README.md). It grants
// leases, as do Chubby's sessions and the leader leases of PacificA (Lin et
// al., 2008): the leader's own lease ends before the grants that it stands on.
//
// Every node runs one Election per election that it has heard of. It is voter
// and, where it stands, candidate. A candidate that holds unexpired grants of a
// strict majority of an electorate leads; the electorate is fixed for its term.
// What the electorate is made of is the scope's business: the storing members of
// the candidate's component, or the voters that the mesh was founded with.
//
// It is a step machine. The shell feeds it inputs with the time of a clock that
// goes on while the machine sleeps, performs the effects that come back, in
// order, and calls Tick no later than Next says. A voter that forgets a
// grant may give it away twice, so what must be on disk before it is told or acted
// upon comes when Saved says that it is. Nothing else waits for the disk: leases are
// renewed while it saves, and also while it takes nothing.
//
// What holds whatever the network, the clocks within Params.Drift, crashes and
// pauses do:
//
//   - A voter has at most one unexpired grant (L1), so two leaders at one time
//     stand on disjoint grants (L2), never on the same electorate (L3); of a
//     majority-scope election there is one at most (L4).
//   - Tokens of successive leaders with a common voter, or of one candidate, grow
//     (L5): voters grant growing terms only; a voter writes a term down
//     before it says so, and a candidate before it leads.
//   - Of a lease that is let lapse nothing is given back, and its holder asks for no other
//     before it has ended: what was begun under it may run until then.
//
// All else (rank, preferences, scores, the margin, nominations, who yields to whom) only makes it
// quick and steady. When two leaders meet the one with the lower token yields
// (protocol E.2.6), after one that is followed by more than half of the mesh has
// taken a term above the other's.
package elect
