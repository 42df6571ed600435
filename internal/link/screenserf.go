package link

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
			c.uint(maxLamport)
		case "Node":
			c.nodeName()
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
func (c *cursor) serfState() {
	if t := c.lead(); t != serfPushPull {
		c.fail("serf state of type %d", t)
	}
	c.fields(6, func(name []byte) bool {
		switch string(name) {
		case "LTime", "EventLTime", "QueryLTime":
			c.uint(maxLamport)
		case "StatusLTimes":
			for range c.dict(maxPushNodes) {
				if c.nodeName(); c.err != nil {
					break
				}
				c.uint(maxLamport)
			}
		case "LeftMembers":
			c.each(maxPushNodes, func() { c.nodeName() })
		case "Events":
			c.each(maxEvents, func() {
				if !c.nil() {
					c.fail("user event")
				}
			})
		default:
			return false
		}
		return true
	})
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
