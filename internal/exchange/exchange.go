// Package exchange makes tables equal between nodes: see internal/epidemic, which holds
// the rules and tells what to hand in for another kind of entry.
//
// Two nodes compare in two requests. The first asks with a digest, and the answer says
// that there is nothing to do or lists what the peer holds. The second hands over what
// the peer lacks and names what is lacking here, which the answer brings. Where entries
// are large it is repeated for a part of them each time, so that something stays of a
// comparison that is broken off.
//
// What is asked of peers may be taken in twice, and late: no entry replaces a newer one.
package exchange

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Set is one node's side of what is to be equal everywhere. Table is one.
type Set[K, V, E any] interface {
	// Digest is equal where all entries are.
	Digest() uint64
	// Sums returns the sums of all entries, sorted by key.
	Sums() []wire.KeySum[K, V]
	// Missing returns what a peer with such sums lacks, and what is lacking here.
	Missing(ctx context.Context, peer view.NodeID, theirs []wire.KeySum[K, V]) (wire.TableSwap[K, E], error)
	// Sieve returns what is to be kept of one message, nil for all.
	Sieve() func(wire.KeySum[K, V]) bool
	// Take takes in what a peer says.
	Take(ctx context.Context, peer view.NodeID, said []E) error
	// Answer takes in what a peer says, and returns what it is told.
	Answer(ctx context.Context, peer view.NodeID, asked wire.TableSwap[K, E]) ([]E, error)
}

// Words are the formats of the messages. One of query and sums may serve as the other.
type Words[K, V, E any] struct {
	AppendQuery func(dst []byte, q wire.TableSums[K, V]) []byte
	DecodeQuery func(data []byte) (wire.TableSums[K, V], error)
	AppendSums  func(dst []byte, s wire.TableSums[K, V]) []byte
	DecodeSums  func(data []byte) (wire.TableSums[K, V], error)
	AppendSwap  func(dst []byte, s wire.TableSwap[K, E]) []byte
	DecodeSwap  func(data []byte, wanted func(wire.KeySum[K, V]) bool) (wire.TableSwap[K, E], error)
}

// Exchanger exchanges the entries of one Set with peers. The fields are set once.
type Exchanger[K comparable, V, E any] struct {
	Set        Set[K, V, E]
	Words      Words[K, V, E]
	SumsMethod string // answered by ServeSums
	SwapMethod string // answered by ServeSwap
	Call       func(ctx context.Context, peer view.NodeID, method string, req []byte) ([]byte, error)
	Reads      chan struct{} // its capacity is how many messages with entries are read at a time; nil: all

	// Size is how many bytes an entry takes, about. With it a message has little more
	// than 64 KiB of entries, and at most 200 of them. Nil: it has all that there are.
	Size func(E) int
	// Bulk takes in entries of a comparison that finds more than a few, of which nobody
	// is to be told at once: who has just started hears of all, and all others know
	// them. It shares the entries with Set. Nil: there is no such method.
	Bulk       Set[K, V, E]
	BulkMethod string // answered by ServeBulk
}

const (
	maxPartBytes = 64 << 10
	maxPart      = 200 // entries of a message, and keys that are asked for at once
	maxNews      = 64  // entries that a comparison moves are told on if there are no more
)

// With makes the sets of this node and of peer equal, as far as they are not. Equal ones
// cost one small request.
func (x *Exchanger[K, V, E]) With(ctx context.Context, peer view.NodeID) error {
	digest := x.Set.Digest()
	b, err := x.Call(ctx, peer, x.SumsMethod, x.Words.AppendQuery(nil, wire.TableSums[K, V]{Digest: digest}))
	if err != nil {
		return err
	}
	theirs, err := x.Words.DecodeSums(b)
	if err != nil || theirs.Equal || theirs.Digest == digest {
		return err
	}
	swap, err := x.Set.Missing(ctx, peer, theirs.Sums)
	if err != nil {
		return err
	}
	return x.swapAll(ctx, peer, swap, theirs.Sums)
}

// swapAll hands over and fetches what two nodes lack, in parts, for as long as it gets on.
// What to ask for first is left to chance: entries that are not taken in must not stand
// before all others for ever.
func (x *Exchanger[K, V, E]) swapAll(ctx context.Context, peer view.NodeID, swap wire.TableSwap[K, E], theirs []wire.KeySum[K, V]) error {
	set, method := x.Set, x.SwapMethod
	if x.Bulk != nil && len(swap.Have)+len(swap.Want) > maxNews {
		set, method = x.Bulk, x.BulkMethod
	}
	if x.Size != nil {
		rand.Shuffle(len(swap.Want), func(i, j int) { swap.Want[i], swap.Want[j] = swap.Want[j], swap.Want[i] })
	}
	swap.Want = onlyWanted(swap.Want, theirs, set.Sieve())
	for len(swap.Have)+len(swap.Want) > 0 {
		part := wire.TableSwap[K, E]{Have: x.firstPart(swap.Have), Want: swap.Want}
		if x.Size != nil {
			part.Want = swap.Want[:min(len(swap.Want), maxPart)]
		}
		b, err := x.Call(ctx, peer, method, x.Words.AppendSwap(nil, part))
		if err != nil {
			return err
		}
		reply, err := x.Words.DecodeSwap(b, set.Sieve())
		if err != nil {
			return err
		}
		if err := set.Take(ctx, peer, reply.Have); err != nil {
			return err
		}
		left := onlyWanted(swap.Want, theirs, set.Sieve())
		if x.Size == nil || len(left) == len(swap.Want) {
			left = nil // the peer has brought what it will
		}
		swap.Have, swap.Want = swap.Have[len(part.Have):], left
	}
	return nil
}

