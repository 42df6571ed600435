package jsonlog

import (
	"errors"
	"log/slog"
	"testing"
	"time"
)

// state has words, id has bytes of its own.
type (
	state uint8
	id    uint64
)

func (state) String() string            { return "word" }
func (id) String() string               { return "word" }
func (id) MarshalText() ([]byte, error) { return []byte("word"), nil }

// What has words is logged in words.
func TestFaultOfAttr(t *testing.T) {
	for _, c := range []struct {
		value any
		ok    bool
	}{
		{state(1), false}, {[]state{1}, false}, {state(1).String(), true},
		{id(1), true}, {[]id{1}, true}, {time.Second, false}, {time.Second.String(), true},
		{5, true}, {errors.New("no"), true}, {nil, true}, {true, true}, {[]string{"a"}, true}, {slog.LevelInfo, true},
	} {
		if got := FaultOfAttr(slog.Any("key", c.value)); (got == "") != c.ok {
			t.Errorf("%T: %q", c.value, got)
		}
		var faults int
		New(func(string, string) { faults++ }).Info("text", "key", c.value)
		if (faults == 0) != c.ok {
			t.Errorf("%T is logged with %d faults", c.value, faults)
		}
	}
}

func TestFaultOf(t *testing.T) {
	for line, ok := range map[string]bool{
		`{"a":1,"b":"a","c":[1,2]}`:               true,
		`{"a":1,"a":2}`:                           false,
		`{"a":9007199254740993}`:                  false,
		`{"a":18446744073709551615}`:              false,
		`{"a":[1,2,3,4,5,6,7,8]}`:                 false,
		`{"a":{"b":1},"c":"2026-01-01","d":null}`: true,
		`{"err":"no"}`:                            false,
		`{"error":"no","why":"it left"}`:          true,
		`{"why":1}`:                               false,
		`{"shard":1,"why":"1"}`:                   true,
		`{"why":"it left","of":1}`:                true,
		`{"error":5}`:                             false,
		`{"reason":2.5,"shard":1}`:                false,
		`{"outer":{"err":"of another one"}}`:      true,
	} {
		if got := FaultOf(line); (got == "") != ok {
			t.Errorf("%s: %q", line, got)
		}
	}
}
