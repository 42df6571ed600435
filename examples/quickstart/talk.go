package main

import (
	"net/netip"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica/version"
)

type request struct {
	Op      string       `json:"op"` // put, delete, read, homes, cut, status, leader, leave, backup, restore
	Key     string       `json:"key,omitempty"`
	Value   []byte       `json:"value,omitempty"`
	Keys    []string     `json:"keys,omitempty"`
	Blocked []netip.Addr `json:"blocked,omitempty"` // cut: addresses out of reach from now on

	Backups  string `json:"backups,omitempty"`  // restore: the directory where they are
	Identity string `json:"identity,omitempty"` // restore: what opens them
}

type answer struct {
	Write  *written         `json:"write,omitempty"`
	Values map[string]value `json:"values,omitempty"` // read: what each key reads as; a missing key is deleted
	Homes  [][]view.NodeID  `json:"homes,omitempty"`  // homes: of each key asked for
	Status *status          `json:"status,omitempty"`
	Leader *claim           `json:"leader,omitempty"`

	Restored *restored `json:"restored,omitempty"`
}

// written is the acknowledgement of a put or a delete.
type written struct {
	Dot      version.Dot   `json:"dot"`
	Covered  []version.Dot `json:"covered,omitempty"`
	Durable  int           `json:"durable"`
	Degraded bool          `json:"degraded,omitempty"`
}

// value is what a key reads as, and how many concurrent values stand behind it.
type value struct {
	Shown []byte   `json:"shown"`
	All   [][]byte `json:"all,omitempty"` // only when there is more than one
}

// status is what a node says of itself.
type status struct {
	Node     view.NodeID       `json:"node"`
	Alive    int               `json:"alive"`             // members in contact, itself included
	Hints    int               `json:"hints"`             // records held for others
	Syncing  int               `json:"syncing"`           // shards not yet compared with their other homes
	Leftover int               `json:"leftover"`          // shards held that belong elsewhere
	Moved    uint64            `json:"moved"`             // items brought here or there by anti-entropy so far
	Digests  map[string]string `json:"digests,omitempty"` // per shard it is a home of
}

// restored is what came of a restore.
type restored struct {
	Slices  int      `json:"slices"`
	Brought int      `json:"brought"` // items
	Refused int      `json:"refused"` // items that may have been deleted since, as far as anybody knows
	Faults  []string `json:"faults"`  // what was damaged or lost
}

// claim is who leads as far as a node knows.
type claim struct {
	Token token.Token `json:"token"` // zero: it knows of nobody
	Here  bool        `json:"here"`  // it is this node, by its own lease
	Scope string      `json:"scope"`
}

// event is a change in how a node sees another.
type event struct {
	Node  view.NodeID `json:"node"`
	State view.State  `json:"state"`
	At    int64       `json:"at"` // nanoseconds since 1970
}