// onlyWanted returns those keys of which the peer has something that would be taken in.
func onlyWanted[K comparable, V any](keys []K, theirs []wire.KeySum[K, V], wanted func(wire.KeySum[K, V]) bool) (out []K) {
	if wanted == nil || len(keys) == 0 {
		return keys
	}
	sums := make(map[K]V, len(theirs))
	for _, s := range theirs {
		sums[s.Key] = s.Version
	}
	for _, key := range keys {
		if wanted(wire.KeySum[K, V]{Key: key, Version: sums[key]}) {
			out = append(out, key)
		}
	}
	return out
}

// firstPart returns the first entries, as many as fit into a message, and one at least.
func (x *Exchanger[K, V, E]) firstPart(have []E) []E {
	if x.Size == nil {
		return have
	}
	size := 0
	for i, e := range have {
		if size += x.Size(e); i > 0 && size > maxPartBytes || i == maxPart {
			return have[:i]
		}
	}
	return have
}

// Teller returns a function that hands entries to a peer, which may have some of them. Of
// more than a message takes it hands over the first.
func (x *Exchanger[K, V, E]) Teller(have []E) func(ctx context.Context, peer view.NodeID) error {
	req := x.Words.AppendSwap(nil, wire.TableSwap[K, E]{Have: x.firstPart(have)})
	return func(ctx context.Context, peer view.NodeID) error {
		_, err := x.Call(ctx, peer, x.SwapMethod, req)
		return err
	}
}

// ServeSums answers whether a peer has the same entries.
func (x *Exchanger[K, V, E]) ServeSums(_ context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	asked, err := x.Words.DecodeQuery(req)
	if err != nil {
		return nil, err
	}
	mine := wire.TableSums[K, V]{Digest: x.Set.Digest()}
	if mine.Equal = mine.Digest == asked.Digest; !mine.Equal {
		mine.Sums = x.Set.Sums()
	}
	return x.Words.AppendSums(nil, mine), nil
}

// ServeSwap takes entries in and hands over those wanted.
func (x *Exchanger[K, V, E]) ServeSwap(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	return x.serveSwap(ctx, from, req, x.Set)
}

// ServeBulk is ServeSwap for a part of many entries.
func (x *Exchanger[K, V, E]) ServeBulk(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	return x.serveSwap(ctx, from, req, x.Bulk)
}

// serveSwap is both. What is read of a message may take many times its bytes, so few are
// read at a time.
func (x *Exchanger[K, V, E]) serveSwap(ctx context.Context, from view.NodeID, req []byte, set Set[K, V, E]) ([]byte, error) {
	if x.Reads != nil {
		select {
		case x.Reads <- struct{}{}:
			defer func() { <-x.Reads }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	asked, err := x.Words.DecodeSwap(req, set.Sieve())
	if err != nil {
		return nil, err
	}
	have, err := set.Answer(ctx, from, asked)
	if err != nil {
		return nil, err
	}
	return x.Words.AppendSwap(nil, wire.TableSwap[K, E]{Have: x.firstPart(have)}), nil
}

// HandOn calls hand when there are news, after a pause in which others may join them,
// until ctx ends or news is closed. It must not run in one goroutine with Compare: a
// peer that does not answer a comparison would hold up the news.
func HandOn[T any](ctx context.Context, news <-chan T, pause time.Duration, hand func(context.Context)) {
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-news:
			if !ok || !clock.Sleep(ctx, pause/2+rand.N(pause)) {
				return
			}
			hand(ctx)
		}
	}
}

// Compare compares with one of the partners about once in every, until ctx ends: so comes
// in what was missed.
func Compare(ctx context.Context, every time.Duration, partners func() []view.NodeID, with func(context.Context, view.NodeID) error) {
	for pause := rand.N(every); clock.Sleep(ctx, pause); pause = every/2 + rand.N(every) {
		if ids := partners(); len(ids) > 0 {
			_ = with(ctx, ids[rand.IntN(len(ids))]) // another is asked next time
		}
	}
}
