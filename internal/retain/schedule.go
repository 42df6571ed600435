package retain

import (
	"cmp"
	"slices"
	"time"
)

const (
	lookEvery  = time.Minute     // within what time a schedule is to be asked again
	mostSpread = 5 * time.Minute // over what time backups are spread that were missed; an eighth of the interval at most
	firstRetry = 10 * time.Second
	lastRetry  = 10 * time.Minute // a quarter of the interval at most
	mostEvery  = 10 * 366 * 24 * time.Hour
	// nearAhead is how far ahead of the wall clock the last good backup may be: one that is
	// further ahead proves nothing.
	nearAhead = time.Minute
)

// Moment is one moment by both clocks of a node.
type Moment struct {
	Wall time.Time     // may be wrong by years, and jump either way
	Up   time.Duration // running time: never goes back
}

// Policy is how one policy backs up to one tier.
type Policy struct {
	Name      string
	Every     time.Duration // from one backup to the next, at most ten years; zero: by hand only
	Objective time.Duration // how old the last good one may become (recovery point objective); zero: any age
	Spread    float64       // made of node and policy, in [0, 1): it differs between those that start together
}

// Good says when the last good backup was, by the wall clock of then. The zero Good is none.
type Good struct {
	Due   time.Time // the schedule goes on from there
	Begun time.Time // it holds what there was then
}

// Schedule says which backups are due at one tier, one at a time.
type Schedule struct {
	since   time.Duration // running time when it began
	jobs    []*job
	running *job
}

type job struct {
	Policy
	last Good
	here bool          // due and begun are those of last by running time: it was made in this process
	due  time.Duration // see here
	run  Moment        // when the last one began, good or not
	at   time.Duration // when the next one is to begin, failures aside

	begun time.Duration // see here
	goods int           // made in this process
	found time.Duration // when it was first seen that one is due
	isDue bool          // found holds
	pause time.Duration // after the last failure
	retry time.Duration // not before this

	alarmed bool
	alarmAt int // goods when the alarm was raised
}

// NewSchedule begins the schedule of a tier. Of a policy that last does not name no backup is
// known.
func NewSchedule(now Moment, policies []Policy, last map[string]Good) *Schedule {
	s := &Schedule{since: now.Up}
	for _, p := range policies {
		p.Every = min(p.Every, mostEvery)
		g := last[p.Name]
		s.jobs = append(s.jobs, &job{Policy: p, last: Good{g.Due.Round(0), g.Begun.Round(0)}})
	}
	slices.SortFunc(s.jobs, func(a, b *job) int { return cmp.Or(cmp.Compare(a.Every, b.Every), cmp.Compare(a.Name, b.Name)) })
	return s
}

// TakeDue returns the policy that is to be backed up now, if any, and when to ask again at the
// latest, in running time. What becomes due while backups are paused, or while another one runs,
// stays due. Of several the one goes first that would be the first to miss its next turn: when all
// become due together, that with the shortest interval.
//
// A backup that was missed is made up once, within an eighth of the interval and five minutes.
func (s *Schedule) TakeDue(now Moment, paused bool) (policy string, ok bool, next time.Duration) {
	now.Wall = now.Wall.Round(0)
	next = now.Up + lookEvery
	var first *job
	for _, j := range s.jobs {
		if j.Every <= 0 || j == s.running {
			continue
		}
		at := j.planStart(now, s.since, paused)
		switch {
		case at > now.Up:
			next = min(next, at)
		case first == nil || j.at+j.Every < first.at+first.Every:
			first = j
		}
	}
	if first == nil || paused || s.running != nil {
		return "", false, next
	}
	s.running, first.run = first, now
	return first.Name, true, next
}

// Begin has a backup begin that was asked for by hand, due or not. It returns false while another
// one runs, and for a policy that is not known.
func (s *Schedule) Begin(now Moment, policy string) bool {
	i := slices.IndexFunc(s.jobs, func(j *job) bool { return j.Name == policy })
	if i < 0 || s.running != nil {
		return false
	}
	now.Wall = now.Wall.Round(0)
	j := s.jobs[i]
	s.running, j.run = j, now
	if j.planStart(now, s.since, false); j.isDue {
		j.at = min(j.at, now.Up)
	}
	return true
}

// End has the backup that runs end. It returns what is to be kept for the next NewSchedule. The
// schedule goes on from when a backup was due, however late it is; one that has failed is tried
// again before its next turn.
func (s *Schedule) End(now Moment, good bool) Good {
	j := s.running
	s.running = nil
	if !good {
		j.pause = min(max(2*j.pause, firstRetry), lastRetry, j.Every/4)
		j.retry = now.Up + j.pause
		return j.last
	}
	j.due, j.begun = j.run.Up, j.run.Up
	if j.Every > 0 {
		j.due = j.at + (j.run.Up-j.at)/j.Every*j.Every
		if j.at > j.run.Up { // by hand, and early
			j.due -= j.Every
		}
	}
	j.last = Good{Due: j.run.Wall.Add(j.due - j.run.Up), Begun: j.run.Wall}
	j.here, j.isDue, j.pause, j.retry = true, false, 0, 0
	j.goods++
	return j.last
}

// planStart returns when the next backup may begin.
func (j *job) planStart(now Moment, since time.Duration, paused bool) time.Duration {
	j.at = j.nextTurn(now, since)
	if j.at > now.Up {
		j.isDue = false
		return j.at
	}
	if !j.isDue || paused {
		j.isDue, j.found = true, now.Up
	}
	if spread := min(j.Every/8, mostSpread); j.found-j.at > spread {
		j.at = j.found + time.Duration(j.Spread*float64(spread))
	}
	return max(j.at, j.retry)
}

// nextTurn returns when the next backup is due: an interval after the last one. Of one that was
// made in an earlier process the wall clock tells how long before this process. If it cannot, one is
// due.
func (j *job) nextTurn(now Moment, since time.Duration) time.Duration {
	if j.here {
		return j.due + j.Every
	}
	age, known := ageOf(j.last.Due, now.Wall.Add(since-now.Up))
	if !known {
		return since - j.Every
	}
	return since + max(j.Every-age, -j.Every)
}

// ageOf tells how old something is by the wall clock, unless it lies ahead of it.
func ageOf(t, wall time.Time) (age time.Duration, known bool) {
	age = wall.Sub(t)
	return age, !t.IsZero() && age >= -nearAhead
}

// Alarm says that the last good backup of a policy is older than its recovery point objective,
// or is not any more.
type Alarm struct {
	Policy string
	Missed bool
	Age    time.Duration // by the clock that says more; since the process began if there is none
}

// TakeAlarms returns what has changed. An alarm is raised when either clock says that the objective
// is missed, once, and cleared by a good backup alone.
func (s *Schedule) TakeAlarms(now Moment) (news []Alarm) {
	for _, j := range s.jobs {
		age := now.Up - s.since
		if j.here {
			age = now.Up - j.begun
		}
		if byWall, known := ageOf(j.last.Begun, now.Wall.Round(0)); known {
			age = max(age, byWall)
		}
		missed := j.Objective > 0 && age > j.Objective
		if missed == j.alarmed || j.alarmed && j.goods == j.alarmAt {
			continue
		}
		j.alarmed, j.alarmAt = missed, j.goods
		news = append(news, Alarm{j.Name, missed, age})
	}
	return news
}
