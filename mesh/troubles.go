package mesh

import (
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// maxTroubles bounds what is remembered, for strangers may cause it.
	maxTroubles = 16
	// troubleLasts is how long what was not seen again is still told.
	troubleLasts = 10 * time.Minute
	// seedPatience is how long a node that has met nobody says nothing of its
	// seeds: they may be started together.
	seedPatience = 15 * time.Second
)

// troubles are what keeps a node from others, in words for an operator: logged
// once, when they begin, and shown in each view until they have passed.
type troubles struct {
	mu sync.Mutex
	by map[string]*trouble
}

type trouble struct {
	text string
	at   time.Time // when it was seen last
}

// note notes a trouble, and tells whether it is a new one.
func (s *troubles) note(key, text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.by[key]; t != nil {
		t.at = time.Now()
		return false
	}
	if len(s.by) >= maxTroubles {
		return false
	}
	if s.by == nil {
		s.by = map[string]*trouble{}
	}
	s.by[key] = &trouble{text: text, at: time.Now()}
	return true
}

// clear notes that a trouble has passed, and tells whether there was one.
func (s *troubles) clear(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.by[key]
	delete(s.by, key)
	return ok
}

// expire forgets what was not seen again for long, and tells whether there was any.
func (s *troubles) expire() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.by)
	maps.DeleteFunc(s.by, func(_ string, t *trouble) bool { return time.Since(t.at) > troubleLasts })
	return len(s.by) < before
}

// list returns what there is to tell.
func (s *troubles) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, key := range slices.Sorted(maps.Keys(s.by)) {
		out = append(out, s.by[key].text)
	}
	return out
}

// trouble notes what keeps this node from others.
func (n *Node) trouble(key, text string) {
	if n.troubles.note(key, text) {
		n.log.Warn(text)
		n.inbox.put(event{shown: true})
	}
}

// passed notes that it does not any more.
func (n *Node) passed(key string) {
	if n.troubles.clear(key) {
		n.inbox.put(event{shown: true})
	}
}
