// Package jsonlog checks in tests that what the product logs can be read by what
// reads logs in JSON.
package jsonlog

import (
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
)

// New returns a logger of all levels that calls fail for each line, and for each
// attribute, that has a fault. It keeps nothing. Several goroutines may use it if
// fail allows it.
func New(fail func(fault, line string)) *slog.Logger {
	judge := func(_ []string, a slog.Attr) slog.Attr {
		if fault := FaultOfAttr(a); fault != "" {
			fail(fault, a.String())
		}
		return a
	}
	return slog.New(slog.NewJSONHandler(checker(fail), &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: judge}))
}

// FaultOfAttr says what in an attribute would lose its meaning as JSON, or "": a
// value that has words and would be written as a number.
func FaultOfAttr(a slog.Attr) string {
	switch a.Value.Kind() {
	case slog.KindDuration:
		return "a duration as a bare number under " + a.Key
	case slog.KindAny:
	default:
		return "" // the line tells
	}
	t := reflect.TypeOf(a.Value.Any())
	if t == nil {
		return ""
	}
	if t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
		t = t.Elem()
	}
	marshals := t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]())
	if !marshals && reflect.Int <= t.Kind() && t.Kind() <= reflect.Uint64 && t.Implements(reflect.TypeFor[fmt.Stringer]()) {
		return fmt.Sprintf("a %v as a bare number under %s", t, a.Key)
	}
	return ""
}

type checker func(fault, line string)

// Write checks one line: handlers write each in one piece.
func (c checker) Write(b []byte) (int, error) {
	if fault := FaultOf(string(b)); fault != "" {
		c(fault, string(b))
	}
	return len(b), nil
}

// reasons are the keys of why something is so: in words, never as numbers.
var reasons = []string{"error", "why", "reason", "cause"}

// FaultOf says what in a line of JSON a reader of logs may not get right, or "": a
// key twice in one object, a number that loses digits, bytes one by one, an error
// under another key than the one for errors, a reason that is a number.
func FaultOf(line string) string {
	dec := json.NewDecoder(strings.NewReader(line))
	dec.UseNumber()
	keys := map[string]bool{}
	key := ""    // the last one
	numbers := 0 // in a row
	for depth := 0; ; {
		tok, err := dec.Token()
		if err == io.EOF {
			return ""
		}
		if err != nil {
			return err.Error()
		}
		switch tok := tok.(type) {
		case json.Delim:
			numbers = 0
			if depth++; tok == '}' || tok == ']' {
				depth -= 2
			}
			continue
		case json.Number:
			if depth == 1 && slices.Contains(reasons, key) {
				return fmt.Sprintf("the bare number %v as %s", tok, key)
			}
			if n, err := tok.Int64(); err == nil && (n > 1<<53 || n < -1<<53) || err != nil && !strings.ContainsAny(tok.String(), ".e") {
				return fmt.Sprintf("the number %v", tok)
			}
			if numbers++; depth > 1 && numbers > 7 {
				return "bytes as numbers"
			}
			continue
		case string:
			// Tokens of an object alternate; in ours values never are names.
			if depth == 1 && strings.HasSuffix(strings.TrimRight(line[:dec.InputOffset()], " "), `"`) && strings.HasPrefix(line[dec.InputOffset():], ":") {
				if keys[tok] {
					return "the key " + tok + " twice"
				}
				if tok == "err" {
					return "the key err, which is error everywhere"
				}
				key, keys[tok] = tok, true
			}
		}
		numbers = 0
	}
}
