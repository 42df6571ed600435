package sim

import (
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// What stores say to each other.
type (
	request struct {
		From hello
		To   view.NodeID
		ID   uint64
		Body any
	}
	response struct {
		From hello
		To   uint64 // instance: ids are numbered per process
		ID   uint64
		Body any
	}
	// refusal answers a store that others know by a later boot, or by
	// another instance of the same boot: its data was rolled back or cloned.
	refusal struct{ Known, You hello }

	putRequest struct {
		Key        string
		Write      reconcile.Write
		Level      replicate.Level
		MinDurable int
	}
	putReply struct {
		Result  replicate.Result
		Dot     version.Dot
		Seen    reconcile.Seen
		Nothing bool // there was nothing to delete
		Err     error
	}
	offer struct {
		Key  string
		Item version.Item
	}
	mergeRequest struct {
		Offers []offer
		Role   replicate.Role
	}
	readRequest struct{ Key string }
	sumsRequest struct {
		Units []int
		Sums  []reconcile.Digest
	}
	listRequest struct {
		Unit  int
		After string
		First bool
	}
)

// call asks a store and reports the answer once; ok is false if it cannot be
// reached or is silent for the timeout.
func (s *store) call(to view.NodeID, body any, timeout time.Duration, done func(body any, ok bool)) {
	s.serial++
	id := s.serial
	s.calls[id] = done
	end := func() {
		if fn := s.calls[id]; fn != nil {
			delete(s.calls, id)
			fn(nil, false)
		}
	}
	host := s.c.resolve(s.h, to)
	if to == s.who.ID {
		host = s.h
	}
	if host == nil || !host.Up() && s.h.World.Chance(0.5) {
		s.h.After(time.Millisecond, end) // refused
		return
	}
	s.c.oracle.leaving(s, body)
	s.h.Send(host, request{s.who, to, id, body})
	s.h.After(timeout, end)
}

// Receive implements Process.
func (s *store) Receive(from *Host, msg any) {
	if s.quit {
		return
	}
	switch m := msg.(type) {
	case request:
		if s.meet(from, m.From) && m.To == s.who.ID {
			s.serve(from, m)
		}
	case response:
		if s.meet(from, m.From) && m.To == s.who.Instance {
			if fn := s.calls[m.ID]; fn != nil {
				delete(s.calls, m.ID)
				fn(m.Body, true)
			}
		}
	case refusal:
		if m.You == s.who {
			s.retire(m.Known)
		}
	}
}

// meet compares a store with what is known of it; data that is older than
// that, or a second copy of it, is refused.
func (s *store) meet(from *Host, h hello) bool {
	known, met := s.peers[h.ID]
	if met && (h.Boot < known.Boot || h.Boot == known.Boot && h.Instance != known.Instance) || h.ID == s.who.ID && h != s.who {
		if h.ID == s.who.ID {
			known = s.who
		}
		s.h.Send(from, refusal{known, h})
		return false
	}
	s.peers[h.ID] = h
	return true
}

func (s *store) serve(from *Host, m request) {
	reply := func(body any) {
		if s.running() {
			s.c.oracle.leaving(s, body)
			s.h.Send(from, response{s.who, m.From.Instance, m.ID, body})
		}
	}
	switch b := m.Body.(type) {
	case putRequest:
		s.coordinate(b, func(r putReply) { reply(r) })
	case mergeRequest:
		s.accept(b.Offers, b.Role, func() { reply(nil) })
	case readRequest:
		reply(s.answer(b.Key))
	case sumsRequest:
		var differ []int
		for i, u := range b.Units {
			if s.digest(u) != b.Sums[i] {
				differ = append(differ, u)
			}
		}
		reply(differ)
	case listRequest:
		page := replicate.Page{After: b.After, First: b.First, Marks: s.keysOf(b.Unit, b.After, b.First), Last: true}
		if len(page.Marks) > 3 {
			page.Marks, page.Last = page.Marks[:3], false
		}
		reply(page)
	}
}

// retire gives the data here a new owner: others know its store by a later
// boot, or there is a second copy of it, or its name was given to another. What the data holds is handed to the
// homes like hints. If the other copy ran in the same session its dots may
// name other writes, so the values that carry them here are written again.
func (s *store) retire(known hello) {
	s.h.World.Logf("host %d: store %v retires, boot %d; known boot %d", s.h.Index, s.who.ID, s.who.Boot, known.Boot)
	old := s.who
	id := identity{ID: s.c.mintID(s.h), Boot: 1}
	s.h.Disk.latest[keyIdentity], s.h.Disk.synced[keyIdentity] = id, id
	s.open(id)
	clear(s.calls)
	for _, k := range s.h.Disk.Keys(keyRecord) {
		key := k[len(keyRecord):]
		plan := s.plan(key)
		s.must(s.update(key, func(tx *Tx, rec replicate.Record, w *reconcile.Writer) (replicate.Record, error) {
			rec.Home = plan.IsHome(s.who.ID)
			for _, home := range plan.Order[:plan.Homes] {
				if home != s.who.ID {
					rec = rec.Take(replicate.Role{For: home})
				}
			}
			if known.Session != old.Session {
				return rec, nil
			}
			was := rec.Local
			var meta *reconcile.Meta
			rec.Local, meta = w.Disown(rec.Local, func(a version.Actor) bool {
				return a.Store == uint64(old.ID) && a.Session == old.Session
			})
			if meta != nil {
				tx.Set(keyMeta, meta)
			}
			s.c.oracle.disowned(s, key, was, rec.Local)
			return rec, nil
		}, nil))
	}
	s.refresh()
}
