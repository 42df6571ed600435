package failover

import (
	"reflect"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// What says what an Event tells.
type What string

const (
	Led            What = "led"             // this node is to run the service
	StepEnded      What = "step ended"      // Error is empty if well
	UndoEnded      What = "undo ended"      //
	Stopped        What = "stopped"         // by force, for the lead was lost
	ProcedureEnded What = "procedure ended" // Why is its name; Error is empty if well
	HealthChanged  What = "health changed"  //
	BetterSeen     What = "better seen"     // Other is preferred by the plan, and waits for a move by hand
	GivenBack      What = "given back"      // this node leads no more, by its own decision; Other is who shall
	DrillBegan     What = "drill began"     // Other is to show that it can run the service
	DrillEnded     What = "drill ended"     // Error is empty if it has passed
	RecoverTried   What = "recovery tried"  // of the node Other; without a service
	Alarm          What = "alarm"           // a person should look
)

// Event is one thing that has happened to a service at a node.
type Event struct {
	At      time.Time // by the node's clock
	Service string
	Node    view.NodeID
	Token   token.Token // the newest that the node had; zero before it led
	What    What
	Step    string         `json:",omitempty"`
	Took    time.Duration  `json:",omitempty"`
	Health  service.Health `json:",omitempty"`
	Why     string         `json:",omitempty"` // in words
	Other   view.NodeID    `json:",omitzero"`
	Error   string         `json:",omitempty"`
}

// Status is one service as this node sees it. It is never changed after it was made.
type Status struct {
	Service string
	Mode    service.Mode
	Leader  view.NodeID // who runs it, or is about to; 0: nobody is known to
	Token   token.Token // of Leader
	Here    bool        // it is this node
	Health  service.Health
	Stands  bool           // this node would run it
	Lacks   []service.Lack // all that keeps this node from it
	Plan    service.Plan
}

func (s Status) equal(o Status) bool { return reflect.DeepEqual(s, o) }
