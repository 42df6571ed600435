package wire

// KeySum tells which version of an entry of a table a node has.
type KeySum[K, V any] struct {
	Key     K
	Version V
}

// TableSums asks a peer whose table has another digest, or answers with what a table
// holds. A format has Equal, or tells the digest of the answer: either says that there
// is nothing to exchange.
type TableSums[K, V any] struct {
	Digest uint64
	Equal  bool
	Sums   []KeySum[K, V]
}

// TableSwap hands over entries that the peer lacks, and names those wanted back.
type TableSwap[K, E any] struct {
	Have []E
	Want []K
}
