package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/skeinmesh/skein/examples/internal/stage"
	"github.com/skeinmesh/skein/partition/token"
)

const (
	lookEvery   = 100 * time.Millisecond
	lookIn      = time.Second     // for one node's answer
	steadyFor   = 3 * time.Second // for so long all of a side must have named the same leader
	rejoinedFor = time.Second     // the same of all five after the heal
	patience    = 30 * time.Second
)

// leaderView is what all nodes that answered said of their leader at one moment.
type leaderView struct {
	at     time.Time
	claims map[string]claim // by the node's name
}

// leader is one who leads a side, as -json prints it.
type leader struct {
	Side  string `json:"side"` // the names of its nodes
	Node  string `json:"node"`
	Token string `json:"token"`
	Scope string `json:"scope"`

	token  token.Token
	since  time.Time // all nodes of the side have named it ever since; zero: they do not
	always bool      // and did when they were first asked
}

func sideName(side []string) string { return strings.Join(side, " ") }

// leading lists those of a side who say that they lead.
func (l leaderView) leading(side []string) (names []string) {
	for _, name := range side {
		if l.claims[name].Here {
			names = append(names, name)
		}
	}
	return names
}

// agreed returns the leader of a side if it has exactly one and all its nodes
// name it, and else, in words, what is wrong.
func (l leaderView) agreed(side []string) (name, wrong string) {
	leading := l.leading(side)
	switch len(leading) {
	case 0:
		return "", "nobody leads"
	case 1:
		name = leading[0]
	default:
		return "", strings.Join(leading, " and ") + " lead at once"
	}
	for _, other := range side {
		c, answered := l.claims[other]
		switch {
		case !answered:
			return "", other + " did not say who leads"
		case c.Token.IsZero():
			return "", other + " knows of no leader"
		case c.Token.Node != l.claims[name].Token.Node:
			return "", name + " leads, but not in the eyes of " + other
		}
	}
	return name, ""
}

// auditLeaders holds a side against its promise: at the end of the looks all
// nodes have named the same one for a while, and never, once they had named one,
// did two lead at once. It returns who led in the last look.
func auditLeaders(looks []leaderView, side []string, steady time.Duration) (leaders []leader, faults []string) {
	fault := func(format string, args ...any) {
		faults = append(faults, sideName(side)+": "+fmt.Sprintf(format, args...))
	}
	if len(looks) == 0 {
		fault("nobody looked who leads")
		return nil, faults
	}
	var now, wrong string
	var since time.Time
	settled, twice := false, false
	for _, l := range looks {
		var name string
		if name, wrong = l.agreed(side); name == "" || name != now {
			now, since = name, l.at
		}
		settled = settled || name != ""
		if both := l.leading(side); settled && len(both) > 1 && !twice {
			twice = true
			fault("%s led at once", strings.Join(both, " and "))
		}
	}
	last := looks[len(looks)-1]
	if now == "" {
		since = time.Time{}
		fault("at the end %s", wrong)
	} else if lasted := last.at.Sub(since); lasted < steady {
		fault("%s was its leader for the last %s only", now, stage.FormatDuration(lasted))
	}
	for _, name := range last.leading(side) {
		c := last.claims[name]
		leaders = append(leaders, leader{Side: sideName(side), Node: name, Token: c.Token.String(), Scope: c.Scope, token: c.Token,
			since: since, always: since.Equal(looks[0].at)})
	}
	return leaders, faults
}

// auditTokens holds the leaders after the heal against those before it: what has
// obeyed either must obey the new one.
func auditTokens(during, after []leader) (faults []string) {
	for _, a := range after {
		for _, d := range during {
			if a.token.Less(d.token) {
				faults = append(faults, fmt.Sprintf("%s leads with %s after the heal, which is lower than the %s of %s in the cut", a.Node, a.Token, d.Token, d.Node))
			}
		}
	}
	return faults
}

// askLeaders asks all running nodes at once who leads.
func (s *story) askLeaders(ctx context.Context) leaderView {
	ctx, cancel := context.WithTimeout(ctx, lookIn)
	defer cancel()
	l := leaderView{at: time.Now(), claims: make(map[string]claim)}
	said, _ := s.AskAll(ctx, request{Op: "leader"}) // who does not answer makes no claim
	for name, a := range said {
		if a.Leader != nil {
			l.claims[name] = *a.Leader
		}
	}
	return l
}

// followLeaders looks who leads each side, for a time at least, and until each has had
// one leader for steady or patience has ended. It returns who leads then. What
// is not as promised goes to the reckoning.
func (s *story) followLeaders(ctx context.Context, least, steady time.Duration, sides ...[]string) ([]leader, error) {
	begin := time.Now()
	var looks []leaderView
	for {
		looks = append(looks, s.askLeaders(ctx))
		leaders, faults := []leader{}, []string(nil)
		for _, side := range sides {
			l, f := auditLeaders(looks, side, steady)
			leaders, faults = append(leaders, l...), append(faults, f...)
		}
		passed := time.Since(begin)
		if passed >= least && len(faults) == 0 || passed >= least+patience {
			s.noteFaults(faults)
			return leaders, nil
		}
		if err := stage.SleepFor(ctx, lookEvery); err != nil {
			return leaders, err
		}
	}
}

func roleNames(roles []stage.Role) (all []string) {
	for _, p := range roles {
		all = append(all, p.Name)
	}
	slices.Sort(all)
	return all
}

// followReunion follows who leads the whole mesh once a cut has healed.
func (s *story) followReunion(ctx context.Context) (err error) {
	if s.out.LeadersAfter, err = s.followLeaders(ctx, 0, rejoinedFor, roleNames(s.roles)); err != nil {
		return err
	}
	s.noteFaults(auditTokens(s.out.LeadersDuringCut, s.out.LeadersAfter))
	return nil
}

// noteFaults tells of faults in elections and keeps them for the reckoning.
func (s *story) noteFaults(faults []string) {
	for _, f := range faults {
		s.PrintEvent("FAULT %s", f)
	}
	s.faults = append(s.faults, faults...)
}

// sayLeaders tells who leads, and since when all that are led agree on it.
func (s *story) sayLeaders(leaders []leader, begin time.Time, event string) {
	for _, l := range leaders {
		switch {
		case l.since.IsZero():
			s.PrintEvent("%s says that it leads %s, with token %s, and not all agree", l.Node, l.Side, l.Token)
		case l.always:
			s.PrintEvent("%s follow one leader, %s, all the while; its token is %s", l.Side, l.Node, l.Token)
		default:
			s.PrintEvent("%s follow one leader, %s, since %s after %s; its token is %s", l.Side, l.Node, stage.FormatDuration(l.since.Sub(begin)), event, l.Token)
		}
	}
}
