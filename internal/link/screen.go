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

// takeChecksum takes the checksum off, if there is one.
func (c *cursor) takeChecksum() error {
	if len(c.rest) > 5 && c.rest[0] == mlChecksum {
		// memberlist would check it as well, but look at nothing on a failure.
		if crc32.ChecksumIEEE(c.rest[5:]) != binary.BigEndian.Uint32(c.rest[1:5]) {
			return errScreened
		}
		c.rest = c.rest[5:]
	}
	return nil
}

// part is a message of a compound.
type part struct {
	message []byte
	strange view.NodeID // it is about one that the roster does not hold
}

// readCompound: a count, that many lengths of two bytes, the parts.
func (c *cursor) readCompound(from view.NodeID) (parts []part) {
	c.takeByte()
	n := int(c.takeByte())
	lengths := c.takeBytes(2 * n)
	for i := 0; i < n && c.err == nil; i++ {
		message := c.takeBytes(int(binary.BigEndian.Uint16(lengths[2*i:])))
		if c.err == nil {
			p := &cursor{rest: message, sift: c.sift, lamportLimit: c.lamportLimit}
			p.readPacketMessage(from)
			c.err = p.err
			parts = append(parts, part{message, p.strange})
		}
	}
	if n == 0 {
		c.failWith("empty compound")
	}
	c.expectEnd()
	return parts
}

// readPacketMessage reads one message, which ends where c ends.
func (c *cursor) readPacketMessage(from view.NodeID) {
	if len(c.rest) == 0 {
		c.failWith("empty message")
		return
	}
	switch t := c.takeByte(); t {
	case mlPing:
		c.readPing(from)
	case mlIndirectPing:
		c.readIndirectPing(from)
	case mlAck:
		c.readAck()
	case mlNack:
		c.readFields(1, func(name []byte) bool { return c.readSeqNo(name) })
	case mlSuspect, mlDead:
		c.readAccusation()
	case mlAlive:
		c.readAlive()
	case mlUser:
		c.readSerfIntent()
	default:
		c.failWith("message type %d in a packet", t)
	}
	c.expectEnd()
}

// screenStream returns an error unless b is all that an honest node from
// says on a stream to memberlist.
func screenStream(from view.NodeID, b []byte) error {
	c := &cursor{rest: b}
	switch t := c.takeByte(); t {
	case mlPing:
		c.readPing(from)
	case mlAck:
		c.readAck()
	case mlError:
		c.readFields(1, func(name []byte) bool {
			if string(name) != "Error" {
				return false
			}
			c.readString(maxErrorText)
			return true
		})
	case mlPushPull:
		c.readPushPull()
	default:
		c.failWith("message type %d on a stream", t)
	}
	c.expectEnd()
	return c.err
}

// readNodeName reads a NodeID in the one form that nodes write it in.
func (c *cursor) readNodeName() view.NodeID {
	raw := string(c.readString(16))
	id, err := view.ParseNodeID(raw)
	if err != nil || id.String() != raw {
		c.failWith("node name %q", raw)
		return 0
	}
	return id
}

// checkSender reads the name of who sent the message. Answers go where it says,
// so it must be the one who sealed it.
func (c *cursor) checkSender(from view.NodeID) {
	if id := c.readNodeName(); id != from {
		c.failWith("%v speaks for %v", from, id)
	}
}

func (c *cursor) checkIP() {
	if n := len(c.readString(16)); n != 4 && n != 16 {
		c.failWith("address of %d bytes", n)
	}
}

func (c *cursor) checkPort() {
	if c.readUint(65535) == 0 {
		c.failWith("port 0")
	}
}

func (c *cursor) readSeqNo(name []byte) bool {
	if string(name) == "SeqNo" {
		c.readUint(maxUint32)
		return true
	}
	return false
}

// readSource reads the fields that tell where an answer goes.
func (c *cursor) readSource(name []byte, from view.NodeID) bool {
	switch string(name) {
	case "SourceAddr":
		c.checkIP()
	case "SourcePort":
		c.checkPort()
	case "SourceNode":
		c.checkSender(from)
	default:
		return false
	}
	return true
}

func (c *cursor) readPing(from view.NodeID) {
	c.readFields(5, func(name []byte) bool {
		if string(name) == "Node" {
			c.readNodeName()
			return true
		}
		return c.readSeqNo(name) || c.readSource(name, from)
	})
}

