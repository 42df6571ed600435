package token

import (
	"encoding/json"
	"testing"
)

func TestScopesAreWords(t *testing.T) {
	for s := ScopeComponent; s <= ScopeMajority; s++ {
		text, err := json.Marshal(Election{Name: "line", Scope: s})
		if want := `{"Name":"line","Scope":"` + s.String() + `"}`; err != nil || string(text) != want {
			t.Errorf("%s, %v instead of %s", text, err, want)
		}
		var got Election
		if err := json.Unmarshal(text, &got); err != nil || got.Scope != s || got.Name != "line" {
			t.Errorf("%s is read as %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "Majority", "minority", (ScopeMajority + 1).String()} {
		s := ScopeMajority
		if err := s.UnmarshalText([]byte(text)); err == nil || s != ScopeMajority {
			t.Errorf("%q is read as %v", text, s)
		}
	}
}
