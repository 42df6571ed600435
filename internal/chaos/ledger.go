package chaos

import (
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Ledger is a writer's own record of what was acknowledged. No write replaces
// another's value, so all of them must stay readable. The zero Ledger is empty;
// all methods may be used concurrently.
type Ledger struct {
	mu    sync.Mutex
	acked map[string][]string // values by key
	n     int
}

// Acked notes an acknowledged write.
func (l *Ledger) Acked(key, value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.acked == nil {
		l.acked = make(map[string][]string)
	}
	l.acked[key] = append(l.acked[key], value)
	l.n++
}

// Count returns how many writes were acknowledged.
func (l *Ledger) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

// Keys returns the keys of acknowledged writes, sorted.
func (l *Ledger) Keys() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.acked))
}

// Missing returns which acknowledged writes to the keys are not among the
// values that were read.
func (l *Ledger) Missing(keys []string, read map[string][]string) (missing []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		for _, value := range l.acked[key] {
			if !slices.Contains(read[key], value) {
				missing = append(missing, fmt.Sprintf("%s=%s (reads as %q)", key, value, read[key]))
			}
		}
	}
	return missing
}
