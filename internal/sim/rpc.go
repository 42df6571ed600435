package sim

import (
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica/version"
)

// What stores say to each other.
type (
	request struct {
		From   hello
		Roster roster.Roster
		To     view.NodeID
		ID     uint64
		Body   any
	}
	response struct {
		From   hello
		Roster roster.Roster
		To     uint64 // instance: ids are numbered per process
		ID     uint64
		Body   any
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
		Key   string
		Item  version.Item
		Stamp purge.Stamp // of the store and shard where Item was read, when it was
	}
	greeting     struct{}
	mergeRequest struct {
		Offers []offer
		Role   replicate.Role
	}
	// mergeReply answers mergeRequest.
	mergeReply struct {
		stale bool
		fence token.Token // of a later leader than any that is offered, who was seen
	}
	readRequest struct{ Key string }
	sumsRequest struct {
		Units []int
		Sums  []reconcile.Digest
	}
	sumsReply struct {
		Differ   []int
		Seasoned []int // units of which the store was a home before it went down, or is ready
	}
	listRequest struct {
		Unit  int
		After string
		First bool
	}
	askRequest struct {
		Unit    int
		Members [16]byte
	}
	askReply struct {
		Stamp purge.Stamp
		Able  bool
	}
	proposeRequest struct{ Proposal purge.Proposal }
	commitRequest  struct {
		Unit  int
		Round purge.Round
	}
	heldRequest  struct{ Units []int }    // of which units is there something here?
	reachRequest struct{ ID view.NodeID } // is it reached from there?
	coverRequest struct {
		Unit   int
		Roster uint64
		Marks  []replicate.Mark
	}
	coverReply struct {
		Missing []int
		Vouches bool
	}
)

// callStore asks a store and reports the answer once; ok is false if it cannot be
// reached or is silent for the timeout.
func (s *store) callStore(to view.NodeID, body any, timeout time.Duration, done func(body any, ok bool)) {
	s.serial++
	id := s.serial
	s.calls[id] = done
	end := func() {
		if fn := s.calls[id]; fn != nil {
			delete(s.calls, id)
			fn(nil, false)
		}
	}
	host := s.cluster.resolve(s.host, to)
	if to == s.self.ID {
		host = s.host
	}
	if host == nil || !host.Up() && s.host.World.Chance(0.5) {
		s.host.After(time.Millisecond, end) // refused
		return
	}
	s.cluster.oracle.checkLeaving(s, body)
	s.host.Send(host, request{s.self, s.roster, to, id, body})
	s.host.After(timeout, end)
}

// Receive implements Process.
func (s *store) Receive(from *Host, msg any) {
	if s.stopped {
		return
	}
	switch m := msg.(type) {
	case request:
		if s.acceptHello(from, m.From, m.Roster) && (m.To == s.self.ID || m.To == 0) {
			s.serveRequest(from, m)
		}
	case response:
		if s.acceptHello(from, m.From, m.Roster) && m.To == s.self.Instance {
			if fn := s.calls[m.ID]; fn != nil {
				delete(s.calls, m.ID)
				fn(m.Body, true)
			}
		}
	case refusal:
		if m.You == s.self {
			s.retireIdentity(m.Known)
		}
	}
}

// acceptHello compares a store with what is known of it; data that is older than
// that, or a second copy of it, is refused.
func (s *store) acceptHello(from *Host, h hello, r roster.Roster) bool {
	known, met := s.peers[h.ID]
	if met && (h.Boot < known.Boot || h.Boot == known.Boot && h.Instance != known.Instance) || h.ID == s.self.ID && h != s.self {
		if h.ID == s.self.ID {
			known = s.self
		}
		s.host.Send(from, refusal{known, h})
		return false
	}
	s.peers[h.ID] = h
	s.shownRosters[from] = r.Sum()
	s.adoptRoster(r)
	return true
}

func (s *store) serveRequest(from *Host, m request) {
	reply := func(body any) {
		if s.running() {
			s.cluster.oracle.checkLeaving(s, body)
			s.host.Send(from, response{s.self, s.roster, m.From.Instance, m.ID, body})
		}
	}
	switch b := m.Body.(type) {
	case putRequest:
		s.coordinatePut(b, func(r putReply) { reply(r) })
	case mergeRequest:
		s.acceptOffers(m.From.ID, b.Offers, b.Role, func(got mergeReply) { reply(got) })
	case readRequest:
		reply(s.answerRead(b.Key))
	case sumsRequest:
		var r sumsReply
		for i, u := range b.Units {
			if s.unitDigest(u) != b.Sums[i] {
				r.Differ = append(r.Differ, u)
			}
			if s.ready.Seasoned(u) {
				r.Seasoned = append(r.Seasoned, u)
			}
		}
		reply(r)
	case listRequest:
		page := replicate.Page{After: b.After, First: b.First, Marks: s.keysOf(b.Unit, b.After, b.First), Last: true}
		if len(page.Marks) > 3 {
			page.Marks, page.Last = page.Marks[:3], false
		}
		reply(page)
	case greeting:
		reply(nil)
	case heldRequest:
		reply(s.unitsHeld(b.Units))
	case reachRequest:
		reply(s.reaches(b.ID))
	case coverRequest:
		s.vouchForRecords(b, func(r coverReply) { reply(r) })
	default:
		if !s.serveSketch(m.Body, reply) {
			s.servePurge(m.From.ID, m.Body, reply)
		}
	}
}
