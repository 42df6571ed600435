package trust

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/identity/charter"
)

var (
	// ErrPassport says that a passport is not good.
	ErrPassport = errors.New("passport is not good")
	// ErrRevoked says that what a passport, a device or a node had is taken back.
	ErrRevoked = errors.New("revoked")
	// ErrEntry says that an entry is not what its device may say.
	ErrEntry = errors.New("entry is not good")
)

// maxWeight is the highest weight that a passport gives.
const maxWeight = 8

// row is a rule of a verdict: what breaks it, and how that is told.
type row struct {
	broken bool
	err    error
	text   string
}

func firstBroken(rows []row) error {
	for _, r := range rows {
		if r.broken {
			return fmt.Errorf("trust: %w: %s", r.err, r.text)
		}
	}
	return nil
}

// CheckPassport tells whether a passport is good: its issuer is one by the newest charter
// and may give it, its generation counts, and neither it nor its device is revoked.
func (s *State) CheckPassport(p *wire.SignedPassport) error {
	if err := s.judgePassport(&p.Passport); err != nil {
		return err
	}
	if !verifyKey(p.Issuer, passportBytes(s.mesh, &p.Passport), p.Sig) {
		return fmt.Errorf("trust: %w: %v has not signed it", ErrPassport, p.Issuer)
	}
	return nil
}

// judgePassport is CheckPassport without the signature, which costs most.
func (s *State) judgePassport(p *charter.Passport) error {
	issuer := s.issuerOf(p.Issuer)
	if issuer == nil {
		return fmt.Errorf("trust: %w: %v is no issuer", ErrPassport, p.Issuer)
	}
	through, revoked := s.retiredThrough(p.Issuer)
	scope := &issuer.Scope
	return firstBroken([]row{
		{s.IsRevoked(p.Device), ErrRevoked, "the device"},
		{p.Generation < s.MinGeneration(p.Issuer), ErrRevoked, "its generation is retired"},
		{revoked && p.Generation <= through, ErrRevoked, "its generation"},
		{!isPrintable(p.Name) || p.Name == "" || !isPrintable(p.Zone), ErrPassport, "its name or zone is not printable"},
		{!matchesAny(scope.Names, p.Name), ErrPassport, "its name is not in its issuer's scope"},
		{!coversZone(scope.Zones, p.Zone), ErrPassport, "its zone is not in its issuer's scope"},
		{!coversRoles(scope.Roles, p.Roles), ErrPassport, "its roles are not in its issuer's scope"},
		{p.Caps&^scope.Caps != 0, ErrPassport, "its capabilities are not in its issuer's scope"},
		{p.Serial < 1 || p.Serial > scope.Max, ErrPassport, "its serial number is not in its issuer's scope"},
		{p.MaxWeight < 1 || p.MaxWeight > maxWeight, ErrPassport, "its weight is out of range"},
	})
}

// CheckEntry tells whether an entry is what its device may say, and the device's passport
// good.
func (s *State) CheckEntry(e *wire.SignedEntry) error {
	if err := s.judgeEntry(&e.Entry); err != nil {
		return err
	}
	if err := s.CheckPassport(&e.Passport); err != nil {
		return err
	}
	if !verifyKey(e.Passport.Device, entryBytes(s.mesh, &e.Entry), e.Sig) {
		return fmt.Errorf("trust: %w: its device has not signed it", ErrEntry)
	}
	return nil
}

// judgeEntry is CheckEntry without the signatures.
func (s *State) judgeEntry(e *wire.Entry) error {
	p := &e.Passport.Passport
	if err := s.judgePassport(p); err != nil {
		return err
	}
	return firstBroken([]row{
		{s.IsEvicted(e.Node), ErrRevoked, "the node is evicted"},
		{e.Node == 0 || e.Claim == 0, ErrEntry, "it claims no node"},
		{p.Caps&charter.Member == 0, ErrEntry, "its device is no member"},
		{e.Storing && p.Caps&charter.Store == 0, ErrEntry, "its device may not store"},
		{e.Weight < 1 || e.Weight > p.MaxWeight, ErrEntry, "its weight is above that of its passport"},
		{p.Zone != "" && e.Zone != p.Zone, ErrEntry, "its zone is not that of its passport"},
		{!isPrintable(e.Zone), ErrEntry, "its zone is not printable"},
		{e.Predecessor == e.Node, ErrEntry, "it names itself its predecessor"},
	})
}

// matchesAny tells whether a text is as one of the patterns says. A pattern that cannot be
// read says nothing.
func matchesAny(patterns []string, text string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, text)
		return ok && err == nil
	})
}

// coversZone tells whether an issuer may give a zone. One that is free may become any.
func coversZone(patterns []string, zone string) bool {
	if zone == "" {
		return slices.Contains(patterns, "*")
	}
	return matchesAny(patterns, zone)
}

func coversRoles(patterns, roles []string) bool {
	return len(roles) <= charter.MaxRoles &&
		!slices.ContainsFunc(roles, func(r string) bool { return !matchesAny(patterns, r) })
}

func isPrintable(text string) bool {
	if len(text) > charter.MaxText || !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
