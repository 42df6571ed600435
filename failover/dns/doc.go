// Package dns tells programs that know nothing of the mesh where its services are found: a
// server of SRV, A and AAAA for NAME.ZONE, of UDP and TCP. Each node can be one. Have the
// resolver of a site forward the zone to two of them, or more.
//
//	the address of the service is  SRV                  A, AAAA
//	-----------------------------  -------------------  ------------------------------------
//	10.0.0.7:80, [2001:db8::7]:80  NAME.ZONE, port 80;  10.0.0.7, 2001:db8::7
//	                               with A or AAAA
//	10.0.0.7, 2001:db8::7          empty                10.0.0.7, 2001:db8::7
//	press.example:80               press.example, 80    CNAME press.example, not looked up
//	press.example                  empty                the same
//	anything else, a URL say       empty                empty
//
// # Promises and limits
//
//	promise                                 until when                        what you see
//	--------------------------------------  --------------------------------  --------------------------
//	An answer is what the node knows when   Programs ask once and keep it:    The old address until a
//	it is asked. Nobody keeps it, or that   then use failover/forward or a    program asks again.
//	there was none, longer than the TTL.    floating address.
//
//	What is not served, or is not verified  The node cannot tell: it is       NXDOMAIN; SERVFAIL when it
//	yet, is not there.                      closed, or has no records.        cannot tell.
//
//	Any node answers: a dead one is not     Programs ask the dead one first.  Nothing for as long as
//	missed.                                                                   they wait, dig 1 s or more.
//
//	Other zones are not answered for, and   For ever.                         REFUSED. RA is never set.
//	nobody else is asked.
//
//	A name is found in upper and lower      The name of the service is 1 to   NXDOMAIN
//	case.                                   56 of a-z, 0-9, "-" and "_".
//
//	No more than Parallel requests are      More of them wait in the          Programs ask again. TCP
//	under way by UDP, and connections by    system's queues, or are dropped   that says nothing for 2 s
//	TCP. Requests of more than 1 232 bytes  there.                            is closed.
//	are not read.
//
//	UDP is answered from the address that   Listen is an address of all       Programs drop what comes
//	was asked.                              interfaces, of which there are    from another address: name
//	                                        several.                          one in Listen.
//
// There are no NS records, no transfers and no signatures: resolvers that check must be told
// that the zone is not signed.
package dns
