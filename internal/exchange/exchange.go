// Package exchange makes tables equal between nodes: see internal/epidemic, which holds
// the rules and tells what to hand in for another kind of entry.
//
// Two nodes compare in two requests. The first asks with a digest, and the answer says
// that there is nothing to do or lists what the peer holds. The second hands over what
// the peer lacks and names what is lacking here, which the answer brings.
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
type Exchanger[K, V, E any] struct {
	Set        Set[K, V, E]
	Words      Words[K, V, E]
	SumsMethod string // answered by ServeSums
	SwapMethod string // answered by ServeSwap
	Call       func(ctx context.Context, peer view.NodeID, method string, req []byte) ([]byte, error)
	Reads      chan struct{} // its capacity is how many messages with entries are read at a time; nil: all
}

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
	if b, err = x.Call(ctx, peer, x.SwapMethod, x.Words.AppendSwap(nil, swap)); err != nil {
		return err
	}
	reply, err := x.Words.DecodeSwap(b, x.Set.Sieve())
	if err != nil {
		return err
	}
	return x.Set.Take(ctx, peer, reply.Have)
}

// Teller returns a function that hands entries to a peer, which may have some of them.
func (x *Exchanger[K, V, E]) Teller(have []E) func(ctx context.Context, peer view.NodeID) error {
	req := x.Words.AppendSwap(nil, wire.TableSwap[K, E]{Have: have})
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
//
// What is read of a message may take many times its bytes, so few are read at a time.
func (x *Exchanger[K, V, E]) ServeSwap(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	if x.Reads != nil {
		select {
		case x.Reads <- struct{}{}:
			defer func() { <-x.Reads }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	asked, err := x.Words.DecodeSwap(req, x.Set.Sieve())
	if err != nil {
		return nil, err
	}
	have, err := x.Set.Answer(ctx, from, asked)
	if err != nil {
		return nil, err
	}
	return x.Words.AppendSwap(nil, wire.TableSwap[K, E]{Have: have}), nil
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
