package jsonlog

import "testing"

func TestFaultOf(t *testing.T) {
	for line, ok := range map[string]bool{
		`{"a":1,"b":"a","c":[1,2]}`:               true,
		`{"a":1,"a":2}`:                           false,
		`{"a":9007199254740993}`:                  false,
		`{"a":18446744073709551615}`:              false,
		`{"a":[1,2,3,4,5,6,7,8]}`:                 false,
		`{"a":{"b":1},"c":"2026-01-01","d":null}`: true,
	} {
		if got := FaultOf(line); (got == "") != ok {
			t.Errorf("%s: %q", line, got)
		}
	}
}
