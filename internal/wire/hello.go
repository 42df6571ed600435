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

func (g *Greeting) codeFields(c *codec) {
	c.codeVersion(greetingVersion)
	c.codeNodeID(&g.Node)
	c.codeNumber(&g.Boot)
	c.codeWide(&g.Instance)
	codeBounded(c, &g.Requests, 1<<32)
	codeBounded(c, &g.Bytes, 1<<40)
	codeBounded(c, &g.MaxPayload, 1<<32)
	c.codeBytes(&g.Payload, MaxGreetingPayload)
	if g.Requests == 0 || g.Bytes < g.MaxPayload || g.MaxPayload == 0 {
		c.failWith("no room for a request")
	}
}

// AppendGreeting appends the encoding of g.
func AppendGreeting(dst []byte, g Greeting) []byte {
	return appendFields(dst, &g, (*Greeting).codeFields)
}

// DecodeGreeting reads what AppendGreeting wrote. Payload lies in data.
func DecodeGreeting(data []byte) (Greeting, error) {
	return readFields(data, "greeting", (*Greeting).codeFields)
}
