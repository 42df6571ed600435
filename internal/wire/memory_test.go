package wire

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// The smallest real things pass, in messages as long as there are; empty ones, which
// take up to 60 times their bytes in memory, are refused before they take it.
func TestMemoryOfMessages(t *testing.T) {
	const n = 1 << 14
	round := Round{Counter: 1, Proposer: 1 << 63}
	a := version.Actor{Store: 1 << 63, Session: 1 << 62, Seq: 1}
	tomb := AppendItem(nil, &version.Item{Ctx: version.Context{{A: a, N: 1}}, HLC: 1 << 60, Sibs: []version.Sibling{{Dot: version.Dot{A: a, N: 1}, HLC: 1 << 60, Flags: version.Tomb}}})
	var merge MergeRequest
	var real Proposal
	var commit CommitRequest
	var read ReadRequest
	var health, lines, shards, down AdminHealth
	health.InWords, lines.InWords = true, true
	real.Shard, real.Round = 1, round
	for i := range n {
		key := string([]byte{byte(i >> 8), byte(i)})
		merge.Offers = append(merge.Offers, Offer{Bucket: 1 << 63, Key: key, Item: tomb})
		real.Tombs = append(real.Tombs, Tomb{Bucket: 1 << 63, Key: key, Item: tomb})
		commit.Rounds = append(commit.Rounds, ShardRound{Shard: i, Round: round})
		read.Keys = append(read.Keys, Lookup{Bucket: 1 << 63, Key: key})
		health.Lines, lines.Lines = append(health.Lines, "shard 1"), append(lines.Lines, "")
		shards.Shards = append(shards.Shards, AdminShard{Bucket: "b", Role: "home", Shard: i, Copies: 3, Homes: []view.NodeID{1 << 60, 1 << 61, 1 << 62}, Synced: []AdminSynced{{1 << 60, time.Minute}, {1 << 61, time.Minute}}})
		down.Problems = append(down.Problems, view.Problem{})
	}
	// No encoder of ours writes ids that short.
	propose := appendPacked(nil, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeBytes(make([]byte, 16))
		p.writeArrayLen(64)
		for i := range 64 {
			p.writeUint(uint64(i))
			p.writeRound(round)
			p.writeStamp(Stamp{})
			p.writeArrayLen(3 * n)
			for range n {
				p.writeUint(0)
				p.writeString("")
				p.writeBytes(nil)
			}
		}
	})
	rounds := appendPacked(nil, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeArrayLen(3 * n)
		for range 3 * n {
			p.writeUint(0)
		}
	})
	for _, c := range []struct {
		name   string
		data   []byte
		decode func([]byte) (any, error)
		bomb   bool
	}{
		{"merge", AppendMergeRequest(nil, &merge), as(DecodeMergeRequest), false},
		{"propose", AppendProposeRequest(nil, &ProposeRequest{Proposals: []Proposal{real}}), as(DecodeProposeRequest), false},
		{"commit", AppendCommitRequest(nil, &commit), as(DecodeCommitRequest), false},
		{"read", AppendReadRequest(nil, &read), as(DecodeReadRequest), false},
		{"health", AppendAdminHealth(nil, &health), as(DecodeAdminHealth), false},
		{"empty merge", AppendMergeRequest(nil, &MergeRequest{Offers: make([]Offer, n)}), as(DecodeMergeRequest), true},
		{"empty propose", propose, as(DecodeProposeRequest), true},
		{"empty commit", rounds, as(DecodeCommitRequest), true},
		{"shards", AppendAdminHealth(nil, &shards), as(DecodeAdminHealth), false},
		{"empty health", AppendAdminHealth(nil, &lines), as(DecodeAdminHealth), true},
		{"empty problems", AppendAdminHealth(nil, &down), as(DecodeAdminHealth), true},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := c.decode(c.data)
		runtime.ReadMemStats(&after)
		if c.bomb != errors.Is(err, ErrMalformed) || !c.bomb && err != nil {
			t.Errorf("%s of %d bytes: %v", c.name, len(c.data), err)
		}
		if n := int(after.TotalAlloc - before.TotalAlloc); n > memoryFactor*len(c.data)+16*freeMemory {
			t.Errorf("%s of %d bytes took %d", c.name, len(c.data), n)
		}
	}
}
