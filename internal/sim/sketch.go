package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
)

// What stores say to each other to find out in what they differ.
type (
	marksRequest  struct{ Units []int }
	marksReply    struct{ Marks []byte }
	sketchRequest struct {
		Units       []int
		Kept        uint64
		From, Count int
		Rest        []int
		Mark        int
		Marks       []byte
	}
	sketchReply struct {
		Kept    uint64
		Keys    int
		Symbols []reconcile.Symbol
		More    []int
		Rest    reconcile.Digest // of the others
		Gone    bool
	}
	fetchRequest struct {
		Kept  uint64
		Print reconcile.Fingerprint
	}
	fetchReply struct {
		Gone bool
		Key  string
		replicate.Reply
	}
)

// inventory is what a store had of some units at one moment.
type inventory map[reconcile.Fingerprint]string

func (s *store) takeStock(units []int) inventory {
	v := inventory{}
	for _, u := range units {
		for _, m := range s.keysOf(u, "", true) {
			v[reconcile.Element{Key: hasher.Key([]byte(m.Key)), Version: m.Hash}.Fingerprint()] = m.Key
		}
	}
	return v
}

func (v inventory) symbols(from, count int) []reconcile.Symbol {
	k := reconcile.NewSketch(from + count)
	for f := range v {
		k.Add(f)
	}
	return k.Symbols()[from:]
}

// digestMarks are two bits of each unit's digest only, so that units which differ are
// often taken for equal at first.
func (s *store) digestMarks(units []int, mark int) (out []byte) {
	for _, u := range units {
		out = append(out, byte(reconcile.Element(s.unitDigest(u)).Fingerprint()>>(8*mark))&3)
	}
	return out
}

func (s *store) sumDigests(units []int) (d reconcile.Digest) {
	for _, u := range units {
		of := s.unitDigest(u)
		d.Key += of.Key
		d.Version += of.Version
	}
	return d
}

// serveSketch answers the requests of this file; false: it is none of them.
func (s *store) serveSketch(body any, reply func(any)) bool {
	switch b := body.(type) {
	case marksRequest:
		reply(marksReply{s.digestMarks(b.Units, 0)})
	case sketchRequest:
		r, v := sketchReply{Kept: b.Kept}, s.inventories[b.Kept]
		if b.From == 0 {
			var others []int
			for i, mark := range s.digestMarks(b.Rest, b.Mark) {
				if len(b.Marks) > 0 && b.Marks[i] != mark {
					r.More = append(r.More, b.Rest[i])
				} else {
					others = append(others, b.Rest[i])
				}
			}
			r.Rest = s.sumDigests(others)
			s.serial++
			r.Kept, v = s.serial, s.takeStock(slices.Concat(b.Units, r.More))
			s.inventories[r.Kept] = v
			if len(s.inventories) > 2 {
				delete(s.inventories, slices.Min(slices.Collect(maps.Keys(s.inventories))))
			}
		}
		r.Gone, r.Keys = v == nil, len(v)
		r.Symbols = v.symbols(b.From, b.Count)
		reply(r)
	case fetchRequest:
		v := s.inventories[b.Kept]
		r := fetchReply{Gone: v == nil, Key: v[b.Print]}
		if r.Key != "" {
			r.Reply = s.answerRead(r.Key)
			r.Gone = r.Stamp.Lagging()
		}
		reply(r)
	default:
		return false
	}
	return true
}

// exchange is under way: units are made equal with a peer, or only what is there
// is got from it.
type exchange struct {
	*store
	peer     view.NodeID
	units    []int
	both     bool
	core     *replicate.Exchange
	mine     inventory
	kept     uint64
	seasoned []int
}

func (s *store) startExchange(peer view.NodeID, units []int, both bool) {
	sizes := make([]int, len(units))
	for i, u := range units {
		sizes[i] = len(s.keysOf(u, "", true))
	}
	e := &exchange{store: s, peer: peer, units: units, both: both, core: replicate.NewExchange(sizes, 4)}
	if !both {
		e.runStep()
		return
	}
	s.callStore(peer, marksRequest{units}, 2*time.Second, func(body any, ok bool) {
		if !ok {
			return
		}
		// Its units as seen by their marks, of which keys there is no word.
		e.core.Guess(s.digestMarks(units, 0), body.(marksReply).Marks, -1)
		e.askSeasoned()
	})
}

