// Package ledger holds the rules of tamper-evident logs: what a leaf is, how leaves make a tree,
// what a log and its witnesses sign, what a witness answers, and what proves that a leaf is in a
// log. It has no log: hashes and bytes go in, hashes and bytes come out.
//
// Trees are those of RFC 6962, by golang.org/x/mod/sumdb/tlog. What is signed and what proves has
// the form of C2SP, so that programs of others can check it: tlog-checkpoint for the state of a
// log, tlog-cosignature (version 1, Ed25519 with a time) for the word of a witness, tlog-proof for
// a proof, tlog-tiles for what a log keeps, with one difference, of which Path tells. A decoder
// takes bytes from anybody, and refuses what no encoder wrote.
package ledger

import "errors"

var (
	// ErrMalformed says that bytes are none of what was to be read.
	ErrMalformed = errors.New("ledger: malformed")
	// ErrUnproven says that a proof, a signature or a tile does not show what it is to show.
	ErrUnproven = errors.New("ledger: not proven")
)
