package wire

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// tableOf makes a table of so many sentinels, each with some of the places.
func tableOf(r *rand.Rand) Faults {
	var f Faults
	for i := range 1 + r.IntN(20) {
		row := FaultRow{Err: errors.New(fmt.Sprint("pkg: sentinel ", i, "."))}
		places := 1 + r.IntN(7)
		if places&1 != 0 {
			row.Code = CodeConflict + 1 + Code(i)
		}
		if places&2 != 0 {
			row.Bit = 2 << i
		}
		if places&4 != 0 {
			row.Word = fmt.Sprint("word-", i)
		}
		f = append(f, row)
	}
	return f
}

// Each sentinel of any table survives the way, whatever words and errors are around
// it, and of several the first one does where one alone is told.
func TestFaultsSurviveTheWay(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		f := tableOf(r)
		if err := f.Check(); err != nil {
			t.Fatal(err)
		}
		at := r.Perm(len(f))[:1+r.IntN(len(f))]
		joined := make([]error, len(at))
		for i, n := range at {
			joined[i] = f[n].Err
		}
		err := fmt.Errorf("%s: %w: %s", noise(r), errors.Join(joined...), noise(r))
		first := func(has func(FaultRow) bool) (first error) {
			for _, row := range f {
				if first == nil && has(row) && errors.Is(err, row.Err) {
					first = row.Err
				}
			}
			return first
		}
		same := func(how string, got, want error) {
			if want == nil {
				return
			}
			for _, row := range f {
				if errors.Is(got, row.Err) != (row.Err == want) {
					t.Fatalf("by %s %q arrived as %q: is it %v?", how, err, got, row.Err)
				}
			}
		}
		same("code", f.FromCode(f.Code(err), FaultText(err)), first(func(r FaultRow) bool { return r.Code != 0 }))
		word, text := f.Word(err)
		same("word", f.FromWord(word, text), first(func(r FaultRow) bool { return r.Word != "" }))
		got := f.FromOutcome(f.Outcome(err))
		for _, row := range f {
			if want := row.Bit != 0 && errors.Is(err, row.Err); errors.Is(got, row.Err) != want {
				t.Fatalf("by bits %q arrived as %q: is it %v?", err, got, row.Err)
			}
		}
		if got == nil {
			t.Fatal("an error arrived as success")
		}
	}
}

// noise is text of up to 2 000 bytes, of any kind.
func noise(r *rand.Rand) string {
	b := make([]byte, r.IntN(1<<r.IntN(12)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// The words of a sentinel are there once, and the value at fault after them.
func TestFaultsKeepTheValue(t *testing.T) {
	full := errors.New("pkg: full")
	f := Faults{{Err: full, Code: 77, Bit: 2, Word: "full"}}
	if word, text := f.Word(fmt.Errorf("%w: 10 of 10", full)); word != "full" || text != "10 of 10" {
		t.Errorf("%q with %q", word, text)
	}
	for text, want := range map[string]string{
		"10 of 10": "pkg: full: 10 of 10", "": "pkg: full", "pkg: full": "pkg: full", "pkg: full, retry": "pkg: full, retry",
	} {
		for _, got := range []error{f.FromWord("full", text), f.FromCode(77, text)} {
			if got.Error() != want || !errors.Is(got, full) {
				t.Errorf("%q arrived as %q, want %q", text, got, want)
			}
		}
	}
	long := fmt.Errorf("%w: %s", full, strings.Repeat("\u00e4", maxFaultText))
	if text := FaultText(long); len(text) > maxFaultText || !strings.HasSuffix(text, "\u00e4") {
		t.Errorf("%d bytes that end in %q", len(text), text[len(text)-1:])
	}
}

// What has no row is an error of a type of its own, not success and no sentinel.
func TestUnknownFaults(t *testing.T) {
	known := errors.New("pkg: known")
	f := Faults{{Err: known, Code: 77, Bit: 2, Word: "known"}, {Err: errors.New("of no word"), Code: 78}}
	for want, got := range map[string]error{
		"79":  f.FromCode(79, "text"),
		"new": f.FromWord("new", "text"),
		"":    f.FromWord("", "text"),
		"f8":  f.FromOutcome(AdminOutcome{Faults: 0xf8, Text: "text"}),
		"8":   f.FromOutcome(AdminOutcome{Faults: 8 | AdminOther, Text: "text"}),
	} {
		var unknown *UnknownFault
		if !errors.As(got, &unknown) || unknown.Code != want || unknown.Text != "text" || errors.Is(got, known) {
			t.Errorf("%q arrived as %#v", want, got)
		}
	}
	for _, got := range []error{f.FromCode(f.Code(errors.New("else")), "else"), f.FromOutcome(f.Outcome(errors.New("else")))} {
		if got == nil || got.Error() != "else" || errors.Is(got, known) {
			t.Errorf("an error without a row arrived as %v", got)
		}
	}
	if word, text := f.Word(errors.New("else")); word != "" || text != "else" {
		t.Errorf("an error without a row is told as %q, %q", word, text)
	}
}

// A table in which something stands twice, or for nothing, is found.
func TestCheckOfFaults(t *testing.T) {
	a, b := errors.New("a"), errors.New("b")
	for name, f := range map[string]Faults{
		"sentinel": {{Err: a, Code: 70}, {Err: a, Word: "a"}},
		"code":     {{Err: a, Code: 70}, {Err: b, Code: 70}},
		"bit":      {{Err: a, Bit: 2}, {Err: b, Bit: 2}},
		"bits":     {{Err: a, Bit: 6}},
		"word":     {{Err: a, Word: "a"}, {Err: b, Word: "a"}},
		"nothing":  {{Err: a}},
		"taken":    {{Err: a, Bit: AdminOther}},
		"reason":   {{Err: a, Code: CodeNotStored}},
	} {
		if f.Check() == nil {
			t.Errorf("%s: nothing is found", name)
		}
	}
	if err := (Faults{{Err: a, Code: 70, Bit: 2}, {Err: b, Bit: 4, Word: "b"}, {Err: errors.New("c"), Code: 71}}).Check(); err != nil {
		t.Error(err)
	}
}
