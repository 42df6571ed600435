package link

import "github.com/skeinmesh/skein/mesh/view"

// serfIntent: a node joins or leaves. Pruning erases a member, alive or not,
// at every node; nobody here asks for that.
func (c *cursor) serfIntent() {
	t := c.lead()
	need := 2
	switch t {
	case serfJoin:
	case serfLeave:
		need = 3
	default:
		c.fail("serf message type %d", t)
		return
	}
	c.fields(need, func(name []byte) bool {
		switch string(name) {
		case "LTime":
			c.time()
		case "Node":
			c.about()
		case "Prune":
			if t != serfLeave || c.lead() != 0xc2 {
				c.fail("prune")
			}
		default:
			return false
		}
		return true
	})
}

// serfState: what serf adds to a push-pull. There are no user events, so all
// their slots are empty.
func (c *cursor) serfState(e *exchange) {
	if t := c.lead(); t != serfPushPull {
		c.fail("serf state of type %d", t)
	}
	fields := 0
	var out []byte
	c.fields(6, func(name []byte) bool {
		fields++
		out = appendText(out, name)
		from := c.b
		switch string(name) {
		case "LTime", "EventLTime", "QueryLTime":
			c.time()
		case "StatusLTimes":
			times, kept := c.known(e, func(read func()) {
				for range c.dict(maxPushNodes) {
					if read(); c.err != nil {
						return
					}
				}
			}, c.time)
			out = append(appendLength(out, 0xdf, kept), times...)
			return true
		case "LeftMembers":
			names, kept := c.known(e, func(read func()) { c.each(maxPushNodes, read) }, func() {})
			out = append(appendLength(out, 0xdd, kept), names...)
			return true
		case "Events":
			c.each(maxEvents, func() {
				if !c.nil() {
					c.fail("user event")
				}
			})
		default:
			return false
		}
		out = append(out, from[:len(from)-len(c.b)]...)
		return true
	})
	e.state = append([]byte{serfPushPull, 0x80 | byte(fields)}, out...)
}

// known reads a list of nodes, each followed by what value reads, and returns the
// items about those that the roster holds.
func (c *cursor) known(e *exchange, list func(read func()), value func()) (items []byte, kept int) {
	seen := map[view.NodeID]bool{}
	list(func() {
		c.strange = 0
		from := c.b
		c.once(seen, c.about())
		if c.err == nil {
			value()
		}
		switch {
		case c.err != nil:
		case c.strange != 0:
			e.dropped++
		default:
			kept++
			items = append(items, from[:len(from)-len(c.b)]...)
		}
		c.strange = 0
	})
	return items, kept
}

// each reads an array, which may be nil.
func (c *cursor) each(limit int, read func()) {
	if c.nil() {
		return
	}
	for range c.array(limit) {
		if read(); c.err != nil {
			return
		}
	}
}
