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
	return pack(dst, func(p *packer) {
		p.uint(greetingVersion)
		p.id(uint64(g.Node))
		p.uint(g.Boot)
		p.id(g.Instance)
		p.uint(g.Requests)
		p.uint(g.Bytes)
		p.uint(g.MaxPayload)
		p.bytes(g.Payload)
	})
}

// DecodeGreeting reads a greeting. Payload lends from data.
func DecodeGreeting(data []byte) (Greeting, error) {
	var g Greeting
	err := unpack(data, "greeting", func(u *unpacker) {
		u.version(greetingVersion)
		g.Node = u.nodeID()
		g.Boot = u.uint()
		g.Instance = u.uint()
		g.Requests = u.uintMax(1 << 32)
		g.Bytes = u.uintMax(1 << 40)
		g.MaxPayload = u.uintMax(1 << 32)
		g.Payload = u.bytes(MaxGreetingPayload)
		if g.Requests == 0 || g.Bytes < g.MaxPayload || g.MaxPayload == 0 {
			u.fail("no room for a request")
		}
	})
	if err != nil {
		return Greeting{}, err
	}
	return g, nil
}
