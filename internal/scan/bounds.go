package scan

// Bounds say which keys are meant, and in which order.
type Bounds struct {
	Lower   string // the least key
	Upper   string // the first key above all that are meant
	Bounded bool   // false: Upper does not count, there is no such key
	Reverse bool   // from the greatest key to the least
}

// Beyond returns what is left of the bounds when all up to a key has been seen.
func (b Bounds) Beyond(key string) Bounds {
	if b.Reverse {
		b.Upper, b.Bounded = key, true
	} else {
		b.Lower = key + "\x00" // no key lies between
	}
	return b
}

// Empty tells whether no key is within the bounds.
func (b Bounds) Empty() bool { return b.Bounded && b.Lower >= b.Upper }

// Has tells whether a key is within the bounds.
func (b Bounds) Has(key string) bool { return key >= b.Lower && (!b.Bounded || key < b.Upper) }

// Precedes tells whether one key comes before another.
func (b Bounds) Precedes(key, other string) bool {
	if b.Reverse {
		return key > other
	}
	return key < other
}

// Shards is a set of shards, a bit for each.
type Shards []byte

// NewShards returns an empty set with room for n shards.
func NewShards(n int) Shards { return make(Shards, (n+7)/8) }

// Has tells whether a shard is in the set.
func (s Shards) Has(shard int) bool { return shard/8 < len(s) && s[shard/8]&(1<<(shard%8)) != 0 }

// Add adds a shard, for which there must be room.
func (s Shards) Add(shard int) { s[shard/8] |= 1 << (shard % 8) }
