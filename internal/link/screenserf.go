package link

import "github.com/skeinmesh/skein/mesh/view"

// readSerfIntent: a node joins or leaves. Pruning erases a member, alive or not,
// at every node; nobody here asks for that.
func (c *cursor) readSerfIntent() {
	t := c.takeByte()
	need := 2
	switch t {
	case serfJoin:
	case serfLeave:
		need = 3
	default:
		c.failWith("serf message type %d", t)
		return
	}
	c.readFields(need, func(name []byte) bool {
		switch string(name) {
		case "LTime":
			c.clampLamport()
		case "Node":
			c.readSubject()
		case "Prune":
			if t != serfLeave || c.takeByte() != 0xc2 {
				c.failWith("prune")
			}
		default:
			return false
		}
		return true
	})
}

// readSerfState: what serf adds to a push-pull. There are no user events, so all
// their slots are empty.
func (c *cursor) readSerfState(e *stateExchange) {
	if t := c.takeByte(); t != serfPushPull {
		c.failWith("serf state of type %d", t)
	}
	fields := 0
	var out []byte
	c.readFields(6, func(name []byte) bool {
		fields++
		out = appendText(out, name)
		from := c.rest
		switch string(name) {
		case "LTime", "EventLTime", "QueryLTime":
			c.clampLamport()
		case "StatusLTimes":
			times, kept := c.keepKnown(e, func(read func()) {
				for range c.readMapLen(maxPushNodes) {
					if read(); c.err != nil {
						return
					}
				}
			}, c.clampLamport)
			out = append(appendLength(out, 0xdf, kept), times...)
			return true
		case "LeftMembers":
			names, kept := c.keepKnown(e, func(read func()) { c.readArray(maxPushNodes, read) }, func() {})
			out = append(appendLength(out, 0xdd, kept), names...)
			return true
		case "Events":
			c.readArray(maxEvents, func() {
				if !c.takeNil() {
					c.failWith("user event")
				}
			})
		default:
			return false
		}
		out = append(out, from[:len(from)-len(c.rest)]...)
		return true
	})
	e.state = append([]byte{serfPushPull, 0x80 | byte(fields)}, out...)
}

// keepKnown reads a list of nodes, each followed by what value reads, and returns the
// items about those that the roster holds.
func (c *cursor) keepKnown(e *stateExchange, list func(read func()), value func()) (items []byte, kept int) {
	seen := map[view.NodeID]bool{}
	list(func() {
		c.strange = 0
		from := c.rest
		c.checkUnique(seen, c.readSubject())
		if c.err == nil {
			value()
		}
		switch {
		case c.err != nil:
		case c.strange != 0:
			e.dropped++
		default:
			kept++
			items = append(items, from[:len(from)-len(c.rest)]...)
		}
		c.strange = 0
	})
	return items, kept
}

// readArray reads an array, which may be nil.
func (c *cursor) readArray(limit int, read func()) {
	if c.takeNil() {
		return
	}
	for range c.readArrayLen(limit) {
		if read(); c.err != nil {
			return
		}
	}
}
