package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/bench/load"
	"github.com/skeinmesh/skein/internal/bench/peers/skein/merkle"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica"
	"github.com/skeinmesh/skein/replica/version"
)

const (
	entropyRepeats = 3    // comparisons for each number of differing keys
	entropyBatch   = 1024 // items that are loaded in one request
	methodMerkle   = "bench.merkle"
)

// differing are the numbers of keys that are made to differ.
func differing() []int { return []int{10, 100, 1000} }

// The states of the gate between the stores of a pair.
const (
	gateOpen    int32 = iota
	gateLoad          // items get through, comparisons do not
	gateCut           // no call gets through
	gateCompare       // the comparing store may call until it has compared; the other one may not push
)

// pair is two stores that hold the same keys. The second one compares itself
// with the first one, as it does now and then, whenever the gate lets it.
type pair struct {
	members  [2]*member
	networks [2]countingNetwork
	ledger   *ledger
	gate     atomic.Int32
	compared atomic.Uint64 // of the comparing store's comparisons, how many had ended when the gate was opened
	bucket   atomic.Uint64 // number of the bucket, once a write was seen
	keys     []string
	elements []reconcile.Element // by key
	dirty    int                 // keys, from the start of a random order, that have been made to differ
	order    []int

	served sync.Mutex // guards tree
	tree   *merkle.Tree
}

// measureEntropy counts what it takes two stores of n keys to find the few in
// which they differ. Both hold a version of each, the first store a newer one.
func measureEntropy(ctx context.Context, dir string, n, repeats int) (values map[string]float64, err error) {
	least := 1 // the first key is written while loading
	for _, d := range differing() {
		least += repeats * d
	}
	if n < least {
		return nil, fmt.Errorf("%d keys, at least %d are needed", n, least)
	}
	p, err := openPair(ctx, dir)
	defer func() { err = errors.Join(err, p.closeMembers()) }()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if err := p.loadKeys(ctx, n); err != nil {
		return nil, fmt.Errorf("load %d keys: %w", n, err)
	}
	values = map[string]float64{"seconds to load all keys": time.Since(start).Seconds()}
	alone, err := p.compareStores(ctx)
	if err != nil {
		return nil, err
	}
	values["bytes of a comparison of equal stores"] = float64(alone.finding().wire)
	for _, d := range differing() {
		if err := p.measureDiff(ctx, d, repeats, values); err != nil {
			return nil, fmt.Errorf("%d differing keys: %w", d, err)
		}
	}
	values["rtt"] = values["100 keys: round trips to find them"]
	return values, nil
}

