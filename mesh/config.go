package mesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/mesh/identity"
)

// DefaultPort is where a node listens, by UDP and TCP, unless told otherwise.
const DefaultPort = 7800

const (
	defaultShards = 271
	maxShards     = 1 << 16
	maxWeight     = 8
	maxLabel      = 64  // bytes of a name or a zone
	maxMeshName   = 255 // bytes
)

// Network is what a node stands on. Connections and packet connections must
// honour deadlines. The network names used are "tcp" and "udp".
type Network interface {
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

// Config of a node. Start copies it.
type Config struct {
	// Dir is the data directory; it is created if need be. One node owns it.
	// Its identity and its data live and die together. Required.
	Dir string

	// Secret is the mesh secret, 32 bytes; see identity.NewSecret. Whoever
	// holds it can join as any node. Required.
	Secret []byte `json:"-"`
	// MeshName tells meshes of one secret apart; at most 255 bytes. Empty is
	// a name like any other.
	MeshName string
	// Shards is the number of slices of the key space, fixed for the life of
	// the mesh; 1 to 65536. About 40 per storing node keep the balance good.
	// Zero means 271. Nodes meet only if Secret, MeshName and Shards agree.
	Shards int

	// Name is for people and for placement, at most 64 printable bytes, unique
	// in the mesh. A new directory under an old name replaces the node that
	// had it, unless that one still runs. Empty means the NodeID.
	Name string
	// Zone is where the node stands, at most 64 printable bytes: copies of an
	// item spread over zones. Empty is a zone like any other.
	Zone string
	// Tags and Capabilities are what the node says of itself to programs on all nodes, by
	// Views, until SetTags says otherwise: what it is, and what it can do. At most 32
	// tags, with keys of 1 to 64 bytes and values of at most 256, and 32 capabilities of 1
	// to 64 bytes, each once; 2 KiB in all, printable. Others may see those that the node
	// had before its restart for a moment.
	Tags         map[string]string
	Capabilities []string
	// Weight is the node's share of the data relative to others, 1 to 8. Zero
	// means 1.
	Weight int
	// Storing says that the node holds data; others only read and write
	// through those that do. A node that stored nothing may store from its next
	// start on, under a new NodeID. One that stores has to Leave before it may
	// start without.
	Storing bool

	// Listen is the host:port for UDP and TCP; port 0 picks a free one. Empty
	// means all addresses of the host and DefaultPort.
	Listen string
	// Advertise is the address or the DNS name, with or without a port, under
	// which others reach this node. A name is looked up anew all the time, and
	// others are told when its address changes. Empty means the address that the
	// node listens on or, if that is all of them, the host's first suitable one.
	Advertise string
	// Seeds are nodes to look for: host:port or host, where host is an address
	// or a DNS name, looked up afresh each time. They are tried until they
	// belong to the mesh, for ever. None are needed by a node that others look
	// for, or that knows the mesh from an earlier run.
	Seeds []string
	// MDNS looks for nodes of the mesh on the local network, and lets itself
	// be found there.
	MDNS bool

	// Network replaces the host's network. Nil means the host's.
	Network Network
	// Profile sets the pace of failure detection. Zero means LAN.
	Profile Profile
	// AllowAdmin answers admin requests: of methods that begin with "admin/". Whoever has the
	// secret of the mesh may then, as a Client, read the view, publish and subscribe here, and
	// do what other packages serve by such methods.
	AllowAdmin bool
	// Logger gets what there is to tell, with the node's id under "node". Nil is silent.
	Logger *slog.Logger
}

// Format prints the Config without the Secret, whatever the verb.
func (c Config) Format(f fmt.State, _ rune) {
	type plain Config
	c.Secret = nil
	_, _ = fmt.Fprintf(f, "%+v", plain(c))
}

// Validate reports every fault of the Config at once; errors.Is finds
// ErrConfig and, where the secret is missing, ErrNoSecret.
func (c Config) Validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(c.Dir == "", "Dir is empty")
	fault(len(c.Secret) == 0, "%w", ErrNoSecret)
	fault(len(c.Secret) != 0 && len(c.Secret) != identity.SecretSize,
		"Secret has %d bytes, want %d", len(c.Secret), identity.SecretSize)
	fault(len(c.Secret) == identity.SecretSize && bytes.Count(c.Secret, []byte{0}) == identity.SecretSize,
		"Secret is all zeros: make one with identity.NewSecret")
	fault(len(c.MeshName) > maxMeshName, "MeshName has %d bytes, at most %d are allowed", len(c.MeshName), maxMeshName)
	fault(c.Shards < 0 || c.Shards > maxShards, "Shards is %d, want 1 to %d, or 0 for %d", c.Shards, maxShards, defaultShards)
	fault(!roster.IsPrintable(c.Name, maxLabel), "Name %.80q is longer than %d bytes or not printable", c.Name, maxLabel)
	fault(!roster.IsPrintable(c.Zone, maxLabel), "Zone %.80q is longer than %d bytes or not printable", c.Zone, maxLabel)
	fault(c.Weight < 0 || c.Weight > maxWeight, "Weight is %d, want 1 to %d, or 0 for 1", c.Weight, maxWeight)
	faults = append(faults, roster.CheckTraits(c.Tags, c.Capabilities)...)
	if c.Listen != "" {
		_, port, err := net.SplitHostPort(c.Listen)
		fault(err != nil || !isPort(port, true), "Listen %q is not host:port", c.Listen)
	}
	if c.Advertise != "" {
		_, _, err := splitAdvertise(c.Advertise, DefaultPort)
		fault(err != nil, "Advertise %q is not an address or a name that others can dial, with or without a port", c.Advertise)
	}
	for _, s := range c.Seeds {
		_, _, err := splitSeed(s)
		fault(err != nil, "Seeds has %q, which is neither host:port nor host", s)
	}
	fault(c.Profile > Edge, "Profile is %d, want LAN, WAN or Edge", c.Profile)
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrConfig, errors.Join(faults...))
}

