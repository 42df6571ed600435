package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/skeinmesh/skein/mesh/identity"
)

// Role describes a node's process.
type Role struct {
	Name   string     `json:"name"`
	Zone   string     `json:"zone"`
	Addr   netip.Addr `json:"addr"`
	Port   uint16     `json:"port"`
	Dir    string     `json:"dir"`
	Secret []byte     `json:"secret"`
	Seeds  []string   `json:"seeds"`

	// What only some examples ask for.
	Shards    int    `json:"shards,omitempty"`    // as in mesh.Config
	Backups   string `json:"backups,omitempty"`   // the directory of a tier
	Recipient string `json:"recipient,omitempty"` // to whom backups are sealed
}

// ListenAddr returns the host:port of the node.
func (r Role) ListenAddr() string { return netip.AddrPortFrom(r.Addr, r.Port).String() }

// ParseRole reads what the parent has passed to -node.
func ParseRole(text string) (r Role, err error) {
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Role{}, fmt.Errorf("-node is for the example's own use: %w", err)
	}
	return r, nil
}

// CastRoles gives the nodes whose names and zones are given a secret, directories below dir,
// which must be empty or absent, and a port that is free on the addresses 127.0.subnet.1 and
// so on. The first and the third are the seeds.
func CastRoles(dir string, subnet byte, roles []Role) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		return errors.Join(err, fmt.Errorf("the directory %s is not empty", dir))
	}
	secret := identity.NewSecret()
	for i := range roles {
		roles[i].Addr, roles[i].Secret = netip.AddrFrom4([4]byte{127, 0, subnet, byte(i + 1)}), secret
	}
	port, err := freePort(roles)
	if err != nil {
		return fmt.Errorf("find a free port on 127.0.%d.1 to .%d (on macOS these addresses must be added to lo0 first): %w", subnet, len(roles), err)
	}
	for i := range roles {
		r := &roles[i]
		r.Port, r.Dir = port, filepath.Join(dir, r.Name)
		r.Seeds = []string{netip.AddrPortFrom(roles[0].Addr, port).String(), netip.AddrPortFrom(roles[2].Addr, port).String()}
	}
	return nil
}

// freePort finds one port that is free on the addresses of all roles.
func freePort(roles []Role) (uint16, error) {
	var last error
	for range 20 {
		first, err := net.Listen("tcp", netip.AddrPortFrom(roles[0].Addr, 0).String())
		if err != nil {
			return 0, err
		}
		port := first.Addr().(*net.TCPAddr).AddrPort().Port()
		held := []interface{ Close() error }{first}
		for i, r := range roles {
			at := netip.AddrPortFrom(r.Addr, port).String()
			if i > 0 {
				l, err := net.Listen("tcp", at)
				if err != nil {
					last = err
					break
				}
				held = append(held, l)
			}
			u, err := net.ListenPacket("udp", at)
			if err != nil {
				last = err
				break
			}
			held = append(held, u)
		}
		for _, h := range held {
			h.Close()
		}
		if len(held) == 2*len(roles) {
			return port, nil
		}
	}
	return 0, last
}

// RoleOf returns the role of a name, which one of them must have.
func RoleOf(roles []Role, name string) Role {
	return roles[slices.IndexFunc(roles, func(r Role) bool { return r.Name == name })]
}

// AcrossCut returns the addresses that are out of a node's reach while the network is cut
// between a side and the rest. No side: there is no cut.
func AcrossCut(roles []Role, side []string, name string) (blocked []netip.Addr) {
	for _, other := range roles {
		if len(side) > 0 && slices.Contains(side, other.Name) != slices.Contains(side, name) {
			blocked = append(blocked, other.Addr)
		}
	}
	return blocked
}