func openPair(ctx context.Context, dir string) (*pair, error) {
	p := &pair{}
	p.ledger = newLedger(func() int64 { return p.networks[0].arrived.Load() + p.networks[1].arrived.Load() })
	ports, err := load.FreePorts(len(p.members))
	if err != nil {
		return p, err
	}
	for i, port := range ports {
		name := fmt.Sprintf("n%d", i)
		cfg := meshConfig(filepath.Join(dir, name), name, fmt.Sprintf("127.0.0.1:%d", port), []string{fmt.Sprintf("127.0.0.1:%d", ports[0])})
		cfg.Network = &p.networks[i]
		s := setup{mesh: cfg, bucket: replica.BucketConfig{Copies: 2, MinDurable: 1}}
		// Nothing else is to happen meanwhile.
		s.store = replica.Config{SyncEvery: -1, PurgeEvery: -1, ScrubEvery: -1, HealAfter: -1}
		if i == 1 {
			s.store.SyncEvery = time.Second
		}
		s.wrap = func(inner replica.Mesh) replica.Mesh {
			return meteredMesh{inner, p.ledger, func(method string, req []byte) bool { return p.allowsCall(i, method, req) }}
		}
		if p.members[i], err = s.openMember(ctx); err != nil {
			return p, err
		}
	}
	if err := p.members[0].node.Handle(methodMerkle, p.answerTree); err != nil {
		return p, err
	}
	for _, m := range p.members {
		if err := m.awaitAll(ctx, len(p.members)); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (p *pair) closeMembers() error {
	var faults []error
	for _, m := range p.members {
		if m != nil {
			faults = append(faults, m.closeAll())
		}
	}
	return errors.Join(faults...)
}

// allowsCall is the gate. Pushes of the first store stay shut out: they would bring
// what was written during the cut, which is kept there as a hint, before the
// comparison finds it.
func (p *pair) allowsCall(from int, method string, req []byte) bool {
	switch p.gate.Load() {
	case gateLoad:
		if method == wire.MethodMerge {
			p.learnBucket(req)
		}
		return carriesItems(method) || method == wire.MethodClock
	case gateCut:
		return false
	case gateCompare:
		if from == 0 { // it answers: two that compare at a time would find the same keys twice
			return method == wire.MethodClock
		}
		st, err := p.members[1].store.Status(context.Background())
		return err == nil && st.Compared <= p.compared.Load()
	}
	return true
}

func (p *pair) learnBucket(req []byte) {
	if m, err := wire.DecodeMergeRequest(req); err == nil && m.Offers[0].Key == p.keys[0] {
		p.bucket.Store(m.Offers[0].Bucket)
	}
}

// loadKeys puts n keys of 16 bytes on both stores and waits until they are equal.
// Both get them as a third store would bring what it holds, many in a request:
// to write a million keys one by one would take minutes.
func (p *pair) loadKeys(ctx context.Context, n int) error {
	p.keys = load.Keys(n)
	p.elements = make([]reconcile.Element, n)
	chance := rand.New(rand.NewPCG(uint64(n), 3))
	hasher := reconcile.NewHasher([16]byte{})
	for i, key := range p.keys {
		p.elements[i] = reconcile.Element{Key: hasher.Key([]byte(key)), Version: chance.Uint64()}
	}
	p.order = chance.Perm(n)
	if err := p.awaitReady(ctx); err != nil {
		return err
	}
	p.gate.Store(gateLoad)
	if _, err := p.members[0].bucket.Put(ctx, p.keys[0], valueOf(0, 0), nil); err != nil {
		return err
	}
	if p.bucket.Load() == 0 {
		return errors.New("no write has gone to the other store")
	}
	batches := (n + entropyBatch - 1) / entropyBatch
	third, now := version.Actor{Store: chance.Uint64(), Session: chance.Uint64()}, version.At(time.Now().UnixMilli())
	err := forEachUpTo(2*batches, 8, func(i int) error {
		from := i / 2 * entropyBatch
		return p.bringKeys(ctx, i%2, from, min(from+entropyBatch, n), third, now)
	})
	if err != nil {
		return err
	}
	return awaitTrue(ctx, "equal stores", 2*time.Minute, func() (bool, error) { return p.areEqual(ctx) })
}

// bringKeys merges the keys of these numbers into one of the stores.
func (p *pair) bringKeys(ctx context.Context, to, from, until int, by version.Actor, at version.HLC) error {
	m := wire.MergeRequest{Wall: at.Millis(), Offers: make([]wire.Offer, 0, until-from)}
	for i := from; i < until; i++ {
		by.Seq = uint32(i) + 1
		item := version.Item{
			Ctx: version.Context{{A: by, N: 1}}, HLC: at,
			Sibs: []version.Sibling{{Dot: version.Dot{A: by, N: 1}, HLC: at, Value: valueOf(i, 0)}},
		}
		m.Offers = append(m.Offers, wire.Offer{Bucket: p.bucket.Load(), Key: p.keys[i], Item: wire.AppendItem(nil, &item)})
	}
	answer, err := p.members[1-to].node.Call(ctx, p.members[to].node.ID(), wire.MethodMerge, wire.AppendMergeRequest(nil, &m))
	if err != nil {
		return err
	}
	reply, err := wire.DecodeMergeReply(answer)
	if err == nil && (reply.Code != wire.CodeOK || len(reply.Stale) > 0) {
		err = fmt.Errorf("items were not taken: code %d", reply.Code)
	}
	return err
}

// awaitReady waits until both stores have made sure that they hold all there is.
func (p *pair) awaitReady(ctx context.Context) error {
	return awaitTrue(ctx, "stores that have found each other", time.Minute, func() (bool, error) {
		for _, m := range p.members {
			if st, err := m.store.Status(ctx); err != nil || st.Syncing > 0 {
				return false, err
			}
		}
		return true, nil
	})
}

func valueOf(i, generation int) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(i)), uint64(generation))
}

func (p *pair) areEqual(ctx context.Context) (bool, error) {
	first, err := p.members[0].bucket.Digests(ctx)
	if err != nil {
		return false, err
	}
	second, err := p.members[1].bucket.Digests(ctx)
	return err == nil && maps.Equal(first, second), err
}

