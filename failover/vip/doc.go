// Package vip gives an Exclusive service a floating address: one IP that is always at the node
// which runs the service. On Linux alone; it needs CAP_NET_ADMIN and CAP_NET_RAW.
//
// The system itself takes the address away. It is set with a lifetime that ends before the
// lease does, and set anew while the lead lasts: a node that is killed or frozen sets nothing
// anew, and has lost the address before another one gets it.
//
//	0.0 s  a leads, and has 1.7 s left: it sets the address for 1 s
//	0.2 s  a sets it for 1 s again; then its process is frozen
//	1.2 s  the system of a drops the address, within a quarter of a second
//	1.7 s  the lease has ended for a
//	1.9 s  b may lead: it starts the service, sets the address, and tells the network
//
// Give a service the address by its hooks:
//
//	s.Route = func(ctx context.Context, run failover.Run) error { return address.Hold(ctx, run) }
//	s.UndoRoute = func(ctx context.Context, _ failover.Run) error { return address.Release(ctx) }
//
// # Promises and limits
//
//	promise                                 until when                        what you see
//	--------------------------------------  --------------------------------  --------------------------
//	A node has the address only while it    Another address with a lifetime   The address of the frozen
//	leads, also if its process is killed    is changed on the machine in the  node, for a second longer.
//	or frozen.                              second in which the process is
//	                                        frozen: the system looks once a
//	                                        second at most.
//
//	                                        The system itself is starved, or  It is gone as much later.
//	                                        its network changes all the time.
//
//	                                        The machine as a whole stands     The rest of the lifetime,
//	                                        still, as a virtual one may: its  1 s with LAN, after it goes
//	                                        lifetimes stand still too.        on, or less: the process
//	                                                                          takes it away.
//
//	An address that is there already is     A short lifetime: a process of    ErrTaken.
//	not touched, and never removed.         this node before this one has
//	                                        left it; Hold waits for its end.
//	                                        Somebody sets the same one while
//	                                        it is held: it is taken for ours.
//
//	When Release and Close return the       The context of Release ends.      An error: it ends with its
//	address is gone, also where the system                                    lifetime.
//	has refused to remove it.
//
//	The lease is long enough: 1.27 s are    Paces below LAN.                  ErrLease.
//	left of it at some time.
//
//	Neighbours learn at once where it is:   They take no word that they did   The old node, until their
//	gratuitous ARP, or an unsolicited       not ask for.                      own entries end.
//	advertisement, five times in a second
//	after a takeover and when a member is
//	in reach again, and every 10 s.
//
//	A node that stalls longer than the      It goes on before its lease       Nobody has the address
//	lifetime has it again when it goes on.  ends.                             meanwhile.
//
// What the node itself connects to does not get the address as its source, if that is of IPv6, for
// it is deprecated from the beginning, or of IPv4 and alone in its network (/32). Connections to it end with the node: there is nothing that hands them on.
// An interface that is made anew is another one: a new Address finds it.
package vip
