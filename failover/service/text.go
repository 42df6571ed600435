package service

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

var (
	modeNames     = []string{"exclusive", "per component"}
	failBackNames = []string{"never", "after", "by hand"}
	stepNames     = []string{"prepare", "sync", "start", "route", "verify"}
	healthNames   = []string{"offline", "healthy", "degraded", "failed"}
	lackNames     = []string{"capability", "zone", "data", "headroom", "condition", "permission", "stop", "plan", "service", "procedure"}
)

func nameOf(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return fmt.Sprintf("unknown %d", i)
}

func readName(names []string, text []byte, to *uint8) error {
	i := slices.Index(names, string(text))
	if i < 0 {
		return fmt.Errorf("service: %.60q is none of %q", text, names)
	}
	*to = uint8(i)
	return nil
}

// String returns the mode in words.
func (m Mode) String() string { return nameOf(modeNames, uint8(m)) }

// MarshalText returns what String does.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText returned.
func (m *Mode) UnmarshalText(text []byte) error { return readName(modeNames, text, (*uint8)(m)) }

// String returns when the service goes back, in words.
func (f FailBack) String() string { return nameOf(failBackNames, uint8(f)) }

// MarshalText returns what String does.
func (f FailBack) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads what MarshalText returned.
func (f *FailBack) UnmarshalText(text []byte) error {
	return readName(failBackNames, text, (*uint8)(f))
}

// String returns the name of the step.
func (k Step) String() string { return nameOf(stepNames, uint8(k)) }

// MarshalText returns what String does.
func (k Step) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText returned.
func (k *Step) UnmarshalText(text []byte) error { return readName(stepNames, text, (*uint8)(k)) }

// String returns the health in lower case.
func (h Health) String() string { return nameOf(healthNames, uint8(h)) }

// MarshalText returns what String does.
func (h Health) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText returned.
func (h *Health) UnmarshalText(text []byte) error { return readName(healthNames, text, (*uint8)(h)) }

// String says what is lacking, in one word.
func (k LackKind) String() string { return nameOf(lackNames, uint8(k)) }

// MarshalText returns what String does.
func (k LackKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText returned.
func (k *LackKind) UnmarshalText(text []byte) error { return readName(lackNames, text, (*uint8)(k)) }

// span is a duration that is a word in JSON: "10s".
type span time.Duration

func (s span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

func (s *span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	*s = span(d)
	return err
}

// The forms that plans and limits have in JSON: the outer field takes the place of the
// one of the same name within.
type (
	plainPlan  Plan
	textOfPlan struct {
		plainPlan
		After span
		Steps map[Step]Limits
	}
	textOfLimits struct {
		Timeout span
		Retries int
	}
	textOfCheck struct{ Interval, Timeout span }
)

// MarshalJSON has the durations and the steps in words.
func (p Plan) MarshalJSON() ([]byte, error) {
	t := textOfPlan{plainPlan: plainPlan(p), After: span(p.After), Steps: map[Step]Limits{}}
	for k, l := range p.Steps {
		if l != (Limits{}) {
			t.Steps[Step(k)] = l
		}
	}
	return json.Marshal(t)
}

// UnmarshalJSON reads what MarshalJSON wrote, or a person did: what is left out is zero, and
// what is not known an error.
func (p *Plan) UnmarshalJSON(data []byte) error {
	var t textOfPlan
	if err := decodeStrictly(data, &t); err != nil {
		return fmt.Errorf("service: read a plan: %w", err)
	}
	*p = Plan(t.plainPlan)
	p.After, p.Steps = time.Duration(t.After), [StepCount]Limits{}
	for k, l := range t.Steps {
		p.Steps[k] = l
	}
	return nil
}

// MarshalJSON has the timeout in words.
func (l Limits) MarshalJSON() ([]byte, error) {
	return json.Marshal(textOfLimits{span(l.Timeout), l.Retries})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (l *Limits) UnmarshalJSON(data []byte) error {
	var t textOfLimits
	err := decodeStrictly(data, &t)
	*l = Limits{time.Duration(t.Timeout), t.Retries}
	return err
}

// MarshalJSON has the durations in words.
func (c Check) MarshalJSON() ([]byte, error) {
	return json.Marshal(textOfCheck{span(c.Interval), span(c.Timeout)})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *Check) UnmarshalJSON(data []byte) error {
	var t textOfCheck
	err := decodeStrictly(data, &t)
	*c = Check{time.Duration(t.Interval), time.Duration(t.Timeout)}
	return err
}

func decodeStrictly(data []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(to)
}
