package mesh

import (
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/skeinmesh/skein/internal/detect"
)

// Profile sets the pace at which nodes watch each other. All nodes of a mesh
// should have the same.
//
// The bounds are for a node that falls silent at once, as by a pulled plug,
// until the last other node calls it failed. A killed process, whose
// connections break, is suspected by those that had one within ProbeTimeout.
type Profile uint8

const (
	// LAN is for nodes on one site with round trips of a few milliseconds.
	// Silent nodes are failed within 8 s among 5 nodes, 11 s among 50 and 16 s
	// among 300; killed processes are suspected in less than 0.5 s.
	LAN Profile = iota
	// WAN is for sites joined by the internet: round trips to 300 ms. Silent
	// nodes are failed within 40 s among 5 nodes and 80 s among 300.
	WAN
	// Edge is for starved gateways and poor radio links, where being wrong
	// costs more than being late. Silent nodes are failed within 25 s among 5
	// nodes and 40 s among 300; one that stalls for 10 s is not failed. Round trips
	// may take 2.5 s, as by satellite.
	Edge
)

// String returns the name of the profile.
func (p Profile) String() string {
	switch p {
	case LAN:
		return "LAN"
	case WAN:
		return "WAN"
	case Edge:
		return "Edge"
	}
	return "unknown profile"
}

// pace is what a Profile stands for.
type pace struct {
	detect detect.Params
	gossip func(*memberlist.Config)
	sync   time.Duration // between roster exchanges with one peer, each way
	dial   time.Duration // for one attempt at meeting a node
	shake  time.Duration // for a stranger to prove who it is: a round trip and what weak CPUs take
	hellos time.Duration // for a connection to be made, of three round trips
	news   time.Duration // for Start to hear that the node was given up meanwhile
	seek   time.Duration // expected time between attempts of the whole mesh at one seed that is not a member
}

func (p Profile) watchPace() pace {
	switch p {
	case WAN:
		return pace{detect: detect.WAN(), gossip: gossipWAN, sync: 10 * time.Second, dial: 8 * time.Second, shake: 4 * time.Second, hellos: 8 * time.Second, news: 2 * time.Second, seek: 30 * time.Second}
	case Edge:
		d := detect.Edge()
		d.Probes, d.ProbeTimeout = 3, 1500*time.Millisecond // more would miss the bound
		return pace{detect: d, gossip: gossipEdge, sync: 15 * time.Second, dial: 10 * time.Second, shake: 6 * time.Second, hellos: 12 * time.Second, news: 3 * time.Second, seek: 30 * time.Second}
	}
	return pace{detect: detect.LAN(), gossip: gossipLAN, sync: 5 * time.Second, dial: 3 * time.Second, shake: 2 * time.Second, hellos: 3 * time.Second, news: time.Second, seek: 30 * time.Second}
}

// Rosters are exchanged on their own, so that push and pull of memberlist's
// state only has to mend what gossip lost. And what memberlist says is only a
// hint, to be confirmed by our own probes, so it need not be slow to suspect:
// with these values it gives a silent node up 2.1 to 4.2 s after the first
// failed probe among 5 nodes, 5.2 to 10.4 s among 300. Gossip twice as often,
// as is the default, cost an idle node a fifth of its CPU and made all this no
// faster.
func gossipLAN(c *memberlist.Config) {
	c.GossipInterval = 400 * time.Millisecond
	c.PushPullInterval = time.Minute
	c.TCPTimeout = 3 * time.Second
	c.ProbeInterval = 700 * time.Millisecond
	c.ProbeTimeout = 350 * time.Millisecond
	c.SuspicionMult = 3
	c.SuspicionMaxTimeoutMult = 2
}

func gossipWAN(c *memberlist.Config) {
	wan := memberlist.DefaultWANConfig()
	c.GossipNodes = wan.GossipNodes
	c.GossipInterval = wan.GossipInterval
	c.GossipToTheDeadTime = wan.GossipToTheDeadTime
	c.PushPullInterval = 2 * time.Minute
	c.TCPTimeout = 8 * time.Second
	c.ProbeInterval = 3 * time.Second
	c.ProbeTimeout = 1500 * time.Millisecond
	c.SuspicionMult = 4
	c.SuspicionMaxTimeoutMult = 2
}

// A node is given up by gossip no sooner than 2 + 4 x 2 s after it fell
// silent, so it may stall for 10 s.
func gossipEdge(c *memberlist.Config) {
	c.PushPullInterval = 2 * time.Minute
	c.TCPTimeout = 10 * time.Second
	c.ProbeInterval = 2 * time.Second
	c.ProbeTimeout = time.Second
	c.SuspicionMult = 4
	c.SuspicionMaxTimeoutMult = 1
}
