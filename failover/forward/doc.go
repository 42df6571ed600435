// Package forward gives programs that know nothing of the mesh a fixed address for a service
// that moves: a TCP listener that connects each client to where the service is found now. Each
// node can have one; a program asks that of its own machine, or one of a few.
//
// # Promises and limits
//
//	promise                                 until when                        what the client sees
//	--------------------------------------  --------------------------------  --------------------------
//	A client is connected to where this     Where a leader has died: its      Its bytes, in both
//	node knows the service to be.           address, until that is known.     directions.
//
//	When the service is elsewhere the       A host that falls silent is       A reset, not an end: half
//	connections to the old place are        known as gone when its lead has   an answer is not taken for
//	closed at once, and within a second     ended.                            a whole one.
//	when it is nowhere. A change of the
//	token alone closes none.
//
//	A client that finds no service, or      Wait is over. What it sends       A connection that is
//	none that answers, is connected as      meanwhile is kept for it by its   slower; then a reset.
//	soon as there is one.                   system.
//
//	A side that has said all, and closes    For ever.                         The end, and then what the
//	its half, still hears the other.                                          other has yet to say.
//
//	There are no more than Conns clients.   For ever.                         One too many: a reset.
//
//	It does not connect to itself.          Two that lead to each other go    A reset, after Wait.
//	                                        round until Conns is reached.
//
// The service sees the address of the node as its client. A connection that is idle stays, as
// the system's keep-alives allow. What a client has sent to an old place and got no answer for
// may have been done or not: that is for it to find out.
package forward
