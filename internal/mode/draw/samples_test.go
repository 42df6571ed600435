package draw

import (
	"fmt"
	"math/rand/v2"

	"github.com/skeinmesh/skein/internal/mode"
	"github.com/skeinmesh/skein/mesh/view"
)

func plantID() (id view.MeshID) {
	for i := range id {
		id[i] = byte(0x1f * (i + 3))
	}
	return id
}

// factory is five nodes on two lines, one of them down, in one component.
func factory() Picture {
	return Picture{
		Mesh: "plant 7", MeshID: plantID(), Self: 0xa1,
		Nodes: []Node{
			{ID: 0xa1, Name: "quality-control", Zone: "quality", State: view.Alive, Storing: true, Leads: []string{"quality control"}},
			{ID: 0xa2, Name: "line-a-press", Zone: "line A", State: view.Alive, Storing: true, Leads: []string{"production monitoring", "backup"}},
			{ID: 0xa3, Name: "line-a-weld", Zone: "line A", State: view.Suspect, Storing: true},
			{ID: 0xa4, Name: "line-b-press", Zone: "line B", State: view.Failed, Storing: true},
			{ID: 0xa5, Name: "warehouse", Zone: "warehouse", State: view.Alive},
		},
		Components: [][]view.NodeID{{0xa1, 0xa2, 0xa3, 0xa5}},
		Doubtful:   []Link{{A: 0xa1, B: 0xa3}, {A: 0xa5, B: 0xa3, OneWay: true}},
		Cloud:      mode.Reachable, Mode: mode.Normal,
		Situation: "line-b-press is down",
	}
}

// torn is the same plant in two halves and without the cloud.
func torn() Picture {
	p := factory()
	p.Mode, p.Cloud = mode.Minority, mode.Unreachable
	p.Components = [][]view.NodeID{{0xa2, 0xa3, 0xa4}, {0xa1, 0xa5}}
	p.Doubtful = nil
	p.Nodes[1].State, p.Nodes[2].State, p.Nodes[3].State = view.Failed, view.Failed, view.Unknown
	p.Nodes = append(p.Nodes, Node{ID: 0xa6, Name: "spare", Zone: "warehouse", State: view.Unknown, Storing: true})
	p.Situation = "partition suspected: zone line A was lost at once, 2 of 6 members within 1.2 s"
	p.Leaderless = []string{"production monitoring"}
	return p
}

// city is 300 nodes in five districts: one district is cut off, and here and
// there a node is down.
func city() Picture {
	p := Picture{
		Mesh: "city", MeshID: plantID(), Self: 1, Mode: mode.Local, Cloud: mode.Unreachable,
		Situation: "partition suspected: zone district-4 was lost at once",
	}
	r := rand.New(rand.NewPCG(4, 0))
	var here, there []view.NodeID
	for i := range 300 {
		n := Node{
			ID: view.NodeID(i + 1), Name: fmt.Sprintf("camera-%03d", i), Zone: fmt.Sprintf("district-%d", i%5),
			State: view.Alive,
		}
		if i < 50 {
			n.Name, n.Storing = fmt.Sprintf("aggregator-%02d", i), true
		}
		switch {
		case i == 7:
			n.Leads = []string{"traffic"}
		case i == 9:
			n.Leads, n.State = []string{"traffic"}, view.Failed
		case i%5 == 4:
			n.State = view.Failed
		case r.IntN(25) == 0:
			n.State = view.Failed
		case r.IntN(25) == 0:
			n.State = view.Suspect
		}
		switch {
		case i%5 == 4:
			there = append(there, n.ID)
		case n.State != view.Failed:
			here = append(here, n.ID)
		}
		p.Nodes = append(p.Nodes, n)
	}
	p.Components = [][]view.NodeID{here, there}
	for range 6 {
		p.Doubtful = append(p.Doubtful, Link{A: here[r.IntN(len(here))], B: here[r.IntN(len(here))], OneWay: r.IntN(2) == 0})
	}
	return p
}

// district is as many nodes as have their names beneath them.
func district() Picture {
	p := Picture{Mesh: "district", Self: 3, Cloud: mode.Unknown, Mode: mode.Alone}
	var all []view.NodeID
	for i := range maxLabelled {
		n := Node{ID: view.NodeID(i + 1), Name: fmt.Sprintf("street-lamp-%02d", i), Zone: fmt.Sprintf("block %c", 'A'+i%4), State: view.Alive, Storing: i%3 == 0}
		if i == 5 {
			n.Leads = []string{"lights"}
		}
		p.Nodes = append(p.Nodes, n)
		all = append(all, n.ID)
	}
	p.Components = [][]view.NodeID{all[:20]}
	return p
}

// hostile is made of names that would break out of what they are drawn in.
func hostile() Picture {
	names := []string{
		`</text><script>alert(1)</script>`, `" onload="alert(1)`, "]]><!--", "a\x1b[2J\x07\r\nb", "\xff\xfe\x00", "\u202egnp.exe",
		"&lt;&amp;&#0;", "名前名前名前名前名前名前名前名前名前名前", "e\u0301\u0301\u0301\u0301", "", "", "%s%d%!",
	}
	p := Picture{Mesh: names[0], Situation: names[3] + names[1], Leaderless: []string{names[2]}, Self: 1}
	var ids []view.NodeID
	for i, name := range names {
		n := Node{ID: view.NodeID(i + 1), Name: name, Zone: names[len(names)-1-i], State: view.State(i), Leads: []string{name, names[0]}}
		p.Nodes = append(p.Nodes, n)
		ids = append(ids, n.ID)
		p.Doubtful = append(p.Doubtful, Link{A: n.ID, B: 1, OneWay: i%2 == 0})
	}
	p.Components = [][]view.NodeID{ids[:6], ids[4:8], {99}}
	return p
}
