package reconcile

import "github.com/skeinmesh/skein/replica/version"

// Meta is what a store must remember beside its records to be able to go on
// with its session after a restart. It is stored under one key, in the same
// batch as the first record that depends on it. If it is missing or damaged
// the store takes a new session.
type Meta struct {
	Store   uint64
	Session uint64
	Seq     uint32      // highest birth of the session that may be in use
	Machine [16]byte    // fingerprint of the machine and directory the session ran on
	Relaxed bool        // acknowledged writes of the session were not always synced
	Ceiling version.HLC // no reading above it was given out
}

// Start describes an opening of the store.
type Start struct {
	Store uint64 // NodeID, not zero
	Meta  *Meta  // as stored; nil: missing or damaged
	// Machine is a fingerprint that changes when the data directory may have
	// been copied: a hash of the machine's boot id and of the directory's
	// device and inode. A session ends when it changes, because two copies of
	// one image that start apart from each other have no other way to notice.
	Machine   [16]byte
	Random    uint64 // fresh randomness, from which the ids of new sessions are made
	Relaxed   bool   // this opening acknowledges writes before they are synced
	Clean     bool   // the last opening was closed in order
	TrustDisk bool   // false: new session at every start
	MaxSkew   int64  // milliseconds; 0: DefaultMaxSkew
}

// Writer is the state of one store behind all its keys: its births and its
// clock. It is a value; it must not be used concurrently.
type Writer struct {
	meta   Meta
	dirty  bool
	clock  Clock
	random uint64 // source of further sessions
}

// Open returns the writer of a store that starts.
//
// The old session goes on only if none of its dots can have been lost: its
// meta is there, on the same machine and directory, and every dot was synced
// before it left the store, or the store was closed in order. Relaxed and
// strict openings never share a session: the meta that says which it is would
// itself have to be synced first.
func Open(s Start) Writer {
	w := Writer{random: s.Random, meta: Meta{Store: s.Store, Machine: s.Machine, Relaxed: s.Relaxed}}
	w.renewSession()
	var ceiling version.HLC
	if m := s.Meta; m != nil && m.Store == s.Store {
		ceiling = m.Ceiling
		w.meta.Ceiling = ceiling
		if s.TrustDisk && m.Machine == s.Machine && m.Relaxed == s.Relaxed && (!m.Relaxed || s.Clean) {
			w.meta.Session, w.meta.Seq = m.Session, m.Seq
		}
	}
	w.clock = NewClock(ceiling, s.MaxSkew)
	return w
}

// Session returns the id under which births are minted.
func (w *Writer) Session() uint64 { return w.meta.Session }

// Clock returns the writer's clock.
func (w *Writer) Clock() Clock { return w.clock }

// Correct takes in the time by the median of the peers' clocks; see Clock.
func (w *Writer) Correct(now version.HLC) { w.clock.Correct(now) }

// Current tells whether a birth belongs to the session that is under way. What
// it has written cannot have been forgotten here and remembered elsewhere.
func (w *Writer) Current(a version.Actor) bool { return w.ownsBirth(a) }

// ownsBirth tells whether a birth was minted in this session. Births of other
// sessions are not continued: dots of them may have been lost.
func (w *Writer) ownsBirth(a version.Actor) bool {
	return a.Store == w.meta.Store && a.Session == w.meta.Session && a.Seq != 0
}

// doubtBirths ends the session if ctx holds one of its births that this store does
// not remember to have minted: the data here is older than what others have
// seen of it, so which births are free is not known.
func (w *Writer) doubtBirths(ctx version.Context) {
	for i := range ctx {
		if a := &ctx[i].A; a.Store == w.meta.Store && a.Session == w.meta.Session && a.Seq > w.meta.Seq {
			w.renewSession()
			return
		}
	}
}

// renewSession begins a new session.
func (w *Writer) renewSession() {
	w.random = mix(w.random)
	w.meta.Session, w.meta.Seq = w.random, 0
}

// mintBirth starts a birth. Its number is above every one that was ever stored in
// the session, because the mark travels in the batch of its first record.
func (w *Writer) mintBirth() version.Actor {
	if w.meta.Seq == 1<<32-1 {
		w.renewSession()
	}
	w.meta.Seq++
	w.dirty = true
	return version.Actor{Store: w.meta.Store, Session: w.meta.Session, Seq: w.meta.Seq}
}

// unsavedMeta returns the meta if the batch at hand must carry it.
func (w *Writer) unsavedMeta() *Meta {
	if c := w.clock.Ceiling(); c != w.meta.Ceiling {
		w.meta.Ceiling, w.dirty = c, true
	}
	if !w.dirty {
		return nil
	}
	w.dirty = false
	m := w.meta
	return &m
}

// mix is the finaliser of splitmix64: a bijection without fixed structure.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
