package sim

import (
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// clocks are what a store knows of the wall clocks of the others: what each showed when it
// was in reach last, less what was right then.
type clocks struct {
	apart  map[view.NodeID]time.Duration
	steady reconcile.Steady
}

func (s *store) maxSkew() int64 { return s.cluster.MaxSkew.Milliseconds() }

// readClocks looks at the clocks of the stores in reach, beside what those of the others
// have come to. steady is that of reconcile.Peers.Ended. What others show comes with
// messages in a mesh.
func (s *store) readClocks() (own int64, peers reconcile.Peers, steady bool) {
	own, boot := s.host.Wall().Millis(), s.host.Now().Milliseconds()
	if s.clocks.apart == nil {
		s.clocks = clocks{map[view.NodeID]time.Duration{}, reconcile.NewSteady(own, boot)}
	}
	var near, away []int64
	others := 0
	for _, e := range s.roster.Storing() {
		if e.ID == s.self.ID {
			continue
		}
		others++
		host := s.cluster.resolve(s.host, e.ID)
		inReach := s.isLive(e.ID) && host != nil && s.reaches(e.ID)
		if inReach {
			s.clocks.apart[e.ID] = host.skew
		}
		apart, ok := s.clocks.apart[e.ID]
		shown := Epoch.Millis() + (s.host.World.now + apart).Milliseconds()
		switch {
		case inReach:
			near = append(near, shown)
		case ok:
			away = append(away, shown)
		}
	}
	peers = reconcile.NewPeers(near, away, true)
	peers.Others = others
	s.clocks.steady = s.clocks.steady.Look(own, boot, s.maxSkew())
	return own, peers, s.clocks.steady.For(boot) >= s.cluster.Steady.Milliseconds()
}

// dateWrite is by what a write is dated here.
func (s *store) dateWrite(w *reconcile.Writer, p *reconcile.Write) version.HLC {
	if s.cluster.Lapse == 0 {
		return s.host.Wall()
	}
	own, peers, steady := s.readClocks()
	now := version.At(peers.Now(own, s.maxSkew()))
	if peers.Corrects(own, s.maxSkew(), steady) {
		w.Correct(now)
	}
	p.Late = version.At(peers.Late(own, s.maxSkew()))
	return now
}

// lapseExpired writes down what has ended here, if the clock is vouched for.
func (s *store) lapseExpired() {
	own, peers, steady := s.readClocks()
	ms, ok := peers.Ended(own, s.maxSkew(), steady)
	if !ok {
		s.cluster.events["clock not vouched for"]++
		return
	}
	by := version.At(ms)
	for _, k := range s.host.Disk.Keys(keyRecord) {
		key := k[len(keyRecord):]
		if _, n := purge.Lapse(s.record(key).Item, by); n == 0 {
			continue
		}
		s.failOnError(s.updateRecord(key, func(_ *Tx, rec replicate.Record, _ *reconcile.Writer) (replicate.Record, error) {
			was := rec.Item
			rec.Item, _ = purge.Lapse(was, by)
			s.cluster.oracle.noteLapsed(s, key, was, rec.Item)
			return rec, nil
		}, nil))
	}
}

// noteLapsed: a store has written down what has ended. Property F1.30: it has, by the
// right time, and nothing else of the item has changed.
func (o *Oracle) noteLapsed(s *store, key string, was, now version.Item) {
	w := o.cluster.World
	if !was.Equal(now) || hasher.Version(was) != hasher.Version(now) {
		w.Fail("F1.30: %s: %v is %v once it has ended", key, was, now)
	}
	right := version.At(Epoch.Millis() + w.now.Milliseconds())
	for i := range now.Sibs {
		before, sib := &was.Sibs[i], &now.Sibs[i]
		if before.Flags == sib.Flags {
			continue
		}
		if !before.Deleted(right) {
			w.Fail("F1.30: host %d: %s: %v ends for good %d ms early", s.host.Index, key, sib.Dot, sib.Expire.Millis()-right.Millis())
		}
		w.Logf("host %d: %s: %v has ended for good", s.host.Index, key, sib.Dot)
		o.cluster.events["value lapsed"]++
		if wr := o.writes[sib.Dot]; wr != nil && wr.sib.HLC == sib.HLC {
			wr.sib = *sib // a delete from now on, by whoever is asked
		}
	}
}

// hasEnded tells whether it was written down somewhere that a value has ended. Whoever has
// not done so may hold it still.
func (o *Oracle) hasEnded(d version.Dot) bool {
	w := o.writes[d]
	return w != nil && w.sib.Expire != 0 && w.sib.Flags&version.Tomb != 0
}
