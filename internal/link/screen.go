package link

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/hashicorp/memberlist"

	"github.com/skeinmesh/skein/mesh/view"
)

// The screen stands between the network and the parsers of memberlist v0.7
// and serf v0.11. Those trust whoever holds the key: a malformed payload may
// end the process, a well-formed one may make the node send bytes to any
// address, allocate what a length field says, or erase a member. Only
// messages that this project's nodes send pass, each checked field by field.
//
// Message types by number, as in memberlist/net.go and serf/messages.go.
const (
	mlPing         = 0
	mlIndirectPing = 1
	mlAck          = 2
	mlSuspect      = 3
	mlAlive        = 4
	mlDead         = 5
	mlPushPull     = 6
	mlCompound     = 7
	mlUser         = 8
	mlNack         = 11
	mlChecksum     = 12
	mlError        = 13

	serfLeave    = 0
	serfJoin     = 1
	serfPushPull = 2
)

const (
	maxPushNodes = 64 << 10
	maxTags      = 32
	maxEvents    = 1024
	maxErrorText = 1 << 10
	maxLamport   = 1 << 62 // far from where the clock would wrap
	maxUint32    = 1<<32 - 1
	maxDims      = 16 // of a network coordinate
	pingVersion  = 1
	tagMagic     = 255
)

// screenPacket returns an error unless b is a packet that an honest node
// from sends to memberlist.
func screenPacket(from view.NodeID, b []byte) error {
	c := &cursor{b: b}
	if err := c.checksum(); err != nil {
		return err
	}
	if len(c.b) > 0 && c.b[0] == mlCompound {
		c.compound(from)
	} else {
		c.packetMessage(from)
	}
	return c.err
}

// checksum takes the checksum off, if there is one.
func (c *cursor) checksum() error {
	if len(c.b) > 5 && c.b[0] == mlChecksum {
		// memberlist would check it as well, but look at nothing on a failure.
		if crc32.ChecksumIEEE(c.b[5:]) != binary.BigEndian.Uint32(c.b[1:5]) {
			return errScreened
		}
		c.b = c.b[5:]
	}
	return nil
}

// part is a message of a compound.
type part struct {
	message []byte
	strange view.NodeID // it is about one that the roster does not hold
}

// compound: a count, that many lengths of two bytes, the parts.
func (c *cursor) compound(from view.NodeID) (parts []part) {
	c.lead()
	n := int(c.lead())
	lengths := c.cut(2 * n)
	for i := 0; i < n && c.err == nil; i++ {
		message := c.cut(int(binary.BigEndian.Uint16(lengths[2*i:])))
		if c.err == nil {
			p := &cursor{b: message, sift: c.sift, latest: c.latest}
			p.packetMessage(from)
			c.err = p.err
			parts = append(parts, part{message, p.strange})
		}
	}
	if n == 0 {
		c.fail("empty compound")
	}
	c.end()
	return parts
}

// packetMessage reads one message, which ends where c ends.
func (c *cursor) packetMessage(from view.NodeID) {
	if len(c.b) == 0 {
		c.fail("empty message")
		return
	}
	switch t := c.lead(); t {
	case mlPing:
		c.ping(from)
	case mlIndirectPing:
		c.indirectPing(from)
	case mlAck:
		c.ack()
	case mlNack:
		c.fields(1, func(name []byte) bool { return c.seqNo(name) })
	case mlSuspect, mlDead:
		c.accusation()
	case mlAlive:
		c.alive()
	case mlUser:
		c.serfIntent()
	default:
		c.fail("message type %d in a packet", t)
	}
	c.end()
}

// screenStream returns an error unless b is all that an honest node from
// says on a stream to memberlist.
func screenStream(from view.NodeID, b []byte) error {
	c := &cursor{b: b}
	switch t := c.lead(); t {
	case mlPing:
		c.ping(from)
	case mlAck:
		c.ack()
	case mlError:
		c.fields(1, func(name []byte) bool {
			if string(name) != "Error" {
				return false
			}
			c.raw(maxErrorText)
			return true
		})
	case mlPushPull:
		c.pushPull()
	default:
		c.fail("message type %d on a stream", t)
	}
	c.end()
	return c.err
}

// nodeName reads a NodeID in the one form that nodes write it in.
func (c *cursor) nodeName() view.NodeID {
	raw := string(c.raw(16))
	id, err := view.ParseNodeID(raw)
	if err != nil || id.String() != raw {
		c.fail("node name %q", raw)
		return 0
	}
	return id
}

// sender reads the name of who sent the message. Answers go where it says,
// so it must be the one who sealed it.
func (c *cursor) sender(from view.NodeID) {
	if id := c.nodeName(); id != from {
		c.fail("%v speaks for %v", from, id)
	}
}

func (c *cursor) ip() {
	if n := len(c.raw(16)); n != 4 && n != 16 {
		c.fail("address of %d bytes", n)
	}
}

