package detect

import (
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

const (
	roundFirst = 20 * time.Millisecond // after the start, when the roster has been fed
	roundFast  = time.Second           // between rounds while somebody is out of contact
	roundSlow  = 10 * time.Second      // otherwise
)

// redialByLot redials, by lot, some of the members that are out of contact, and
// tries the seeds now and then. Every node of the component draws with a
// probability that makes the component as a whole keep to Params.Redial,
// without a word exchanged about it. The first round of a process tries
// everything.
func (d *Detector) redialByLot() {
	if d.now < d.roundAt {
		return
	}
	lost, strange := d.outOfContact()
	pace := roundSlow
	if len(lost)+len(strange) > 0 || d.aliveCount == 0 {
		pace = roundFast
	}
	d.roundAt = d.now + pace/2 + d.randomBelow(pace)

	mean := d.redialMean(len(lost))
	seek := d.params.Redial * time.Duration(d.Size())
	if d.aliveCount == 0 {
		seek = d.params.RedialLone
	}
	if d.fresh {
		d.fresh, mean, seek = false, pace, pace
	}
	if d.drawLot(pace, seek) {
		d.effects = append(d.effects, Effect{Action: Seek})
	}
	d.redialSome(lost, pace, mean)
	// We hear these although gossip does not: join them ourselves, about one
	// per RedialHeal.
	d.redialSome(strange, pace, d.params.RedialHeal*time.Duration(max(len(strange), 1)))
}

// movedDials is how many nodes of a component dial a member that has moved: all hear
// of it at about the same time.
const movedDials = 3

// noteMoved tries a member that is out of contact at its new address.
func (d *Detector) noteMoved(m *member) {
	switch {
	case !m.listed || m.state == view.Alive:
	case m.gossip == up && m.state != view.Failed:
		d.wantProbe(m, d.earliestProbe(m, d.params.ProbeTimeout/4), true, BySilence)
	case d.rng.IntN(d.Size()) < movedDials && d.redials.takePermit(d.now):
		d.effects = append(d.effects, Effect{Action: Redial, ID: m.id})
	}
}

// outOfContact lists the members to redial: those we have lost or never met,
// and those that answer us but that gossip does not know.
func (d *Detector) outOfContact() (lost, strange []*member) {
	for _, m := range d.members {
		switch {
		case !m.listed || m.state == view.Departed || m.isQuiet():
		case m.state == view.Alive:
			strange = append(strange, m)
		case m.gossip != up || m.state == view.Failed:
			lost = append(lost, m)
		}
	}
	return lost, strange
}

// redialMean is the expected time between two redials of one lost member by
// this node.
func (d *Detector) redialMean(lost int) time.Duration {
	mean := min(d.params.Redial, d.params.RedialFloor*time.Duration(max(lost, 1)))
	if d.aliveCount == 0 {
		mean = min(mean, d.params.RedialLone)
	}
	if d.now < d.healUntil {
		mean = min(mean, d.params.RedialHeal)
	}
	return mean * time.Duration(d.Size())
}

// redialSome draws for each member, starting anywhere so that the cap on the
// pace is fair.
func (d *Detector) redialSome(ms []*member, pace, mean time.Duration) {
	if len(ms) == 0 {
		return
	}
	start := d.rng.IntN(len(ms))
	for i := range ms {
		m := ms[(start+i)%len(ms)]
		if d.drawLot(pace, mean) && d.redials.takePermit(d.now) {
			d.effects = append(d.effects, Effect{Action: Redial, ID: m.id})
		}
	}
}

// drawLot is true once per mean, on average, if drawn once per pace.
func (d *Detector) drawLot(pace, mean time.Duration) bool {
	return d.randomBelow(max(mean, pace)) < pace
}
