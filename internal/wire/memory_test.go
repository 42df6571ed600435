package wire

import (
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// The smallest real things pass, in messages as long as there are; empty ones, which
// take up to 60 times their bytes in memory, are refused before they take it: no message
// takes more than memoryFactor times its bytes, what tells of health healthFactor times.
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
		health bool
	}{
		{"merge", AppendMergeRequest(nil, &merge), as(DecodeMergeRequest), false, false},
		{"propose", AppendProposeRequest(nil, &ProposeRequest{Proposals: []Proposal{real}}), as(DecodeProposeRequest), false, false},
		{"commit", AppendCommitRequest(nil, &commit), as(DecodeCommitRequest), false, false},
		{"read", AppendReadRequest(nil, &read), as(DecodeReadRequest), false, false},
		{"health", AppendAdminHealth(nil, &health), as(DecodeAdminHealth), false, true},
		{"empty merge", AppendMergeRequest(nil, &MergeRequest{Offers: make([]Offer, n)}), as(DecodeMergeRequest), true, false},
		{"empty propose", propose, as(DecodeProposeRequest), true, false},
		{"empty commit", rounds, as(DecodeCommitRequest), true, false},
		{"shards", AppendAdminHealth(nil, &shards), as(DecodeAdminHealth), false, true},
		{"empty health", AppendAdminHealth(nil, &lines), as(DecodeAdminHealth), true, true},
		{"empty problems", AppendAdminHealth(nil, &down), as(DecodeAdminHealth), true, true},
		{"empty shards", AppendAdminHealth(nil, &AdminHealth{Shards: make([]AdminShard, n)}), as(DecodeAdminHealth), true, true},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := c.decode(c.data)
		runtime.ReadMemStats(&after)
		if c.bomb != errors.Is(err, ErrMalformed) || !c.bomb && err != nil {
			t.Errorf("%s of %d bytes: %v", c.name, len(c.data), err)
		}
		factor := memoryFactor
		if c.health {
			factor = healthFactor
		}
		if n := int(after.TotalAlloc - before.TotalAlloc); n > factor*len(c.data)+16*freeMemory {
			t.Errorf("%s of %d bytes took %d", c.name, len(c.data), n)
		}
	}
}

// A store that is alone has one home in each shard and was made equal with nobody, and
// names of buckets may be short: what it says of its shards takes little on the way.
func TestHealthOfAStoreAlone(t *testing.T) {
	for _, home := range []AdminShard{{Role: "home", Copies: 1, Homes: []view.NodeID{1 << 63}}, {}} {
		for buckets := 1; buckets <= 10; buckets++ {
			for letters := 1; letters <= 6; letters++ {
				var m AdminHealth
				for b := range buckets {
					for i := range 271 {
						home.Bucket, home.Shard = strings.Repeat(string(rune('a'+b)), letters), i
						m.Shards = append(m.Shards, home)
					}
				}
				data := AppendAdminHealth(nil, &m)
				if got, err := DecodeAdminHealth(data); err != nil || !reflect.DeepEqual(got, m) {
					t.Errorf("%d buckets with names of %d letters, %d homes, %d bytes: %v", buckets, letters, len(home.Homes), len(data), err)
				}
			}
		}
	}
}
