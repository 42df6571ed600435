package mesh

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"

	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/view"
)

// methodView is the admin method that every node answers: its view.
const methodView = adminPrefix + "view"

// ClientConfig is what a Client needs to know.
type ClientConfig struct {
	// Addr is the host:port of a node that allows admin requests. Required.
	Addr string
	// Secret, MeshName and Shards are those of the mesh; see Config.
	Secret   []byte `json:"-"`
	MeshName string
	Shards   int
	// Network replaces the host's network. Nil means the host's.
	Network Network
}

// Format prints the ClientConfig without the Secret, whatever the verb.
func (c ClientConfig) Format(f fmt.State, _ rune) {
	type plain ClientConfig
	c.Secret = nil
	_, _ = fmt.Fprintf(f, "%+v", plain(c))
}

// Client asks one node, by admin methods, without being a node itself: it
// enters no roster. All methods may be used concurrently.
type Client struct {
	link *link.Link
	peer view.NodeID
}

// Dial connects to a node. The error is ErrAdminOff when the node does not
// allow admin requests, ErrUnreachable when nobody of this mesh answers.
func Dial(ctx context.Context, cfg ClientConfig) (*Client, error) {
	return dialWith(ctx, cfg, maxRequest)
}

// dialWith is Dial of a client that takes replies of at most so many bytes.
func dialWith(ctx context.Context, cfg ClientConfig, maxReply int) (*Client, error) {
	if len(cfg.Secret) == 0 {
		return nil, fmt.Errorf("mesh: dial: %w", ErrNoSecret)
	}
	if cfg.Shards == 0 {
		cfg.Shards = defaultShards
	}
	keys, err := identity.Derive(cfg.Secret, cfg.MeshName, cfg.Shards)
	if err != nil {
		return nil, fmt.Errorf("mesh: dial: %w", err)
	}
	id := view.NodeID(random64())
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("mesh: dial: %w", err)
	}
	cert, err := keys.Issue(id, key)
	if err != nil {
		return nil, fmt.Errorf("mesh: dial: %w", err)
	}
	hello := wire.AppendHello(nil, &wire.Hello{Self: wire.Member{ID: id}, Client: true})
	listen := "localhost:0" // nobody needs to reach a client
	if cfg.Network != nil {
		listen = ":0"
	}
	l, err := link.Open(ctx, link.Config{
		Self: id, Boot: 1, Instance: random64(), Listen: listen, Network: cfg.Network,
		Certificate: cert, Verify: keys.Authority.Verify, PacketKey: keys.PacketKey, KnockKey: keys.KnockKey,
		Resolve: func(view.NodeID) (netip.AddrPort, bool) { return netip.AddrPort{}, false },
		Hello:   func() []byte { return hello },
		Limits:  link.Limits{MaxPayload: maxReply},
	})
	if err != nil {
		return nil, fmt.Errorf("mesh: dial: %w", err)
	}
	c := &Client{link: l}
	if c.peer, err = greetAny(ctx, l, cfg.Addr); err != nil {
		return nil, errors.Join(fmt.Errorf("mesh: dial %s: %w", cfg.Addr, err), l.Close())
	}
	return c, nil
}

// greetAny greets the addresses of a host until one answers.
func greetAny(ctx context.Context, l *link.Link, hostport string) (view.NodeID, error) {
	host, port, literal, err := seedHost(hostport)
	addrs := []netip.Addr{literal}
	if err == nil && !literal.IsValid() {
		addrs, err = lookupHost(ctx, host)
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	for _, a := range addrs[:min(len(addrs), maxSeedAddrs)] {
		var peer link.Peer
		if peer, err = l.Greet(ctx, netip.AddrPortFrom(a.Unmap(), port)); err == nil {
			return peer.ID, nil
		}
	}
	var refused *link.RefusedError
	if errors.As(err, &refused) {
		return 0, callError(err)
	}
	return 0, fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// Node returns the node that the client asks.
func (c *Client) Node() view.NodeID { return c.peer }

// Call sends a request to the node and waits for the reply, which is the
// caller's to keep; req is not kept. Methods must begin with "admin/". The
// errors are those of Node.Call.
func (c *Client) Call(ctx context.Context, method string, req []byte) ([]byte, error) {
	reply, err := c.link.Call(ctx, c.peer, method, req)
	if err != nil {
		return nil, fmt.Errorf("call %s on node %v: %w", method, c.peer, callError(err))
	}
	return reply, nil
}

// View returns what the node knows of the mesh, but for Storing,
// Problems and Member.Unreachable. It is the caller's to keep and to change.
func (c *Client) View(ctx context.Context) (view.View, error) {
	reply, err := c.Call(ctx, methodView, wire.AppendViewQuery(nil))
	if err != nil {
		return view.View{}, err
	}
	v, err := wire.DecodeView(reply)
	if err != nil {
		return view.View{}, fmt.Errorf("view of node %v: %w", c.peer, err)
	}
	return v, nil
}

// Close ends the connection and waits for what serves it.
func (c *Client) Close() error { return c.link.Close() }

// isClient tells by a hello whether its sender is no node.
func isClient(hello []byte) bool {
	h, err := wire.DecodeHello(hello)
	return err == nil && h.Client
}
