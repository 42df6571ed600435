package failover

import (
	"context"
	"time"
)

// Records is what keeps plans, the history and routes for all nodes: an eventual bucket, in
// which the last writer wins, with nobody in charge. *replica.Records is one. Each method
// returns soon after ctx has ended. Values are never empty.
type Records interface {
	// Read returns the value of a key. Nil: it is not there, as far as is known here.
	Read(ctx context.Context, key string) (value []byte, err error)
	// Write writes a value, which lives so long; 0 is for ever. Value stays the caller's.
	Write(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Erase deletes a key, if it is there.
	Erase(ctx context.Context, key string) error
	// Each visits the keys with a prefix and their values, from the greatest key down, until
	// visit returns false. An error may come beside what could be visited.
	Each(ctx context.Context, prefix string, visit func(key string, value []byte) bool) error
	// Follow tells of each key with a prefix: those that are there first, then what changes,
	// with nil for what is there no more, until ctx ends or it fails. A state in between may
	// be left out, the last one is not.
	Follow(ctx context.Context, prefix string, changed func(key string, value []byte)) error
}