// withDefaults returns a copy that shares nothing with c and has no zero
// fields left that stand for something else.
func (c Config) withDefaults() Config {
	c.Secret = slices.Clone(c.Secret)
	c.Seeds = slices.Clone(c.Seeds)
	c.Tags, c.Capabilities = maps.Clone(c.Tags), slices.Clone(c.Capabilities)
	if c.Shards == 0 {
		c.Shards = defaultShards
	}
	if c.Weight == 0 {
		c.Weight = 1
	}
	if c.Listen == "" {
		c.Listen = ":" + strconv.Itoa(DefaultPort)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func isPort(s string, zero bool) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && (n > 0 || zero)
}

// splitAdvertise reads an address or a name, with or without a port.
func splitAdvertise(s string, port uint16) (string, uint16, error) {
	host, text, err := s, strconv.Itoa(int(port)), error(nil)
	if _, bad := netip.ParseAddr(s); bad != nil {
		if host, text, err = net.SplitHostPort(s); err != nil {
			host, text = s, strconv.Itoa(int(port))
		}
	}
	p, err := strconv.ParseUint(text, 10, 16)
	if err != nil || p == 0 {
		return "", 0, fmt.Errorf("%q has no port that can be dialled", s)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if a.IsUnspecified() || a.IsMulticast() {
			return "", 0, fmt.Errorf("%v cannot be dialled", a)
		}
	} else if !isHostName(host) {
		return "", 0, fmt.Errorf("%q is neither an address nor a name", host)
	}
	return host, uint16(p), nil
}

// isHostName tells whether DNS may know a name. One whose last part is a number is
// an address that was misspelt.
func isHostName(s string) bool {
	if s == "" || len(s) > 253 || strings.Contains(s, ":") || slices.ContainsFunc([]rune(s), notInHost) {
		return false
	}
	last := strings.TrimSuffix(s, ".")
	last = last[strings.LastIndexByte(last, '.')+1:]
	_, err := strconv.Atoi(last)
	return err != nil
}

// splitSeed reads host:port or host.
func splitSeed(s string) (host, port string, err error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.String(), strconv.Itoa(DefaultPort), nil
	}
	host, port, err = net.SplitHostPort(s)
	if err != nil {
		host, port, err = net.SplitHostPort(net.JoinHostPort(s, strconv.Itoa(DefaultPort)))
	}
	if err == nil && (host == "" || !isPort(port, false) || slices.ContainsFunc([]rune(host), notInHost)) {
		err = errors.New("not host:port")
	}
	return host, port, err
}

func notInHost(r rune) bool {
	return !(r == '-' || r == '.' || r == '_' || r == ':' || r == '%' || unicode.IsLetter(r) || unicode.IsDigit(r))
}