// changeKeys writes d keys that were not yet written again, at the first store
// only, and returns their numbers.
func (p *pair) changeKeys(ctx context.Context, d int) ([]int, error) {
	p.gate.Store(gateCut)
	changed := p.order[p.dirty : p.dirty+d]
	p.dirty += d
	return changed, forEachUpTo(d, 16, func(n int) error {
		i := changed[n]
		_, err := p.members[0].bucket.Put(ctx, p.keys[i], valueOf(i, 1), &replica.PutOptions{Level: replica.One, MinDurable: 1})
		return err
	})
}

// compareStores lets the second store compare itself with the first one until they
// are equal, and returns what that took.
func (p *pair) compareStores(ctx context.Context) (account, error) {
	defer p.gate.Store(gateCut)
	p.gate.Store(gateCut)
	p.ledger.takeAccount()
	for range 5 {
		st, err := p.members[1].store.Status(ctx)
		if err != nil {
			return account{}, err
		}
		p.compared.Store(st.Compared)
		p.gate.Store(gateCompare)
		err = awaitTrue(ctx, "comparison", 2*time.Minute, func() (bool, error) {
			now, err := p.members[1].store.Status(ctx)
			return now.Compared > st.Compared, err
		})
		if err != nil {
			return account{}, err
		}
		if same, err := p.areEqual(ctx); err != nil || same {
			return p.ledger.takeAccount(), err
		}
	}
	return account{}, errors.New("five comparisons did not make the stores equal")
}

// measureDiff compares stores of which d keys differ, several times, and lets hash
// trees find the same differences of the last time.
func (p *pair) measureDiff(ctx context.Context, d, repeats int, values map[string]float64) error {
	says := func(what string) string { return fmt.Sprintf("%d keys: %s", d, what) }
	var changed []int
	var finding, moving usage
	for range repeats {
		var err error
		if changed, err = p.changeKeys(ctx, d); err != nil {
			return err
		}
		took, err := p.compareStores(ctx)
		if err != nil {
			return err
		}
		finding, moving = finding.plusUsage(took.finding()), moving.plusUsage(took.moving())
		rounds := says("round trips to find them")
		values[rounds] = max(values[rounds], float64(took.rounds))
		for method, u := range took.by {
			values[says("calls of "+method)] += float64(u.calls) / float64(repeats)
			values[says("bytes of "+method)] += float64(u.wire) / float64(repeats)
		}
	}
	tree, err := p.compareTrees(ctx, changed)
	if err != nil {
		return err
	}
	found := float64(repeats * d)
	ours, theirs := float64(finding.wire)/found, float64(tree.finding().wire)/float64(d)
	values[fmt.Sprintf("bytes_per_key_%d", d)] = ours
	values[says("of that framing, bytes a key")] = float64(finding.wire-finding.payload) / found
	values[says("bytes a key to move the items")] = float64(moving.wire) / found
	values[says("Merkle, bytes a key")] = theirs
	values[says("Merkle, round trips")] = float64(tree.rounds)
	values[fmt.Sprintf("vs_merkle_%d", d)] = theirs / ours
	if worst, ok := values["vs_merkle"]; !ok || theirs/ours < worst {
		values["vs_merkle"] = theirs / ours
	}
	return nil
}

// compareTrees has the hash trees of both stores compared over the same
// connection. The first store's tree has other versions of the changed keys.
func (p *pair) compareTrees(ctx context.Context, changed []int) (account, error) {
	depth := merkle.Depth(len(p.elements))
	mine, theirs := merkle.New(p.elements, depth), merkle.New(p.elements, depth)
	for _, i := range changed {
		e := p.elements[i]
		e.Version++
		if err := theirs.Replace(e); err != nil {
			return account{}, err
		}
	}
	p.served.Lock()
	p.tree = theirs
	p.served.Unlock()
	p.ledger.takeAccount()
	through := meteredMesh{p.members[1].node, p.ledger, nil}
	found, err := mine.Find(func(request []byte) ([]byte, error) {
		return through.Call(ctx, p.members[0].node.ID(), methodMerkle, request)
	})
	if err == nil && len(found) != len(changed) {
		err = fmt.Errorf("the trees found %d keys of %d", len(found), len(changed))
	}
	return p.ledger.takeAccount(), err
}

func (p *pair) answerTree(_ context.Context, _ view.NodeID, request []byte) ([]byte, error) {
	p.served.Lock()
	defer p.served.Unlock()
	return p.tree.Answer(request)
}
