package chaos

// A test and the process of a node (package main in the directory node) talk in
// lines of JSON over standard input and output. Requests overlap; replies name
// theirs.

// State is what a node sees. It is printed when it changes, unasked. Whoever
// adds to a node something to watch adds a field here, and has the node report
// it.
type State struct {
	AtMS    int64    `json:"at_ms"` // since 1970; all processes of a test have one clock
	Node    string   `json:"node"`
	Alive   []string `json:"alive"` // names, sorted; the node itself is among them
	Suspect []string `json:"suspect"`
	Failed  []string `json:"failed"`
	Stopped string   `json:"stopped,omitempty"` // why the node stopped by itself

	Leader    string `json:"leader"`         // name of who leads the component; empty: nobody is known to
	Token     string `json:"token"`          // of that leadership
	Here      bool   `json:"here"`           // it is this node, and its lease holds
	Serves    bool   `json:"serves"`         // the service "press" runs here, verified
	Idle      int    `json:"idle,omitempty"` // services that do nothing and run here
	Situation string `json:"situation"`
	Mode      string `json:"mode"`
}

// EventLine is how an Event is printed, unasked.
type EventLine struct {
	Event *Event `json:"event,omitempty"`
}

// Request asks a node for something.
type Request struct {
	ID    uint64   `json:"id"` // above zero
	Op    string   `json:"op"` // put, get, move (the service, to the node Value) or quit
	Key   string   `json:"key,omitempty"`
	Value string   `json:"value,omitempty"`
	Keys  []string `json:"keys,omitempty"` // of get
}

// Reply answers the request of the same ID.
type Reply struct {
	ID     uint64              `json:"id"`
	Err    string              `json:"err,omitempty"`
	Values map[string][]string `json:"values,omitempty"` // of get: all concurrent values of each key that has one
}
