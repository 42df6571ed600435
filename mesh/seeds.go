package mesh

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// seedHost returns host and port of a seed, and the address if host is one.
func seedHost(seed string) (host string, port uint16, literal netip.Addr, err error) {
	host, text, err := splitSeed(seed)
	if err != nil {
		return "", 0, literal, err
	}
	p, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, literal, err
	}
	if a, err := netip.ParseAddr(host); err == nil {
		literal = a.Unmap()
	}
	return host, uint16(p), literal, nil
}

// seeker looks for the mesh where the user said, and where mDNS finds nodes.
type seeker struct {
	*ground
	seeds    []string
	own      *ownEntry
	names    *names
	beacon   *beacon
	meetings *meetings
	troubles *troubles
}

// seekSeeds tries the seeds, and what mDNS finds, that do not belong to the mesh
// as far as this node sees it. The detector says when.
func (s *seeker) seekSeeds(ctx context.Context) {
	a := &attempts{work: s.work}
	for _, seed := range s.seeds {
		host, port, literal, err := seedHost(seed)
		switch {
		case err != nil:
			s.log.Debug("seed not found", "seed", seed, "error", err)
		case literal.IsValid():
			s.meetings.greetAll(a, port, literal)
		default:
			a.runAttempt(func(ctx context.Context) { s.seekName(ctx, host, port) })
		}
	}
	if d := s.beacon.discoveryInUse(); d != nil {
		a.runAttempt(func(ctx context.Context) {
			finding, cancel := context.WithTimeout(ctx, s.pace.dial)
			defer cancel()
			for _, addr := range d.findNodes(finding) {
				s.meetings.greetAll(a, addr.Port(), addr.Addr())
			}
		})
	}
	a.all.Wait()
	s.judgeSeeds()
}

// troubleSeeds is the key of what judgeSeeds says.
const troubleSeeds = "seeds"

// judgeSeeds says so when this node has met nobody, ever, by the seeds that it was
// given.
func (s *seeker) judgeSeeds() {
	if len(s.seeds) == 0 || s.uptime() < seedPatience || s.wasAdmitted.Load() || s.book.snapshot().Len() > 1 || s.troubles.isNoted(troubleFull) {
		return
	}
	for _, seed := range s.seeds {
		host, port, literal, _ := seedHost(seed)
		if own := s.own.addr.Load(); literal == own.Addr() && port == own.Port() {
			return // others look for this node
		}
		if _, err := s.names.lastAnswer(host); err != nil && !literal.IsValid() {
			s.troubles.raiseTrouble(troubleSeeds, view.Problem{Kind: view.ProblemSeedUnknown, Where: []string{seed}, Text: err.Error()}, 0)
			return
		}
	}
	s.troubles.raiseTrouble(troubleSeeds, view.Problem{Kind: view.ProblemNobodyMet, Where: slices.Clone(s.seeds)}, 0)
}

// seekName tries the addresses of a name: those known from the last answer at
// once, others when the answer is there. One that takes longer than an attempt
// at meeting is not waited for: the next turn has it.
func (s *seeker) seekName(ctx context.Context, host string, port uint16) {
	turn := s.names.beginTurn(host)
	a := &attempts{work: s.work}
	s.meetings.greetAll(a, port, s.names.takeAddrs(host, turn)...)
	done := s.names.askDNS(s.work, host)
	patience := time.NewTimer(s.pace.dial)
	defer patience.Stop()
	select {
	case <-done:
		if _, err := s.names.lastAnswer(host); err != nil {
			s.log.Debug("seed not found", "seed", host, "error", err)
		}
		s.meetings.greetAll(a, port, s.names.takeAddrs(host, turn)...)
	case <-patience.C:
	case <-ctx.Done():
	}
	a.all.Wait()
}
