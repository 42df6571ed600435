package partition

import "errors"

var (
	// ErrConfig: the Config has faults; the error lists all of them.
	ErrConfig = errors.New("partition: bad configuration")
	// ErrClosed: the Partition, or the node below it, was closed.
	ErrClosed = errors.New("partition: closed")
	// ErrSecond: the node has a Partition, or had one that was closed or did not open.
	// It can have another when it is started anew.
	ErrSecond = errors.New("partition: the node has, or had, a Partition")
	// ErrNotLeader: this node does not lead with that token, or no longer.
	ErrNotLeader = errors.New("partition: not the leader")
	// ErrFenced: a higher token is known, so whoever acts with this one is late.
	ErrFenced = errors.New("partition: a later leader is known")
	// ErrElection: the name of an election is empty or too long, its scope is
	// unknown, this node stands for it already, or there are too many.
	ErrElection = errors.New("partition: bad election")
	// ErrUnsure: the lease ended while a guarded action ran: it may have been
	// done beside a later leader's.
	ErrUnsure = errors.New("partition: leadership ended during the action")
	// ErrNoAuthority: the Config has no hook to ask in the present mode.
	ErrNoAuthority = errors.New("partition: nobody to ask")
	// ErrDisk: what was written down of elections before cannot be read. What cannot
	// be written is no error: it is tried again until it can, and Status says so.
	ErrDisk = errors.New("partition: election state cannot be kept")
)
