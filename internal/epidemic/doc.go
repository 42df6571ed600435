// Package epidemic holds what all nodes of a mesh are to know alike: a table of entries
// by key, of which the newest version holds everywhere (protocol B.1, E.3 in
// internal/README.md). News are handed on to a few nodes at once, and two nodes compare
// what they hold now and then (Demers et al., Epidemic Algorithms, 1987: rumour
// mongering backed by anti-entropy). This package is the table; internal/exchange
// carries it between nodes.
//
// # To spread another kind of entry
//
// Hand in a Rule:
//
//   - Sum tells key and version of an entry. The version is what two nodes compare, so
//     let it be small.
//   - Newer orders versions. It must be a strict order that every node has alike. Then a
//     Table merges commutatively, associatively and idempotently, and nothing older
//     replaces what is newer.
//   - Append writes a sum for the digest. Nodes of all releases must write it alike.
//   - Mine and Renew, if a node has the last word on some keys: what others hold of them
//     is never asked for, and something newer than this node's own word is answered
//     with a newer one. Without that a fault elsewhere could silence a node.
//
// RuleOfOwnWords is all of that where each node says one thing of itself.
//
// internal/exchange.NewTable puts a lock around the table and asks which entries are to
// be believed. Its Exchanger wants the formats of the messages, which are
// wire.TableSums and wire.TableSwap of the same types, and how to call a peer. Where the
// entries of all nodes make more than a message, give it their Size and a Bulk.
//
// Messages are such a table of what is published once, kept for a while and never
// replaced: what was heard is remembered when the entry is gone.
//
// What does not fit the rule that the newest entry holds, as the roster, whose entries
// merge part by part and are on disk before they are told, implements exchange.Set
// itself and uses Compare alone.
package epidemic
