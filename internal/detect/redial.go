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

// round redials, by lot, some of the members that are out of contact, and
// tries the seeds now and then. Every node of the component draws with a
// probability that makes the component as a whole keep to Params.Redial,
// without a word exchanged about it. The first round of a process tries
// everything.
func (d *Detector) round() {
	if d.now < d.roundAt {
		return
	}
	lost, strange := d.outOfContact()
	pace := roundSlow
	if len(lost)+len(strange) > 0 || d.others == 0 {
		pace = roundFast
	}
	d.roundAt = d.now + pace/2 + d.spread(pace)

	mean := d.redialMean(len(lost))
	seek := d.par.Redial * time.Duration(d.Size())
	if d.others == 0 {
		seek = d.par.RedialLone
	}
	if d.fresh {
		d.fresh, mean, seek = false, pace, pace
	}
	if d.draw(pace, seek) {
		d.out = append(d.out, Effect{Action: Seek})
	}
	d.redial(lost, pace, mean)
	// We hear these although gossip does not: join them ourselves, about one
	// per RedialHeal.
	d.redial(strange, pace, d.par.RedialHeal*time.Duration(max(len(strange), 1)))
}

// movedDials is how many nodes of a component dial a member that has moved: all hear
// of it at about the same time.
const movedDials = 3

// moved tries a member that is out of contact at its new address.
func (d *Detector) moved(m *member) {
	switch {
	case !m.listed || m.state == view.Alive:
	case m.gossip == up && m.state != view.Failed:
		d.want(m, d.pause(m, d.par.ProbeTimeout/4), true, BySilence)
	case d.rng.IntN(d.Size()) < movedDials && d.redials.allow(d.now):
		d.out = append(d.out, Effect{Action: Redial, ID: m.id})
	}
}

// outOfContact lists the members to redial: those we have lost or never met,
// and those that answer us but that gossip does not know.
func (d *Detector) outOfContact() (lost, strange []*member) {
	for _, m := range d.members {
		switch {
		case !m.listed || m.state == view.Departed || m.quiet():
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
	mean := min(d.par.Redial, d.par.RedialFloor*time.Duration(max(lost, 1)))
	if d.others == 0 {
		mean = min(mean, d.par.RedialLone)
	}
	if d.now < d.healUntil {
		mean = min(mean, d.par.RedialHeal)
	}
	return mean * time.Duration(d.Size())
}

// redial draws for each member, starting anywhere so that the cap on the
// pace is fair.
func (d *Detector) redial(ms []*member, pace, mean time.Duration) {
	if len(ms) == 0 {
		return
	}
	start := d.rng.IntN(len(ms))
	for i := range ms {
		m := ms[(start+i)%len(ms)]
		if d.draw(pace, mean) && d.redials.allow(d.now) {
			d.out = append(d.out, Effect{Action: Redial, ID: m.id})
		}
	}
}

// draw is true once per mean, on average, if drawn once per pace.
func (d *Detector) draw(pace, mean time.Duration) bool { return d.spread(max(mean, pace)) < pace }
