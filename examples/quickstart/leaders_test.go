package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// says makes one look of a line. Node "a" is 1, "b" 2, and so on; a word is a node,
// whom it names ("-": nobody), and "!" if it says that it leads itself.
func says(line string) leaderView {
	l := leaderView{claims: make(map[string]claim)}
	for _, word := range strings.Fields(line) {
		c := claim{Scope: "component", Here: strings.HasSuffix(word, "!")}
		if word[1] != '-' {
			c.Token = token.Token{Term: 7, Node: view.NodeID(word[1] - 'a' + 1)}
		}
		l.claims[word[:1]] = c
	}
	return l
}

// looksOf puts a second between looks.
func looksOf(lines ...string) (looks []leaderView) {
	for i, line := range lines {
		l := says(line)
		l.at = time.Unix(int64(1000+i), 0)
		looks = append(looks, l)
	}
	return looks
}

func TestAuditLeaders(t *testing.T) {
	for _, c := range []struct {
		name  string
		looks []string
		leads string // in the last look
		fault string // part of the only fault; "": none
	}{
		{"one leads", []string{"aa! ba ca", "aa! ba ca", "aa! ba ca"}, "a", ""},
		{"others are elsewhere", []string{"aa! ba ca dd!", "aa! ba ca dd!", "aa! ba ca dd!"}, "a", ""},
		{"one leads after a while", []string{"a- b- c-", "ab bb! c-", "ab bb! cb", "ab bb! cb", "ab bb! cb"}, "b", ""},
		{"the lead is handed over", []string{"aa! ba ca", "aa ba ca", "ab bb! cb", "ab bb! cb", "ab bb! cb"}, "b", ""},
		{"none leads", []string{"a- b- c-", "a- b- c-", "a- b- c-"}, "", "at the end nobody leads"},
		{"all name one who does not lead", []string{"aa ba ca", "aa ba ca", "aa ba ca"}, "", "at the end nobody leads"},
		{"two lead", []string{"aa! bb! cb", "aa! bb! cb", "aa! bb! cb"}, "a b", "at the end a and b lead at once"},
		{"two led for a moment", []string{"aa! ba ca", "aa! bb! ca", "aa! ba ca", "aa! ba ca", "aa! ba ca"}, "a", "a and b led at once"},
		{"two led before any was agreed on", []string{"aa! bb! ca", "aa! ba ca", "aa! ba ca", "aa! ba ca"}, "a", ""},
		{"one does not know", []string{"aa! ba c-", "aa! ba c-", "aa! ba c-"}, "a", "at the end c knows of no leader"},
		{"one names another", []string{"aa! ba cd", "aa! ba cd", "aa! ba cd"}, "a", "at the end a leads, but not in the eyes of c"},
		{"one does not answer", []string{"aa! ba ca", "aa! ba ca", "aa! ba ca", "aa! ba"}, "a", "at the end c did not say who leads"},
		{"for too short a time", []string{"a- b- c-", "a- b- c-", "aa! ba ca", "aa! ba ca"}, "a", "a was its leader for the last 1000 ms only"},
		{"a gap", []string{"aa! ba ca", "aa! ba ca", "aa! ba ca", "a- b- c-", "aa! ba ca", "aa! ba ca"}, "a", "a was its leader for the last 1000 ms only"},
		{"lost at last", []string{"aa! ba ca", "aa! ba ca", "aa! ba ca", "aa ba ca"}, "", "at the end nobody leads"},
		{"nobody looked", nil, "", "nobody looked"},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaders, faults := auditLeaders(looksOf(c.looks...), []string{"a", "b", "c"}, 2*time.Second)
			var lead []string
			for _, l := range leaders {
				lead = append(lead, l.Node)
				want := token.Token{Term: 7, Node: view.NodeID(l.Node[0] - 'a' + 1)}
				if l.Side != "a b c" || l.Scope != "component" || l.token != want || l.Token != want.String() {
					t.Errorf("leader %+v", l)
				}
			}
			if got := strings.Join(lead, " "); got != c.leads {
				t.Errorf("%q lead at the end, want %q", got, c.leads)
			}
			if c.fault == "" && len(faults) > 0 || c.fault != "" && (len(faults) != 1 || !strings.Contains(faults[0], c.fault)) {
				t.Errorf("faults %q, want %q", faults, c.fault)
			}
		})
	}
}

func TestLeaderIsKnownSince(t *testing.T) {
	side := []string{"a", "b"}
	for _, c := range []struct {
		looks  []string
		since  int64
		always bool
	}{
		{[]string{"aa! ba", "aa! ba"}, 1000, true},
		{[]string{"a- b-", "aa! ba", "aa! ba"}, 1001, false},
		{[]string{"aa! ba", "ab bb!", "ab bb!"}, 1001, false},
	} {
		leaders, _ := auditLeaders(looksOf(c.looks...), side, 0)
		if len(leaders) != 1 || leaders[0].since.Unix() != c.since || leaders[0].always != c.always {
			t.Errorf("%q: %+v; want since %d, always %v", c.looks, leaders, c.since, c.always)
		}
	}
	leaders, _ := auditLeaders(looksOf("aa! ba", "aa! b-"), side, 0)
	if len(leaders) != 1 || !leaders[0].since.IsZero() {
		t.Errorf("a leader that not all name: %+v", leaders)
	}
}

func TestAuditTokens(t *testing.T) {
	with := func(term uint64, node view.NodeID) leader {
		tok := token.Token{Term: term, Node: node}
		return leader{Token: tok.String(), token: tok}
	}
	during := []leader{with(5, 1), with(7, 4)}
	for _, c := range []struct {
		after leader
		lower int // than how many
	}{
		{with(8, 1), 0}, {with(7, 4), 0}, {with(7, 3), 1}, {with(6, 9), 1}, {with(5, 1), 1}, {with(4, 9), 2},
	} {
		if faults := auditTokens(during, []leader{c.after}); len(faults) != c.lower {
			t.Errorf("%s after %s and %s: %q, want %d faults", c.after.Token, during[0].Token, during[1].Token, faults, c.lower)
		}
	}
}

// What -json prints is read by scripts: keys stay, and lists are never null.
func TestOutcomeKeys(t *testing.T) {
	keysOf := func(v any) (keys []string, text string) {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		return slices.Sorted(maps.Keys(m)), string(b)
	}
	keys, text := keysOf(noOutcome())
	if want := strings.Fields("acked conflicts detect_ms diverged drained_ms healed_ms leaders_after leaders_during_cut lost " +
		"merge_ms ok rejoin_ms restore_ok restored resurrected writes_per_s"); !slices.Equal(keys, want) {
		t.Errorf("outcome has the keys %q, want %q", keys, want)
	}
	if strings.Contains(text, "null") || !strings.Contains(text, `"ok":false`) {
		t.Errorf("before the story: %s", text)
	}
	if keys, _ := keysOf(leader{}); !slices.Equal(keys, []string{"node", "scope", "side", "token"}) {
		t.Errorf("leader has the keys %q", keys)
	}
}
