package comparing

import (
	"testing"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/wire"
)

// Two stores with different rosters mean different shards by what they have in
// common: sums that are equal, of nothing for instance, prove nothing.
func TestDigestsOfAnotherRosterDiffer(t *testing.T) {
	withPair(t, func(t *testing.T, p *pair) {
		ctx, s := t.Context(), p.stores[0]
		p.write(s, "k", "v")
		if err := p.compare(); err != nil {
			t.Fatal(err)
		}
		lay := s.homes.Now()
		for offset, differ := range []int{0, 1} {
			then := *lay
			then.Roster += uint64(offset)
			sum, err := s.hashDigests(ctx, &then, s.homes.ListShared(lay, p.b, s.id, s.peer))
			if err != nil {
				t.Fatal(err)
			}
			req := wire.SumsRequest{Sums: []wire.BucketSum{{Bucket: p.b.ID, Sum: sum}}}
			answer, err := s.opts.Peers.AskLong(ctx, s.peer, wire.MethodSums, wire.AppendSumsRequest(nil, &req))
			if err != nil {
				t.Fatal(err)
			}
			got, err := wire.DecodeSumsReply(answer)
			if err != nil || len(got.Differ) != differ {
				t.Errorf("roster digest off by %d: %d sums differ, %v, want %d", offset, len(got.Differ), err, differ)
			}
		}
		one, err := s.hashDigests(ctx, lay, []layout.Slice{{Bucket: 99, Shard: 1}})
		if err != nil {
			t.Fatal(err)
		}
		if two, err := s.hashDigests(ctx, lay, []layout.Slice{{Bucket: 99, Shard: 2}}); err != nil || one == two {
			t.Errorf("two shards of nothing have one sum, %v", err)
		}
	})
}
