package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// What a mark tells of a service at a node.
const (
	starting = "starting" // before anything of it is started
	verified = "verified"
	stopping = "stopping" // before anything of it is ended
	stopped  = "stopped"  // nothing of it is left
)

// mark is one thing that has happened, by the boot clock, which all processes of a machine share.
type mark struct {
	node, service, what, token string
	at                         time.Duration
	forced                     bool // stopping, for the lead was lost
}

// notYet is when what has not happened happens.
const notYet = time.Duration(math.MaxInt64)

// run is one time that a service ran at a node. It served from verified to ceased.
type run struct {
	node, service, token           string
	begun, verified, ceased, ended time.Duration
	forced                         bool // it lost the lead
}

// span is a stretch of time.
type span struct{ from, to time.Duration }

// ledger is all that has happened: who ran what, and when nodes were down.
type ledger struct {
	runs []run
	down map[string][]span
}

// noteMark takes in what a node has told of a service. Marks of one node come in order.
func (l *ledger) noteMark(m mark) {
	if m.what == starting {
		l.runs = append(l.runs, run{m.node, m.service, m.token, m.at, notYet, notYet, notYet, false})
		return
	}
	for i := range l.runs {
		r := &l.runs[i]
		if r.node != m.node || r.service != m.service || r.ended != notYet {
			continue
		}
		switch m.what {
		case verified:
			r.verified = m.at
		case stopping:
			r.ceased, r.forced = m.at, m.forced
		case stopped:
			r.ceased, r.ended = min(r.ceased, m.at), m.at
		}
	}
}

// noteKill ends all that ran at a node.
func (l *ledger) noteKill(node string, at time.Duration) {
	for i := range l.runs {
		if r := &l.runs[i]; r.node == node && r.ended == notYet {
			r.ceased, r.ended = min(r.ceased, at), at
		}
	}
	if l.down == nil {
		l.down = map[string][]span{}
	}
	l.down[node] = append(l.down[node], span{at, notYet})
}

// noteReturn tells that a node that was killed is back.
func (l *ledger) noteReturn(node string, at time.Duration) {
	if d := l.down[node]; len(d) > 0 {
		d[len(d)-1].to = at
	}
}

// served is when a run served; nothing if it did not.
func (r run) served() span {
	if r.verified == notYet || r.ceased < r.verified {
		return span{}
	}
	return span{r.verified, r.ceased}
}

// sameIn returns a run as it is in a ledger by now.
func (r run) sameIn(l *ledger) run {
	i := slices.IndexFunc(l.runs, func(o run) bool { return o.node == r.node && o.service == r.service && o.begun == r.begun })
	return l.runs[i]
}

func (s span) includes(at time.Duration) bool { return s.from <= at && at < s.to }

// runsOf lists the runs of a service by their beginning.
func (l *ledger) runsOf(service string) (runs []run) {
	for _, r := range l.runs {
		if r.service == service {
			runs = append(runs, r)
		}
	}
	slices.SortStableFunc(runs, func(a, b run) int { return cmp.Compare(a.begun, b.begun) })
	return runs
}

// serving lists who serves at a moment.
func (l *ledger) serving(service string, at time.Duration) (nodes []string) {
	for _, r := range l.runsOf(service) {
		if r.served().includes(at) {
			nodes = append(nodes, r.node)
		}
	}
	return nodes
}

// doubleStarts counts the pairs of runs of a service that overlap.
func (l *ledger) doubleStarts(service string) (n int) {
	runs := l.runsOf(service)
	for i, a := range runs {
		for _, b := range runs[i+1:] {
			if b.begun < a.ended && a.begun < b.ended {
				n++
			}
		}
	}
	return n
}

// unserved is for how long of a stretch of time a service was verified nowhere.
func (l *ledger) unserved(service string, s span) (sum time.Duration) {
	var all []span
	for _, r := range l.runsOf(service) {
		all = append(all, r.served())
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	at := s.from // all before it is counted
	for _, one := range all {
		if from := min(one.from, s.to); from > at {
			sum += from - at
		}
		at = max(at, min(one.to, s.to))
	}
	return sum + s.to - at
}

// firstServed returns the first run that began to serve after a moment, not at the nodes named.
func (l *ledger) firstServed(service string, after time.Duration, but ...string) (first run, ok bool) {
	first.verified = notYet
	for _, r := range l.runsOf(service) {
		if r.verified > after && r.verified < first.verified && !slices.Contains(but, r.node) {
			first = r
		}
	}
	return first, first.verified != notYet
}

// percentile returns the value below or at which so many of a hundred are.
func percentile(all []time.Duration, percent int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	return all[max(0, (len(all)*percent+99)/100-1)]
}

// drawRuns draws which nodes ran a service in a stretch of time, a line for each node.
func (l *ledger) drawRuns(service string, nodes []string, s span, width int) (lines []string) {
	each := max(1, (s.to-s.from)/time.Duration(width))
	for _, node := range nodes {
		var line strings.Builder
		for i := range width {
			from := s.from + time.Duration(i)*each
			line.WriteString(l.signOf(service, node, span{from, from + each}))
		}
		lines = append(lines, fmt.Sprintf("  %-16s %s", node, line.String()))
	}
	return lines
}

// signOf is how a node stands for a while: the most that it did counts.
func (l *ledger) signOf(service, node string, during span) string {
	meets := func(s span) bool { return s.from < during.to && during.from < s.to }
	sign := "·"
	if slices.ContainsFunc(l.down[node], meets) {
		sign = "x"
	}
	for _, r := range l.runs {
		if r.node != node || r.service != service {
			continue
		}
		if meets(r.served()) {
			return "█"
		}
		if meets(span{r.begun, r.ended}) {
			sign = "▒"
		}
	}
	return sign
}
