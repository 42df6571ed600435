package roster

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"unicode"
	"unicode/utf8"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// Bounds of what an entry may say. A peer that sends more is faulty or
// hostile.
const (
	MaxName   = 64 // bytes
	MaxZone   = 64 // bytes
	MaxWeight = 8
	// MaxHLC keeps room above every stamp that is let in, so that a node can
	// always write above what others claim about it.
	MaxHLC version.HLC = 1<<63 - 1
)

// Entry is what the roster holds of one node. Name, Zone, Addr, Weight, Storing
// and Predecessor are its attributes: written only by the node itself, as one
// block, dated by HLC.
type Entry struct {
	ID          view.NodeID
	Name        string         // for people and placement; 1 to 64 bytes, printable
	Zone        string         // "" is a zone like any other; at most 64 bytes, printable
	Addr        netip.AddrPort // where the node says it can be reached, UDP and TCP
	Weight      int            // 1 to 8
	Storing     bool           // fixed for the life of the node
	Status      view.Status    // moved forward by the node itself; to Evicted by others too
	HLC         version.HLC    // when the attributes were written
	Boot        uint64         // the highest boot counter seen of the node
	Instance    uint64         // the process that ran under Boot; two of one boot are clones
	Predecessor view.NodeID    // the store this one replaces under the same name; 0: none
}

// canonical returns the entry as it comes out of a peer's hands: without the
// scope of an IPv6 address, which means something only on the host itself.
func (e Entry) canonical() Entry {
	e.Addr = netip.AddrPortFrom(e.Addr.Addr().Unmap().WithZone(""), e.Addr.Port())
	return e
}

// Sum is a digest of the entry: equal entries have equal sums.
func (e Entry) Sum() uint64 {
	m := wire.Member(e)
	sum := sha256.Sum256(wire.AppendMember(nil, &m))
	return binary.BigEndian.Uint64(sum[:])
}

// Validate reports every fault of the entry at once, nil if there is none.
func (e Entry) Validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(e.ID == 0, "no node id")
	fault(e.Name == "", "no name")
	fault(!IsPrintable(e.Name, MaxName), "name %.70q is longer than %d bytes or not printable", e.Name, MaxName)
	fault(!IsPrintable(e.Zone, MaxZone), "zone %.70q is longer than %d bytes or not printable", e.Zone, MaxZone)
	fault(!e.Addr.IsValid() || e.Addr.Port() == 0 || e.Addr.Addr().IsUnspecified() || e.Addr.Addr().IsMulticast(),
		"address %v cannot be dialled", e.Addr)
	fault(e.Weight < 1 || e.Weight > MaxWeight, "weight %d is not in 1..%d", e.Weight, MaxWeight)
	fault(e.Status > view.Evicted, "unknown status %d", e.Status)
	fault(e.Predecessor == e.ID && e.ID != 0, "node %v names itself its predecessor", e.ID)
	fault(e.HLC > MaxHLC, "attributes dated out of range")
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalid, errors.Join(faults...))
}

// IsPrintable tells whether s is text that can be shown, of at most limit bytes.
func IsPrintable(s string, limit int) bool {
	if len(s) > limit || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
