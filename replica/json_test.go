package replica

import (
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/golden"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

func TestJSONOfHealth(t *testing.T) {
	ids := []view.NodeID{1<<63 + 1, 2}
	golden.CheckJSON(t, "health", Health{
		Status: Status{
			Hints: 1, Syncing: 2, Delivered: 3, Repaired: 4, Compared: 5, Moved: 6,
			OutboxOps: 7, OutboxBytes: 8, OutboxOldest: time.Second, OutboxDelivered: 9, OutboxDropped: 10, OutboxError: "nobody is there",
		},
		Shards:   []ShardHealth{{Bucket: "b", Shard: 1, Role: "home", Homes: ids, Copies: 2, Syncing: true, Hints: 3, Synced: map[view.NodeID]time.Duration{2: time.Minute}}},
		Leftover: 11, HandingOver: 12, Lost: ids, SetAside: 13, Importing: 14, ImportRefused: 15,
		PurgeBlocked: &PurgeBlocked{Missing: ids, For: time.Hour, Bytes: 16},
		Expired:      Expired{Records: 17, Bytes: 18, Waits: time.Second},
		Problems:     []view.Problem{{Kind: view.ProblemDiskFull, Text: "x", Nodes: []view.Named{{ID: 2, Name: "n"}}, Cut: []view.Named{{ID: 2, Name: "n"}}, Silent: []view.Named{{ID: 2, Name: "n"}}, By: []view.Named{{ID: 2, Name: "n"}}, Where: []string{"w"}, Shards: 1, Count: 1, Of: 1, Bytes: 1, For: 1}},
	})
}

func TestJSONOfResults(t *testing.T) {
	dot := version.Dot{A: version.Actor{Store: 1<<63 + 1, Session: 1 << 62, Seq: 3}, N: 4}
	golden.CheckJSON(t, "result", Result{Context: Context{token: "AQID"}, Durable: 3, Homes: 2, Hinted: 1, Dot: dot, Covered: []version.Dot{dot}, Queued: true})
}
