// Package view holds the words in which a mesh speaks of its nodes: who
// belongs to it, and who is alive now as seen from one node. It is values
// only; package mesh produces them.
package view

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// NodeID names a store: one data directory and the node that runs on it. It
// is minted at random when the directory is created and lives and dies with
// the data in it. Zero is no node.
type NodeID uint64

// String returns the id as 16 hexadecimal digits.
func (id NodeID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// MarshalText returns what String does: in JSON, and so in logs, an id is text. Not
// all that reads JSON keeps numbers of 64 bits.
func (id NodeID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText returned.
func (id *NodeID) UnmarshalText(text []byte) error {
	if string(text) == NodeID(0).String() {
		*id = 0
		return nil
	}
	n, err := ParseNodeID(string(text))
	if err == nil {
		*id = n
	}
	return err
}

// ParseNodeID reads what String printed.
func ParseNodeID(s string) (NodeID, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil || len(s) != 16 || n == 0 {
		return 0, fmt.Errorf("view: %q is not a node id (16 hexadecimal digits, not zero)", s)
	}
	return NodeID(n), nil
}

// MeshID names a mesh: nodes with equal MeshIDs merge when they meet, others
// never do.
type MeshID [16]byte

// String returns the id as 32 hexadecimal digits.
func (id MeshID) String() string { return fmt.Sprintf("%x", id[:]) }

// MarshalText returns what String does.
func (id MeshID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText returned.
func (id *MeshID) UnmarshalText(text []byte) error {
	if n, err := hex.Decode(id[:], text[:min(len(text), 2*len(id))]); err != nil || n != len(id) || len(text) != 2*len(id) {
		return fmt.Errorf("view: %q is not a mesh id (32 hexadecimal digits)", text)
	}
	return nil
}

// State is what one node knows of another right now. It is local knowledge:
// two nodes may differ.
type State uint8

const (
	Unknown  State = iota // never met since this node started
	Alive                 // in contact
	Suspect               // contact broken, not yet given up
	Failed                // neither gossip nor direct probes reach it
	Departed              // left or was evicted, for good
)

// String returns the state in lower case. The state of a member that left
// for good prints as "left".
func (s State) String() string {
	switch s {
	case Alive:
		return "alive"
	case Suspect:
		return "suspect"
	case Failed:
		return "failed"
	case Departed:
		return "left"
	}
	return "unknown"
}

// MarshalText returns what String does.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText returned.
func (s *State) UnmarshalText(text []byte) error {
	for _, known := range []State{Unknown, Alive, Suspect, Failed, Departed} {
		if known.String() == string(text) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("view: %q is not the state of a member", text)
}

// Status is a member's standing in the roster, shared by all nodes. It only
// ever moves forward.
type Status uint8

const (
	Joining Status = iota
	Active
	Leaving
	Left
	Evicted
)

// String returns the status in lower case.
func (s Status) String() string {
	switch s {
	case Joining:
		return "joining"
	case Active:
		return "active"
	case Leaving:
		return "leaving"
	case Left:
		return "left"
	case Evicted:
		return "evicted"
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// MarshalText returns what String does.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText returned.
func (s *Status) UnmarshalText(text []byte) error {
	for known := Joining; known <= Evicted; known++ {
		if known.String() == string(text) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("view: %q is not the status of a member", text)
}

// Gone tells whether the member left or was evicted; both are final.
func (s Status) Gone() bool { return s >= Left }

// Member is one node of the roster as seen from the node that made the View.
type Member struct {
	ID      NodeID
	Name    string         // for people and placement; unique among members that are not gone
	Zone    string         // where it stands; copies of an item spread over zones
	Addr    netip.AddrPort // where it was last known to listen; UDP and TCP
	Weight  int            // share of the data relative to others, 1 to 8
	Storing bool           // holds items; others only read and write through those that do
	Status  Status         // standing in the roster
	State   State          // liveness as seen from here
	Boot    uint64         // highest boot counter seen of it; 0 before first contact
	Since   time.Time      // when State last changed, by this node's clock
	RTT     time.Duration  // last measured round trip; 0 when not known

	// Unreachable: others say that it lives, yet the last direct attempts from
	// here failed. The link between the two is broken, one way or both.
	Unreachable bool

	// Tags and Capabilities are what it says of itself for programs, as last heard of
	// it; both empty before that. Nobody may change them.
	Tags         map[string]string `json:",omitempty"`
	Capabilities []string          `json:",omitempty"` // sorted
}

// Witnesses is what nodes that were asked whether they reach a member said.
type Witnesses struct {
	Need    int      // how many must fail to reach it, the one that asks among them
	Asked   int      // how many were asked, the one that asks among them; who does not know the question is not counted
	Failed  int      // of those, how many did not reach it
	Reached int      // of those, how many reached it; the rest gave no answer
	By      []NodeID // those that reached it, sorted

	// Confirmed: Need nodes or more failed to reach it, and none reached it.
	Confirmed bool
}

// View is a snapshot of the roster and of liveness as one node sees them. It
// is never changed after it was made and may be shared freely.
type View struct {
	Mesh    MeshID
	Self    NodeID
	Version uint64   // grows with every change of this node's view
	Roster  uint64   `json:",string"` // digest of what placement depends on; equal rosters have equal digests
	Storing [16]byte // digest of the storing members ever met and whether each is gone
	Members []Member // all members, dead or alive, and those gone last, sorted by ID; includes Self

	// Problems are what keeps the node from others and an operator should look at,
	// as far as it is not that a member is down.
	Problems []Problem
}

// Member returns the member with the given id.
func (v View) Member(id NodeID) (Member, bool) {
	lo, hi := 0, len(v.Members)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if v.Members[mid].ID < id {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(v.Members) && v.Members[lo].ID == id {
		return v.Members[lo], true
	}
	return Member{}, false
}

// Count returns how many members are in state s.
func (v View) Count(s State) int {
	n := 0
	for i := range v.Members {
		if v.Members[i].State == s {
			n++
		}
	}
	return n
}
