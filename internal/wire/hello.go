package wire

import "github.com/skeinmesh/skein/mesh/view"

const (
	greetingVersion = 1

	// MaxGreetingPayload bounds what one node tells another before either
	// accepts the connection.
	MaxGreetingPayload = 64 << 10
	// MaxGreeting is the size of the longest greeting.
	MaxGreeting = MaxGreetingPayload + 64
)

// Greeting is the first thing each end of a data connection says.
type Greeting struct {
	Node           view.NodeID
	Boot, Instance uint64
	Requests       uint64 // how many requests it takes at once
	Bytes          uint64 // and how many bytes of them
	MaxPayload     uint64 // of one request or reply
	Payload        []byte
}

// AppendGreeting appends the encoding of g: version=1 and the fields of
// Greeting in their order.
func AppendGreeting(dst []byte, g Greeting) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(greetingVersion)
		p.writeID(uint64(g.Node))
		p.writeUint(g.Boot)
		p.writeID(g.Instance)
		p.writeUint(g.Requests)
		p.writeUint(g.Bytes)
		p.writeUint(g.MaxPayload)
		p.writeBytes(g.Payload)
	})
}

// DecodeGreeting reads a greeting. Payload lends from data.
func DecodeGreeting(data []byte) (Greeting, error) {
	var g Greeting
	err := unpackWhole(data, "greeting", func(u *unpacker) {
		u.readVersion(greetingVersion)
		g.Node = u.readNodeID()
		g.Boot = u.readUint()
		g.Instance = u.readUint()
		g.Requests = u.readUintMax(1 << 32)
		g.Bytes = u.readUintMax(1 << 40)
		g.MaxPayload = u.readUintMax(1 << 32)
		g.Payload = u.readBytes(MaxGreetingPayload)
		if g.Requests == 0 || g.Bytes < g.MaxPayload || g.MaxPayload == 0 {
			u.failWith("no room for a request")
		}
	})
	if err != nil {
		return Greeting{}, err
	}
	return g, nil
}