func (c *cursor) readIndirectPing(from view.NodeID) {
	c.readFields(8, func(name []byte) bool {
		switch string(name) {
		case "Target":
			c.checkIP()
		case "Port":
			c.checkPort()
		case "Node":
			c.readNodeName()
		case "Nack":
			c.readBool()
		default:
			return c.readSeqNo(name) || c.readSource(name, from)
		}
		return true
	})
}

func (c *cursor) readAck() {
	c.readFields(2, func(name []byte) bool {
		if string(name) == "Payload" {
			if !c.takeNil() {
				c.checkCoordinate(c.readString(512))
			}
			return true
		}
		return c.readSeqNo(name)
	})
}

// checkCoordinate checks what serf puts into an ack: a version and where the
// sender stands in the space of round trips.
func (c *cursor) checkCoordinate(b []byte) {
	if len(b) == 0 || b[0] != pingVersion {
		c.failWith("ack payload")
		return
	}
	p := &cursor{rest: b[1:]}
	p.readFields(4, func(name []byte) bool {
		switch string(name) {
		case "Vec":
			for range p.readArrayLen(maxDims) {
				p.checkFloat()
			}
		case "Error", "Adjustment", "Height":
			p.checkFloat()
		default:
			return false
		}
		return true
	})
	p.expectEnd()
	if c.err == nil {
		c.err = p.err
	}
}

// readAccusation: suspect and dead look the same.
func (c *cursor) readAccusation() {
	c.readFields(3, func(name []byte) bool {
		switch string(name) {
		case "Incarnation":
			c.readUint(maxUint32)
		case "Node", "From":
			c.readSubject()
		default:
			return false
		}
		return true
	})
}

func (c *cursor) readAlive() {
	c.readFields(6, func(name []byte) bool {
		if string(name) == "Node" {
			c.readSubject()
			return true
		}
		return c.readNodeField(name)
	})
}

// readNodeField reads what alive messages and push-pull entries share.
func (c *cursor) readNodeField(name []byte) bool {
	switch string(name) {
	case "Incarnation":
		c.readUint(maxUint32)
	case "Addr":
		c.checkIP()
	case "Port":
		c.checkPort()
	case "Meta":
		c.checkTags()
	case "Vsn":
		c.checkVersions()
	default:
		return false
	}
	return true
}

// checkVersions reads which versions of memberlist (first half) and serf (second)
// a node speaks: least, most, now. They must be such that no set of nodes is
// incompatible, or one of them could keep all others from merging.
func (c *cursor) checkVersions() {
	v := c.readString(6)
	if c.err == nil && (len(v) != 6 ||
		v[0] < 1 || v[0] > 2 || v[1] < 5 || v[2] < 2 || v[2] > 5 ||
		v[3] > 2 || v[4] < 5 || v[5] < 2 || v[5] > 5) {
		c.failWith("versions %v", v)
	}
}

// checkTags reads serf's tags of a node.
func (c *cursor) checkTags() {
	if c.takeNil() {
		return
	}
	b := c.readString(memberlist.MetaMaxSize)
	if len(b) == 0 {
		return
	}
	if b[0] != tagMagic {
		c.failWith("no tags")
		return
	}
	t := &cursor{rest: b[1:]}
	for range 2 * t.readMapLen(maxTags) {
		t.readString(memberlist.MetaMaxSize)
	}
	t.expectEnd()
	if c.err == nil {
		c.err = t.err
	}
}

func (c *cursor) readPushPull() *stateExchange {
	nodes, state := 0, 0
	e := &stateExchange{}
	c.readFields(3, func(name []byte) bool {
		switch string(name) {
		case "Nodes":
			nodes = int(c.readUint(maxPushNodes))
		case "UserStateLen":
			state = int(c.readUint(maxGossipFrame))
		case "Join":
			e.join = c.readBool()
		default:
			return false
		}
		return true
	})
	seen := map[view.NodeID]bool{}
	for i := 0; i < nodes && c.err == nil; i++ {
		if c.readNode(e, seen); e.dropped > maxStrange {
			c.failWith("more than %d nodes that nobody has heard of", maxStrange)
		}
	}
	if state != len(c.rest) {
		c.failWith("user state of %d bytes, %d left", state, len(c.rest))
	}
	if state > 0 {
		c.readSerfState(e)
	}
	return e
}
