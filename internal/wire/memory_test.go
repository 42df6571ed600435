package wire

import (
	"errors"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// The smallest real things pass, in messages as long as there are; empty ones, which
// take up to 60 times their bytes in memory, are refused before they take it: no message
// takes more than memoryFactor times its bytes, what tells of health healthFactor times,
// and looseFactor times what is made of even smaller real things.
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
	propose, rounds, reads, members := bombs(n)
	for _, c := range []struct {
		name   string
		data   []byte
		decode func([]byte) (any, error)
		bomb   bool
		factor int
	}{
		{"merge", AppendMergeRequest(nil, &merge), as(DecodeMergeRequest), false, memoryFactor},
		{"propose", AppendProposeRequest(nil, &ProposeRequest{Proposals: []Proposal{real}}), as(DecodeProposeRequest), false, memoryFactor},
		{"commit", AppendCommitRequest(nil, &commit), as(DecodeCommitRequest), false, memoryFactor},
		{"read", AppendReadRequest(nil, &read), as(DecodeReadRequest), false, memoryFactor},
		{"health", AppendAdminHealth(nil, &health), as(DecodeAdminHealth), false, healthFactor},
		{"empty merge", AppendMergeRequest(nil, &MergeRequest{Offers: make([]Offer, n)}), as(DecodeMergeRequest), true, memoryFactor},
		{"empty propose", propose, as(DecodeProposeRequest), true, memoryFactor},
		{"empty reads", reads, as(DecodeReadReply), true, looseFactor},
		{"empty roster", members, func(b []byte) (any, error) { _, _, err := DecodeRoster(b); return nil, err }, true, memoryFactor},
		{"empty commit", rounds, as(DecodeCommitRequest), true, memoryFactor},
		{"shards", AppendAdminHealth(nil, &shards), as(DecodeAdminHealth), false, healthFactor},
		{"empty health", AppendAdminHealth(nil, &lines), as(DecodeAdminHealth), true, healthFactor},
		{"empty problems", AppendAdminHealth(nil, &down), as(DecodeAdminHealth), true, healthFactor},
		{"empty shards", AppendAdminHealth(nil, &AdminHealth{Shards: make([]AdminShard, n)}), as(DecodeAdminHealth), true, healthFactor},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := c.decode(c.data)
		runtime.ReadMemStats(&after)
		if c.bomb != errors.Is(err, ErrMalformed) || !c.bomb && err != nil {
			t.Errorf("%s of %d bytes: %v", c.name, len(c.data), err)
		}
		if n := int(after.TotalAlloc - before.TotalAlloc); n > c.factor*len(c.data)+16*freeMemory {
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

// bombs are messages of n things, as short as no encoder of ours writes them.
func bombs(n int) (propose, rounds, reads, members []byte) {
	propose = handmade(func(c *codec) {
		c.writeUint(replicaVersion)
		c.writeBytes(make([]byte, 16))
		c.writeArrayLen(64)
		for i := range 64 {
			o := Proposal{Shard: i, Round: Round{Counter: 1, Proposer: 1 << 63}}
			c.codeShard(&o.Shard)
			o.Round.codeFields(c)
			o.Stamp.codeFields(c)
			c.writeArrayLen(3 * n)
			for range n {
				c.writeUint(0)
				c.writeText("")
				c.writeBytes(nil)
			}
		}
	})
	rounds = handmade(func(c *codec) {
		c.writeUint(replicaVersion)
		c.writeArrayLen(3 * n)
		for range 3 * n {
			c.writeUint(0)
		}
	})
	reads = handmade(func(c *codec) {
		c.writeUint(replicaVersion)
		c.writeInt(0)
		c.writeArrayLen(2 * n)
		for range n {
			c.writeUint(uint64(Absent))
			c.writeText("") // shorter than empty bytes
		}
	})
	members = handmade(func(c *codec) {
		c.writeUint(rosterVersion)
		c.writeArrayLen(n)
		for range n {
			c.writeUint(0)
		}
	})
	return propose, rounds, reads, members
}

// Whatever a node may have to tell passes, however small the things are of which it is
// many.
func TestSmallThingsPass(t *testing.T) {
	dot := version.Dot{A: version.Actor{Store: 1}, N: 1}
	election := Election{Name: "e"}
	leads := AdminLeadership{Election: election}
	notice := Notice{Node: 1, Standing: slices.Repeat([]Stand{{Election: election}}, MaxElections), Leads: slices.Repeat([]Claim{{Election: election}}, MaxElections)}
	item := version.Item{Ctx: version.Context{{A: dot.A, N: MaxSiblings}}, HLC: 1, Sibs: make([]version.Sibling, MaxSiblings)}
	var round []Lookedup
	var roster []Member
	var seen view.View
	var sums RosterSums
	var notices NoticeSums
	var places RosterFile
	var differ SumsReply
	for i := range item.Sibs {
		id := view.NodeID(i + 1)
		item.Sibs[i] = version.Sibling{Dot: version.Dot{A: dot.A, N: uint64(id)}}
		round = append(round, Lookedup{Found: Present, Item: []byte{1}, Stamp: Stamp{Acked: Round{Counter: uint64(id)}}})
		roster = append(roster, Member{ID: id})
		seen.Members = append(seen.Members, view.Member{ID: id, Since: time.UnixMilli(0)})
		sums.Sums = append(sums.Sums, EntrySum{Key: id})
		differ.Differ = append(differ.Differ, BucketDiffers{Place: i})
		notices.Sums = append(notices.Sums, NoticeSum{Key: id})
		places.Places = append(places.Places, Places{ID: id, Addrs: slices.Repeat([]netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:1")}, 1+i%MaxPlaces)})
	}
	seen.Self = 1
	swap := AppendNoticeSwap(nil, NoticeSwap{Have: slices.Repeat([]Notice{notice}, 1<<10)})
	for name, err := range map[string]error{
		"absent":    second(DecodeReadReply(AppendReadReply(nil, &ReadReply{Items: make([]Lookedup, maxBatch)}))),
		"damaged":   second(DecodePageReply(AppendPageReply(nil, &PageReply{Entries: make([]PageEntry, maxBatch)}))),
		"differ":    second(DecodeSumsReply(AppendSumsReply(nil, &differ))),
		"stamps":    second(DecodeReadReply(AppendReadReply(nil, &ReadReply{Items: round}))),
		"siblings":  second(DecodeItem(AppendItem(nil, &item))),
		"covered":   second(DecodePutReply(AppendPutReply(nil, &PutReply{Covered: slices.Repeat([]version.Dot{dot}, MaxSiblings)}))),
		"values":    second(DecodeAdminItem(AppendAdminItem(nil, &AdminItem{Values: make([][]byte, MaxSiblings)}))),
		"elections": second(DecodeAdminPartition(AppendAdminPartition(nil, &AdminPartition{Node: 1, Leader: leads, Elections: slices.Repeat([]AdminLeadership{leads}, maxAdminElections), Merges: make([]AdminMerge, maxAdminReports)}))),
		"members":   second(DecodeRosterSwap(AppendRosterSwap(nil, RosterSwap{Have: roster}))),
		"view":      second(DecodeView(AppendView(nil, seen, ViewTraits))),
		"sums":      second(DecodeRosterSums(AppendRosterSums(nil, sums))),
		"notices":   second(decodeAllNotices(swap)),
		"versions":  second(DecodeNoticeSums(AppendNoticeSums(nil, notices))),
		"places":    second(DecodeRosterFile(AppendRosterFile(nil, places))),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// handmade returns what fn writes.
func handmade(fn func(*codec)) []byte {
	var c codec
	fn(&c)
	return c.data
}