// askSeasoned asks, for no digests, of which units the peer is a seasoned home.
func (e *exchange) askSeasoned() {
	e.callStore(e.peer, sumsRequest{Units: e.units, Sums: make([]reconcile.Digest, len(e.units))}, 2*time.Second, func(body any, ok bool) {
		if ok {
			e.seasoned = body.(sumsReply).Seasoned
			e.runStep()
		}
	})
}

// unitsAt returns units by their places.
func (e *exchange) unitsAt(places []int) (out []int) {
	for _, i := range places {
		out = append(out, e.units[i])
	}
	return out
}

// runStep does what the core wants; what fails ends the exchange.
func (e *exchange) runStep() {
	at := e.core.Step()
	switch at.Kind {
	case replicate.Done:
		e.noteEqual(e.peer, e.units, e.seasoned, e.both)
	case replicate.Digests:
		e.compareDigests(at)
	case replicate.Symbols:
		e.requestSymbols(at)
	case replicate.Fetch:
		e.fetchRecord(at.Prints[0])
	case replicate.Name:
		var keys []string
		for _, f := range at.Prints {
			keys = append(keys, e.mine[f])
		}
		e.core.Named(keys)
		e.runStep()
	case replicate.List:
		unit := e.units[at.Unit]
		e.callStore(e.peer, listRequest{unit, at.After, at.First}, 2*time.Second, func(body any, ok bool) {
			if ok {
				e.core.Listed(body.(replicate.Page), e.keysOf(unit, at.After, at.First))
				e.runStep()
			}
		})
	case replicate.Pull:
		e.pullRecords(e.peer, at.Keys, func(back []string) {
			e.core.Pulled(len(at.Keys), back)
			e.runStep()
		})
	case replicate.Push:
		if !e.both {
			e.core.Pushed(len(at.Keys))
			e.runStep()
			return
		}
		e.pushAll(e.peer, at.Keys, func(ok bool) {
			if ok {
				e.core.Pushed(len(at.Keys))
				e.runStep()
			}
		})
	}
}

func (e *exchange) compareDigests(at replicate.Step) {
	req := sumsRequest{Units: e.unitsAt(at.Units)}
	for _, u := range req.Units {
		req.Sums = append(req.Sums, e.unitDigest(u))
	}
	e.callStore(e.peer, req, 2*time.Second, func(body any, ok bool) {
		if !ok {
			return
		}
		r := body.(sumsReply)
		e.seasoned = append(e.seasoned, r.Seasoned...)
		var differ []int
		for _, u := range r.Differ {
			differ = append(differ, slices.Index(e.units, u))
		}
		e.core.Differ(differ)
		e.runStep()
	})
}

func (e *exchange) requestSymbols(at replicate.Step) {
	rest := e.unitsAt(at.Rest)
	req := sketchRequest{Units: e.unitsAt(at.Units), From: at.From, Count: at.Count, Rest: rest, Mark: at.Mark, Kept: e.kept}
	if at.Tell {
		req.Marks = e.digestMarks(rest, at.Mark)
	}
	if at.From == 0 {
		e.mine = e.takeStock(req.Units)
	}
	e.callStore(e.peer, req, 2*time.Second, func(body any, ok bool) {
		r, _ := body.(sketchReply)
		if !ok || r.Gone {
			return
		}
		e.kept = r.Kept
		got := replicate.Sketch{Theirs: r.Symbols, Keys: r.Keys}
		for _, u := range r.More {
			got.More = append(got.More, slices.Index(e.units, u))
			rest = slices.DeleteFunc(rest, func(v int) bool { return v == u })
		}
		maps.Copy(e.mine, e.takeStock(r.More))
		got.Mine, got.RestEqual = e.mine.symbols(at.From, at.Count), e.sumDigests(rest) == r.Rest
		e.core.Sketched(got)
		e.cluster.sketched++
		e.runStep()
	})
}

func (e *exchange) fetchRecord(print reconcile.Fingerprint) {
	e.callStore(e.peer, fetchRequest{e.kept, print}, 2*time.Second, func(body any, ok bool) {
		r, _ := body.(fetchReply)
		switch {
		case !ok || r.Gone:
		case r.Know != replicate.Present:
			e.core.Fetched(1, nil, nil)
			e.runStep()
		default:
			e.acceptOffers(e.peer, []offer{{r.Key, r.Item, r.Stamp}}, replicate.HomeRole, func(got mergeReply) {
				if got.stale {
					return
				}
				var back []string
				if !r.Item.Dominates(e.record(r.Key).Item) {
					back = append(back, r.Key)
				}
				e.core.Fetched(1, []string{r.Key}, back)
				e.runStep()
			})
		}
	})
}
