package partition

import "fmt"

// The words that String returns are what travels as text, and so in JSON: numbers would
// mean nothing to people, and something else to a later release.

// MarshalText returns what String does.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText returned.
func (m *Mode) UnmarshalText(text []byte) error { return parseWord(m, text, Alone) }

// MarshalText returns what String does.
func (c Cloud) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText returned.
func (c *Cloud) UnmarshalText(text []byte) error { return parseWord(c, text, CloudUnreachable) }

// MarshalText returns what String does.
func (s Situation) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText returned.
func (s *Situation) UnmarshalText(text []byte) error { return parseWord(s, text, PartitionSuspected) }

// MarshalText returns what String does.
func (c Cause) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText returned.
func (c *Cause) UnmarshalText(text []byte) error { return parseWord(c, text, WasRestarted) }

// parseWord finds the value, from zero to the last, whose word a text is.
func parseWord[T interface {
	~uint8
	String() string
}](to *T, text []byte, last T) error {
	for v := T(0); v <= last; v++ {
		if v.String() == string(text) {
			*to = v
			return nil
		}
	}
	return fmt.Errorf("partition: %q is no %T", text, last)
}
