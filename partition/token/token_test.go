package token

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

var ordered = []Token{{}, {Node: 1}, {Term: 1}, {Term: 1, Node: 9}, {Term: 255, Node: 1}, {Term: 256}, {Term: math.MaxUint64, Node: math.MaxUint64}}

func TestOrder(t *testing.T) {
	for i, a := range ordered {
		for j, b := range ordered {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if a.Compare(b) != want || a.Less(b) != (want < 0) {
				t.Errorf("%v against %v: %d, %t", a, b, a.Compare(b), a.Less(b))
			}
			if got := bytes.Compare(a.Append(nil), b.Append(nil)); got != want {
				t.Errorf("bytes of %v against %v: %d", a, b, got)
			}
		}
		if a.IsZero() != (i == 0) {
			t.Errorf("%v is zero: %t", a, a.IsZero())
		}
	}
}

func TestForms(t *testing.T) {
	for _, want := range ordered {
		if got, err := Parse(want.String()); (err == nil) != (want.Node != 0) || err == nil && got != want {
			t.Errorf("%q reads as %v, %v", want.String(), got, err)
		}
		if got, err := Decode(want.Append(nil)); err != nil || got != want {
			t.Errorf("%v decodes as %v, %v", want, got, err)
		}
	}
	if got := (Token{Term: 7, Node: 0xab}).String(); got != "7@00000000000000ab" {
		t.Errorf("printed as %q", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("7@00000000000000ab", []byte("0123456789abcdef"))
	for _, s := range []string{"", "7", "@", "+7@00000000000000ab", "07@00000000000000ab", "7@ab", "-1@00000000000000ab", "7@00000000000000AB"} {
		f.Add(s, []byte(s))
	}
	f.Fuzz(func(t *testing.T, s string, b []byte) {
		if got, err := Parse(s); err == nil && got.String() != s || err != nil && !errors.Is(err, ErrToken) {
			t.Errorf("%q reads as %v, %v", s, got, err)
		}
		if got, err := Decode(b); err == nil && !bytes.Equal(got.Append(nil), b) || err != nil && !errors.Is(err, ErrToken) {
			t.Errorf("%x decodes as %v, %v", b, got, err)
		}
	})
}

func TestFence(t *testing.T) {
	var f Fence
	for _, step := range []struct {
		t    Token
		want bool
	}{{Token{}, false}, {Token{Term: 2, Node: 5}, true}, {Token{Term: 2, Node: 5}, true}, {Token{Term: 2, Node: 4}, false},
		{Token{Term: 1, Node: 9}, false}, {Token{Term: 2, Node: 6}, true}, {Token{Term: 3, Node: 1}, true}, {Token{}, false}} {
		if got := f.Admit(step.t); got != step.want {
			t.Errorf("%v after %v: %t", step.t, f.High, got)
		}
	}
}
