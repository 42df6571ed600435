// Package link is the transport of a node: one UDP and TCP port over a
// Network that carries three things.
//
//   - Packets, sealed with a key of their sender and opened before anything
//     else looks at them: memberlist's gossip and direct probes. Small requests
//     that may be handled twice are sealed with a key of a data connection.
//   - Gossip streams for memberlist, over TLS with both ends authenticated.
//     What reaches memberlist's and serf's parsers, by packet or by stream,
//     was screened first: a peer that holds the mesh secret must not be able
//     to crash a node either.
//   - Data connections: one per pair of nodes, TLS, usable both ways, on
//     which requests are pipelined.
//
// The package knows nodes by their NodeID only. Which address belongs to an
// id is answered by Config.Resolve; no address is dialled or sent to because
// a peer named it.
package link
