package failover

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
)

// Where records lie. Those that nodes follow have a prefix in common, for one Follow costs less
// than two, and the history is not among them.
const (
	followPrefix  = "now/"
	planPrefix    = followPrefix + "plan/"
	routePrefix   = followPrefix + "route/"
	drillPrefix   = followPrefix + "drill/"
	historyPrefix = "history/"
)

// A Follow that has ended is begun anew behind followFirst at the earliest, and followLast.
const (
	followFirst = time.Second
	followLast  = time.Minute
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
	// Follow tells of each key with a prefix: those that are there first, that these were all,
	// then what changes, with nil for what is there no more, until ctx ends or it fails. A
	// state in between may be left out, the last one is not.
	Follow(ctx context.Context, prefix string, changed func(key string, value []byte), all func()) error
}

// followRecords goes by what the records hold until ctx ends.
func (f *Failover) followRecords(ctx context.Context) {
	again := clock.Backoff{First: followFirst, Last: followLast}
	for {
		began := time.Now()
		err := f.followOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > followLast {
			again.Reset()
		}
		f.log.Warn("the records are not followed for a while", "error", err)
		if !clock.Sleep(ctx, clock.Jitter(again.Next())) {
			return
		}
	}
}

// followOnce follows the records until that fails. What was known before, and is not among what
// is there at its beginning, has been erased meanwhile.
func (f *Failover) followOnce(ctx context.Context) error {
	missing := map[string]bool{}
	for _, key := range slices.Concat(f.plans.allKeys(), f.routes.allKeys(), f.drills.allKeys()) {
		missing[key] = true
	}
	changed := func(key string, value []byte) {
		delete(missing, key)
		f.noteRecord(key, value)
	}
	return f.cfg.Records.Follow(ctx, followPrefix, changed, func() {
		for key := range missing {
			changed(key, nil)
		}
	})
}

// noteRecord takes in what a key has now.
func (f *Failover) noteRecord(key string, value []byte) {
	switch {
	case strings.HasPrefix(key, planPrefix):
		f.notePlan(key, value)
	case strings.HasPrefix(key, routePrefix):
		f.routes.noteValue(key, value)
	case strings.HasPrefix(key, drillPrefix):
		f.noteDrill(key, value)
	}
}

// openRecords returns the records, for what was asked to be done with them.
func (f *Failover) openRecords(what, name string) (Records, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return nil, fmt.Errorf("%w: %s %.60q", ErrClosed, what, name)
	case f.cfg.Records == nil:
		return nil, fmt.Errorf("%w: %s %.60q", ErrNoRecords, what, name)
	}
	return f.cfg.Records, nil
}
