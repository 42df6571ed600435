package storage

import (
	"hash/maphash"
	"sync"
)

const (
	cacheShards = 16
	// entryCost is what an entry takes beside its key and value: the entry,
	// its share of the map, and the rounding of three allocations.
	entryCost = 160
)

// recordCache keeps synced values, and nothing else, up to a number of
// bytes; the ones used longest ago go first.
type recordCache struct {
	seed   maphash.Seed
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu      sync.Mutex
	entries map[string]*entry
	ring    entry // ring.next is the latest used, ring.prev the next to go
	free    int64 // bytes left
	limit   int64
	gen     uint64 // grows with every write, see fill
	hits    uint64
	misses  uint64
}

type entry struct {
	key        string
	value      []byte
	prev, next *entry
}

func newRecordCache(limit int64) *recordCache {
	c := &recordCache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		sh := &c.shards[i]
		sh.entries = make(map[string]*entry)
		sh.ring.prev, sh.ring.next = &sh.ring, &sh.ring
		sh.limit = limit / cacheShards
		sh.free = sh.limit
	}
	return c
}

func (c *recordCache) shardOf(key []byte) *cacheShard {
	return &c.shards[maphash.Bytes(c.seed, key)%cacheShards]
}

// getValue returns the value of key, or the generation to give to fill with it.
func (c *recordCache) getValue(key []byte) (value []byte, gen uint64, ok bool) {
	sh := c.shardOf(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.entries[string(key)]
	if e == nil {
		sh.misses++
		return nil, sh.gen, false
	}
	sh.hits++
	sh.moveToFront(e)
	return e.value, sh.gen, true
}

// keepRead keeps what was read from below since get returned gen, unless a write
// has come between: then the value read may be the one before it.
func (c *recordCache) keepRead(key, value []byte, gen uint64) {
	sh := c.shardOf(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.gen == gen {
		sh.putEntry(string(key), value)
	}
}

// keepWritten keeps a value that has just been synced.
func (c *recordCache) keepWritten(key string, value []byte) {
	sh := &c.shards[maphash.String(c.seed, key)%cacheShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.gen++
	sh.putEntry(key, value)
}

// forgetDeleted forgets a key whose delete has just been synced.
func (c *recordCache) forgetDeleted(key string) {
	sh := &c.shards[maphash.String(c.seed, key)%cacheShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.gen++
	if e := sh.entries[key]; e != nil {
		sh.dropEntry(e)
	}
}

// valuesWithin returns the values kept of keys in a range.
func (c *recordCache) valuesWithin(lower, upper []byte) map[string][]byte {
	out := make(map[string][]byte)
	c.forEachWithin(lower, upper, func(_ *cacheShard, e *entry) { out[e.key] = e.value })
	return out
}

// forgetRange drops what is kept of keys in a range, and what is being read of them.
func (c *recordCache) forgetRange(lower, upper []byte) {
	c.forEachWithin(lower, upper, (*cacheShard).dropEntry)
}

func (c *recordCache) forEachWithin(lower, upper []byte, fn func(*cacheShard, *entry)) {
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		sh.gen++
		for key, e := range sh.entries {
			if string(lower) <= key && key < string(upper) {
				fn(sh, e)
			}
		}
		sh.mu.Unlock()
	}
}

func (sh *cacheShard) putEntry(key string, value []byte) {
	e := sh.entries[key]
	if entryBytes(key, value) > sh.limit/4 {
		if e != nil {
			sh.dropEntry(e)
		}
		return
	}
	if e == nil {
		e = &entry{key: key}
		sh.entries[key] = e
		e.prev, e.next = &sh.ring, sh.ring.next
		e.prev.next, e.next.prev = e, e
	} else {
		sh.free += entryBytes(key, e.value)
		sh.moveToFront(e)
	}
	e.value = value
	sh.free -= entryBytes(key, value)
	for sh.free < 0 {
		sh.dropEntry(sh.ring.prev)
	}
}

func (sh *cacheShard) moveToFront(e *entry) {
	if sh.ring.next == e {
		return
	}
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = &sh.ring, sh.ring.next
	e.prev.next, e.next.prev = e, e
}

func (sh *cacheShard) dropEntry(e *entry) {
	e.prev.next, e.next.prev = e.next, e.prev
	delete(sh.entries, e.key)
	sh.free += entryBytes(e.key, e.value)
}

func entryBytes(key string, value []byte) int64 {
	return int64(len(key)+cap(value)+recordOverhead) + entryCost
}

// totalUsage adds up the shards.
func (c *recordCache) totalUsage() (bytes int64, hits, misses uint64) {
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		bytes += sh.limit - sh.free
		hits += sh.hits
		misses += sh.misses
		sh.mu.Unlock()
	}
	return bytes, hits, misses
}