func (c *cursor) port() {
	if c.uint(65535) == 0 {
		c.fail("port 0")
	}
}

func (c *cursor) seqNo(name []byte) bool {
	if string(name) == "SeqNo" {
		c.uint(maxUint32)
		return true
	}
	return false
}

// source reads the fields that tell where an answer goes.
func (c *cursor) source(name []byte, from view.NodeID) bool {
	switch string(name) {
	case "SourceAddr":
		c.ip()
	case "SourcePort":
		c.port()
	case "SourceNode":
		c.sender(from)
	default:
		return false
	}
	return true
}

func (c *cursor) ping(from view.NodeID) {
	c.fields(5, func(name []byte) bool {
		if string(name) == "Node" {
			c.nodeName()
			return true
		}
		return c.seqNo(name) || c.source(name, from)
	})
}

func (c *cursor) indirectPing(from view.NodeID) {
	c.fields(8, func(name []byte) bool {
		switch string(name) {
		case "Target":
			c.ip()
		case "Port":
			c.port()
		case "Node":
			c.nodeName()
		case "Nack":
			c.bool()
		default:
			return c.seqNo(name) || c.source(name, from)
		}
		return true
	})
}

func (c *cursor) ack() {
	c.fields(2, func(name []byte) bool {
		if string(name) == "Payload" {
			if !c.nil() {
				c.coordinate(c.raw(512))
			}
			return true
		}
		return c.seqNo(name)
	})
}

// coordinate checks what serf puts into an ack: a version and where the
// sender stands in the space of round trips.
func (c *cursor) coordinate(b []byte) {
	if len(b) == 0 || b[0] != pingVersion {
		c.fail("ack payload")
		return
	}
	p := &cursor{b: b[1:]}
	p.fields(4, func(name []byte) bool {
		switch string(name) {
		case "Vec":
			for range p.array(maxDims) {
				p.float()
			}
		case "Error", "Adjustment", "Height":
			p.float()
		default:
			return false
		}
		return true
	})
	p.end()
	if c.err == nil {
		c.err = p.err
	}
}

// accusation: suspect and dead look the same.
func (c *cursor) accusation() {
	c.fields(3, func(name []byte) bool {
		switch string(name) {
		case "Incarnation":
			c.uint(maxUint32)
		case "Node", "From":
			c.about()
		default:
			return false
		}
		return true
	})
}

func (c *cursor) alive() {
	c.fields(6, func(name []byte) bool {
		if string(name) == "Node" {
			c.about()
			return true
		}
		return c.nodeField(name)
	})
}

// nodeField reads what alive messages and push-pull entries share.
func (c *cursor) nodeField(name []byte) bool {
	switch string(name) {
	case "Incarnation":
		c.uint(maxUint32)
	case "Addr":
		c.ip()
	case "Port":
		c.port()
	case "Meta":
		c.tags()
	case "Vsn":
		c.versions()
	default:
		return false
	}
	return true
}

// versions reads which versions of memberlist (first half) and serf (second)
// a node speaks: least, most, now. They must be such that no set of nodes is
// incompatible, or one of them could keep all others from merging.
func (c *cursor) versions() {
	v := c.raw(6)
	if c.err == nil && (len(v) != 6 ||
		v[0] < 1 || v[0] > 2 || v[1] < 5 || v[2] < 2 || v[2] > 5 ||
		v[3] > 2 || v[4] < 5 || v[5] < 2 || v[5] > 5) {
		c.fail("versions %v", v)
	}
}

// tags reads serf's tags of a node.
func (c *cursor) tags() {
	if c.nil() {
		return
	}
	b := c.raw(memberlist.MetaMaxSize)
	if len(b) == 0 {
		return
	}
	if b[0] != tagMagic {
		c.fail("no tags")
		return
	}
	t := &cursor{b: b[1:]}
	for range 2 * t.dict(maxTags) {
		t.raw(memberlist.MetaMaxSize)
	}
	t.end()
	if c.err == nil {
		c.err = t.err
	}
}

func (c *cursor) pushPull() *exchange {
	nodes, state := 0, 0
	e := &exchange{}
	c.fields(3, func(name []byte) bool {
		switch string(name) {
		case "Nodes":
			nodes = int(c.uint(maxPushNodes))
		case "UserStateLen":
			state = int(c.uint(maxGossipFrame))
		case "Join":
			e.join = c.bool()
		default:
			return false
		}
		return true
	})
	seen := map[view.NodeID]bool{}
	for i := 0; i < nodes && c.err == nil; i++ {
		if c.node(e, seen); e.dropped > maxStrange {
			c.fail("more than %d nodes that nobody has heard of", maxStrange)
		}
	}
	if state != len(c.b) {
		c.fail("user state of %d bytes, %d left", state, len(c.b))
	}
	if state > 0 {
		c.serfState(e)
	}
	return e
}
