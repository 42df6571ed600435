package replicate

import (
	"slices"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// Record is everything that one store keeps of one key: there is exactly one
// per key and store, and the roles say why it is kept. It is dropped with the
// last role. Index entries may point to it from its roles; they are written
// in the same batch.
type Record struct {
	reconcile.Local
	Home  bool          // the store is a home of the key, or was one and has not handed over yet
	Hints []view.NodeID // stores that this one keeps the record for until they have it; sorted, each once
}

// Role is a reason to keep a record.
type Role struct{ For view.NodeID } // 0: the store itself is a home; else it keeps a hint for that store

// HomeRole is the role of a home.
var HomeRole = Role{}

// Idle tells whether the record has no role and may be dropped.
func (r *Record) Idle() bool { return !r.Home && len(r.Hints) == 0 }

// Hinted tells whether the record is kept for store id.
func (r *Record) Hinted(id view.NodeID) bool {
	_, ok := slices.BinarySearch(r.Hints, id)
	return ok
}

// Take adds a role.
func (r Record) Take(role Role) Record {
	if role.For == 0 {
		r.Home = true
		return r
	}
	if i, ok := slices.BinarySearch(r.Hints, role.For); !ok {
		r.Hints = slices.Insert(slices.Clone(r.Hints), i, role.For)
	}
	return r
}

// TombRole is the role under which the tomb of a round is merged with the record:
// one that it has, or that of a home if it has none.
func (r Record) TombRole() Role {
	if !r.Home && len(r.Hints) > 0 {
		return Role{For: r.Hints[0]}
	}
	return HomeRole
}

// Grave tells whether a round may purge the record: nothing of it is alive, this
// store holds it as a home, and nobody has yet to get it from here. known is that
// of purge.Grave.
func (r Record) Grave(now version.HLC) (dead, known bool) {
	if !r.Home || len(r.Hints) > 0 {
		return false, false
	}
	return purge.Grave(r.Item, now)
}

// Settle takes away the hint for target, which is known to hold acked
// durably. Nothing happens if the record has moved on to something that
// acked does not include: the target has yet to get that. The caller drops
// the record if it has become Idle.
func (r Record) Settle(target view.NodeID, acked version.Item) Record {
	i, ok := slices.BinarySearch(r.Hints, target)
	if !ok || !acked.Dominates(r.Item) {
		return r
	}
	r.Hints = slices.Delete(slices.Clone(r.Hints), i, i+1)
	return r
}

// Commit applies a client write to the record at the store that coordinates
// it; see reconcile.Writer.Put.
func (r Record) Commit(w *reconcile.Writer, p reconcile.Write, now version.HLC, roles []Role) (Record, reconcile.Wrote, error) {
	wrote, err := w.Put(r.Local, p, now)
	if err != nil {
		return r, wrote, err
	}
	r.Local = wrote.Local
	for _, role := range roles {
		r = r.Take(role)
	}
	return r, wrote, nil
}

// Accept merges an item that another store sends, under the role it comes
// with; see reconcile.Writer.Absorb. Changed covers the roles, too: if it is
// not set there is nothing to write. The ack still has to wait for the sync of
// whatever r was read from, which may be a write that is under way.
func (r Record) Accept(w *reconcile.Writer, in version.Item, role Role, now version.HLC) (Record, reconcile.Absorbed, error) {
	out, err := w.Absorb(r.Local, in, now)
	if err != nil {
		return r, out, err
	}
	had := r.Home && role.For == 0 || role.For != 0 && r.Hinted(role.For)
	out.Changed = out.Changed || !had
	r.Local = out.Local
	return r.Take(role), out, nil
}

// Hint is a record kept for a store.
type Hint struct {
	Target view.NodeID
	Homes  []view.NodeID // of the key, by the roster, dead ones included
	Copies int           // durable copies at homes that must exist before it may be dropped without the target; 0: all homes
}

// Deliver lists the stores to send the record to now: the target if it is
// alive, otherwise the live homes.
func (h Hint) Deliver(self view.NodeID, live func(view.NodeID) bool) []view.NodeID {
	if live(h.Target) {
		return []view.NodeID{h.Target}
	}
	var out []view.NodeID
	for _, id := range h.Homes {
		if id != self && live(id) {
			out = append(out, id)
		}
	}
	return out
}

// Done tells whether the hint may be dropped: the target has acked an item at
// least as new as the record, or all live homes have, and they are Copies or
// more. Without that bound a single live home would do, and the write would be
// left with fewer copies than its ack has promised.
func (h Hint) Done(self view.NodeID, live, acked func(view.NodeID) bool) bool {
	if acked(h.Target) {
		return true
	}
	n := 0
	for _, id := range h.Homes {
		switch {
		case id == self || acked(id):
			n++
		case live(id):
			return false
		}
	}
	need := h.Copies
	if need <= 0 || need > len(h.Homes) {
		need = len(h.Homes)
	}
	return n >= need && n > 0
}
