package trust

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/identity/charter"
	"github.com/skeinmesh/skein/mesh/view"
)

// ErrTaken says that a device claims a NodeID that another one has.
var ErrTaken = errors.New("node id of another device")

// Entries holds what each device has last said of its node: one entry of each, so one
// NodeID. They merge in any order: of what is good now, the highest holds. Who claims a NodeID that another device has is refused:
// the first that a node has heard of keeps it.
type Entries struct {
	byDevice map[charter.Key]wire.SignedEntry
	holder   map[view.NodeID]charter.Key
	limit    int // of devices
}

// NewEntries returns none.
func NewEntries() *Entries {
	return &Entries{make(map[charter.Key]wire.SignedEntry), make(map[view.NodeID]charter.Key), wire.MaxMembers}
}

// Merge takes an entry that is good by s and above the one that its device said before, or
// in place of one that is good no more. It returns whether there is something new to hand
// on.
func (t *Entries) Merge(s *State, e wire.SignedEntry) (changed bool, err error) {
	device := e.Passport.Device
	have, known := t.byDevice[device]
	order := 1
	if known {
		order = compareEntries(s.mesh, &e.Entry, &have.Entry)
	}
	if order == 0 || order < 0 && s.judgeEntry(&have.Entry) == nil {
		return false, nil
	}
	if err := s.CheckEntry(&e); err != nil {
		return false, err
	}
	if other, held := t.holder[e.Node]; held && other != device {
		return false, fmt.Errorf("trust: %w: %v says that it is %v, which is %v", ErrTaken, device, e.Node, other)
	}
	if !known && len(t.byDevice) >= t.limit {
		if t.dropBad(s); len(t.byDevice) >= t.limit {
			return false, fmt.Errorf("trust: %w: %d entries, no room for one more", ErrEntry, len(t.byDevice))
		}
	}
	if known {
		delete(t.holder, have.Node)
	}
	t.byDevice[device], t.holder[e.Node] = e, device
	return true, nil
}

// dropBad forgets the entries that are good no more.
func (t *Entries) dropBad(s *State) {
	for device, e := range t.byDevice {
		if s.judgeEntry(&e.Entry) != nil {
			delete(t.byDevice, device)
			delete(t.holder, e.Node)
		}
	}
}

// compareEntries orders what one device says. Only a device that was copied says two
// things under one claim, boot and date; any order will do then.
func compareEntries(mesh view.MeshID, a, b *wire.Entry) int {
	return cmp.Or(
		cmp.Compare(a.Claim, b.Claim),
		cmp.Compare(a.Boot, b.Boot),
		cmp.Compare(a.HLC, b.HLC),
		bytes.Compare(entryBytes(mesh, a), entryBytes(mesh, b)),
	)
}

// All returns all entries, in the order of their devices.
func (t *Entries) All() []wire.SignedEntry {
	list := make([]wire.SignedEntry, 0, len(t.byDevice))
	for _, e := range t.byDevice {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b wire.SignedEntry) int { return compareKeys(a.Passport.Device, b.Passport.Device) })
	return list
}

// Members returns those entries of All that are good by s as it is now.
func (t *Entries) Members(s *State) []wire.SignedEntry {
	return slices.DeleteFunc(t.All(), func(e wire.SignedEntry) bool { return s.judgeEntry(&e.Entry) != nil })
}
