package main

import (
	"net/netip"
	"time"

	"github.com/skeinmesh/skein/examples/internal/stage"
	"github.com/skeinmesh/skein/failover"
	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh/view"
)

// cast is the nodes' processes as the parent sees them, line a node's end of the talk.
type (
	cast = stage.Cast[request, answer, event]
	line = stage.Line[request, answer, event]
)

type request struct {
	Op      string        `json:"op"` // status, plan, serve, report, break, read, overwrite, drill, history, cut, backups, verify, rest
	Plan    *service.Plan `json:"plan,omitempty"`
	Service string        `json:"service,omitempty"`
	Keys    []string      `json:"keys,omitempty"`
	Key     string        `json:"key,omitempty"`
	Token   string        `json:"token,omitempty"` // overwrite: of the lead under which it is tried
	Blocked []netip.Addr  `json:"blocked,omitempty"`
	Since   time.Time     `json:"since,omitzero"`

	Identity string `json:"identity,omitempty"` // verify: what opens backups
}

type answer struct {
	Node    view.NodeID       `json:"node,omitempty"`  // status
	Alive   int               `json:"alive,omitempty"` // status: members in contact, itself included
	Values  map[string]string `json:"values,omitempty"`
	Report  *report           `json:"report,omitempty"`
	Fenced  bool              `json:"fenced,omitempty"` // overwrite: it was refused for its token
	History []failover.Event  `json:"history,omitempty"`

	Backups  []backed `json:"backups,omitempty"`
	Verified int      `json:"verified,omitempty"` // objects
}

// report is what the monitoring service tells of itself.
type report struct {
	Node     string         `json:"node"`
	Readings map[string]int `json:"readings"` // by the node that measured, since the service was started
}

// event is what a node tells unasked: a mark of a service, a notice that it has heard, or what
// was acknowledged to a service.
type event struct {
	Mark    string        `json:"mark,omitempty"`
	Service string        `json:"service,omitempty"`
	Token   string        `json:"token,omitempty"`
	Forced  bool          `json:"forced,omitempty"` // the lead was lost
	At      time.Duration `json:"at,omitempty"`     // by the boot clock

	Heard string `json:"heard,omitempty"`

	Key   string `json:"key,omitempty"`
	Value string `json:"value,omitempty"`
}
