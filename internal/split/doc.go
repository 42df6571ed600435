// Package split decides what a node makes of a cut in the network: who still
// hangs together with it, whether a cut is likely, and, when a lost node is
// back, whether it had been cut off or had been restarted. It is the pure core
// of what internal/README.md says in protocol E.3.
//
// # The reach graph
//
// Every node tells the others, in its Row, which members gossip says live but
// its own direct attempts do not reach. Whoever is not listed is reached. A
// direct attempt is a request and an answer, so a link that works one way only
// is none, and a link is there unless one of its two ends says otherwise:
//
//   - Of its own links a node knows best what it sees: a member that is
//     view.Alive is linked, unless its row lists this node; one that is
//     view.Suspect is not linked directly.
//   - A node that lists more than MaxExceptions is Isolated and lists nobody. It
//     may be the one with the broken cable, or one of 500 on the same side of a
//     cut. So it is taken as linked to those that do not list it: who reaches
//     it says so by silence. Between two isolated nodes nobody is left to ask,
//     and no link is assumed; this node's own links need no asking.
//
// The component of a node is what it reaches in this graph, relays allowed.
// Members that are neither Alive nor Suspect are outside: neither they nor
// anybody who gossips with this node has been heard to reach them.
//
// # Situation
//
// From inside a mesh a dead node and one that is cut off look the same. A
// Watcher therefore reports evidence, never a fact: PartitionSuspected when at
// least two members and a fifth of the roster were found lost within Window of
// each other, or a whole zone is lost, else MembersDown. Lost is who was in the
// component since this node started and is not now. Members not met yet are not
// lost: a node that starts first, or alone, suspects nothing. They count in the
// roster.
//
// The lost set need not equal a zone, it must contain one:
// in a mesh of a thousand devices one is always broken somewhere, and would hide
// every cut. A zone of which only one member was lost is no evidence: a dead
// node looks the same. Neither is the empty zone, which is no place.
//
// # Verdict
//
// Once a lost member is back there is no doubt any more. Its boot counter grows
// at every start, so a higher one means WasRestarted. The same one, said by a
// process that has run all the time, means WasCut. A report that was made before
// the member was back proves nothing, however late it comes; that shows from the
// uptime in it. What cannot be told is Unsure: no report came, or no boot was
// known before the loss, or the process is the same but did not run for a part of
// the outage longer than VerdictWait, as on a machine that was suspended.
//
// # Duties of the caller
//
//   - Step after every change of the view or of a row, when Next says, and with
//     every report that comes while Next says anything. Changes that come close
//     together may share one step.
//   - Keep of each node the last row and the last report it made, by boot and
//     uptime, not the last that came. Start without both.
//   - Take a row that lists this node, or is isolated, as a reason to probe its
//     sender: rows are right only about those who were tried.
//   - Send the own row to whoever was just met, changed or not, beside what
//     protocol E.3 says of changes; and with it the report.
//   - Keep a member in the own row for a suspicion time after gossip has given it
//     up: others may hear of it later, and would take it as reached from here.
package split
