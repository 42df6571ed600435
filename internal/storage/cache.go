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

func (c *recordCache) shard(key []byte) *cacheShard {
	return &c.shards[maphash.Bytes(c.seed, key)%cacheShards]
}

// get returns the value of key, or the generation to give to fill with it.
func (c *recordCache) get(key []byte) (value []byte, gen uint64, ok bool) {
	sh := c.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.entries[string(key)]
	if e == nil {
		sh.misses++
		return nil, sh.gen, false
	}
	sh.hits++
	sh.touch(e)
	return e.value, sh.gen, true
}

// fill keeps what was read from below since get returned gen, unless a write
// has come between: then the value read may be the one before it.
func (c *recordCache) fill(key, value []byte, gen uint64) {
	sh := c.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.gen == gen {
		sh.set(string(key), value)
	}
}

// wrote keeps a value that has just been synced.
func (c *recordCache) wrote(key string, value []byte) {
	sh := &c.shards[maphash.String(c.seed, key)%cacheShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.gen++
	sh.set(key, value)
}

// deleted forgets a key whose delete has just been synced.
func (c *recordCache) deleted(key string) {
	sh := &c.shards[maphash.String(c.seed, key)%cacheShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.gen++
	if e := sh.entries[key]; e != nil {
		sh.drop(e)
	}
}

// within returns the values kept of keys in a range.
func (c *recordCache) within(lower, upper []byte) map[string][]byte {
	out := make(map[string][]byte)
	c.each(lower, upper, func(_ *cacheShard, e *entry) { out[e.key] = e.value })
	return out
}

// forget drops what is kept of keys in a range, and what is being read of them.
func (c *recordCache) forget(lower, upper []byte) {
	c.each(lower, upper, (*cacheShard).drop)
}

func (c *recordCache) each(lower, upper []byte, fn func(*cacheShard, *entry)) {
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

func (sh *cacheShard) set(key string, value []byte) {
	e := sh.entries[key]
	if cost(key, value) > sh.limit/4 {
		if e != nil {
			sh.drop(e)
		}
		return
	}
	if e == nil {
		e = &entry{key: key}
		sh.entries[key] = e
		e.prev, e.next = &sh.ring, sh.ring.next
		e.prev.next, e.next.prev = e, e
	} else {
		sh.free += cost(key, e.value)
		sh.touch(e)
	}
	e.value = value
	sh.free -= cost(key, value)
	for sh.free < 0 {
		sh.drop(sh.ring.prev)
	}
}

func (sh *cacheShard) touch(e *entry) {
	if sh.ring.next == e {
		return
	}
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = &sh.ring, sh.ring.next
	e.prev.next, e.next.prev = e, e
}

func (sh *cacheShard) drop(e *entry) {
	e.prev.next, e.next.prev = e.next, e.prev
	delete(sh.entries, e.key)
	sh.free += cost(e.key, e.value)
}

func cost(key string, value []byte) int64 {
	return int64(len(key)+cap(value)+recordOverhead) + entryCost
}

// usage adds up the shards.
func (c *recordCache) usage() (bytes int64, hits, misses uint64) {
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
