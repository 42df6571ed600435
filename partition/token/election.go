package token

import "fmt"

// Scope says among whom an election has one leader. In JSON it is the word that String
// returns. The zero Scope is ScopeComponent.
type Scope uint8

const (
	// ScopeComponent: each part of a cut mesh has a leader of its own. Two parts
	// that do not know of each other have two, so what both can reach must check
	// tokens, and may see them in either order.
	ScopeComponent Scope = iota
	// ScopeMajority: there is one leader at most in the whole mesh at any time,
	// where more than half of the voters are in contact, and its tokens grow.
	ScopeMajority
)

// String returns "component" or "majority".
func (s Scope) String() string {
	switch s {
	case ScopeComponent:
		return "component"
	case ScopeMajority:
		return "majority"
	}
	return "unknown scope"
}

// MarshalText returns what String does.
func (s Scope) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText returned.
func (s *Scope) UnmarshalText(text []byte) error {
	for known := ScopeComponent; known <= ScopeMajority; known++ {
		if known.String() == string(text) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("token: %.60q is no scope of an election", text)
}

// Election names an election. It has one scope for ever: of the same name with
// another scope it is another election. It is comparable.
type Election struct {
	Name  string // 1 to 64 bytes
	Scope Scope
}

// String returns the name and the scope.
func (e Election) String() string { return e.Name + " (" + e.Scope.String() + ")" }
