package roster

import (
	"fmt"
	"maps"
	"slices"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Bounds of what a node may say of itself for programs, beside its entry. All nodes hold
// the traits of all in memory.
const (
	MaxTagKey     = 64      // bytes
	MaxTagValue   = 256     // bytes
	MaxCapability = 64      // bytes
	MaxTraits     = 2 << 10 // bytes of all keys, values and capabilities
)

// CheckTraits returns every fault of tags and capabilities. The fields are called Tags and
// Capabilities.
func CheckTraits(tags map[string]string, capabilities []string) (faults []error) {
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	size := 0
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		value := tags[key]
		size += len(key) + len(value)
		fault(key == "", "Tags has an empty key")
		fault(!IsPrintable(key, MaxTagKey), "Tags has the key %.80q, which is longer than %d bytes or not printable", key, MaxTagKey)
		fault(!IsPrintable(value, MaxTagValue), "Tags has under %.80q the value %.80q, which is longer than %d bytes or not printable", key, value, MaxTagValue)
	}
	seen := map[string]bool{}
	for _, c := range capabilities {
		size += len(c)
		fault(c == "", "Capabilities has an empty one")
		fault(!IsPrintable(c, MaxCapability), "Capabilities has %.80q, which is longer than %d bytes or not printable", c, MaxCapability)
		fault(seen[c], "Capabilities has %.80q twice", c)
		seen[c] = true
	}
	fault(len(tags) > wire.MaxTags, "Tags has %d keys, at most %d are allowed", len(tags), wire.MaxTags)
	fault(len(capabilities) > wire.MaxCapabilities, "Capabilities has %d, at most %d are allowed", len(capabilities), wire.MaxCapabilities)
	fault(size > MaxTraits, "Tags and Capabilities have %d bytes together, at most %d are allowed", size, MaxTraits)
	return faults
}

// ReadTraits returns what programs are shown of what a node says of itself. It is nothing
// where that cannot be read, as of a later release, or CheckTraits finds a fault in it.
func ReadTraits(said string) (tags map[string]string, capabilities []string) {
	tags, capabilities, err := wire.DecodeTraits(said)
	if err != nil || len(CheckTraits(tags, capabilities)) > 0 {
		return nil, nil
	}
	return tags, capabilities
}

const maxSaid = 1 << 62 // no node says so many things of itself

// MayCount tells whether other nodes believe a number of what this one says of itself. They
// do not where somebody has made up the last one of it, until it starts anew.
func MayCount(seq uint64) bool { return seq < maxSaid }

// MaySay tells whether a node may have said something so numbered of itself: it is a
// member that is not gone, has lived under that boot counter, and can still say something
// newer: unless it was the last number that somebody made up, the node answers it.
func (r Roster) MaySay(id view.NodeID, v wire.NoticeVersion) bool {
	e, ok := r.Get(id)
	return ok && !e.Status.Gone() && v.Boot <= e.Boot && MayCount(v.Seq)
}
