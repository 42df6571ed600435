package version

import (
	"encoding/json"
	"testing"
)

func TestDotsAreText(t *testing.T) {
	for want, d := range map[string]Dot{
		`""`: {},
		`"00000000000000ff-ffffffffffffffff-7.18446744073709551615"`: {A: Actor{Store: 255, Session: 1<<64 - 1, Seq: 7}, N: 1<<64 - 1},
		`"0000000000000000-0000000000000000-0.1"`:                    {N: 1},
	} {
		text, err := json.Marshal(d)
		if err != nil || string(text) != want {
			t.Errorf("%s, %v, want %s", text, err, want)
		}
		got := Dot{N: 9}
		if err := json.Unmarshal(text, &got); err != nil || got != d {
			t.Errorf("%s is read as %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"1", "ff-00000000000000ff-7.1", "00000000000000ff-00000000000000ff-7.1 ", "00000000000000FF-00000000000000ff-7.1", "00000000000000ff-00000000000000ff-07.1", "00000000000000ff-00000000000000ff-7.-1", "00000000000000ff-00000000000000ff-4294967296.1"} {
		if err := new(Dot).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}

func FuzzDotText(f *testing.F) {
	f.Add("00000000000000ff-00000000000000ff-7.1")
	f.Fuzz(func(t *testing.T, text string) {
		var d Dot
		if d.UnmarshalText([]byte(text)) == nil && d.String() != text {
			t.Errorf("%q is read as %q", text, d)
		}
	})
}
