// Package jsonlog checks in tests that what the product logs can be read by what
// reads logs in JSON.
package jsonlog

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// New returns a logger of all levels that calls fail for each line that has a
// fault. It keeps nothing. Several goroutines may use it if fail allows it.
func New(fail func(fault, line string)) *slog.Logger {
	return slog.New(slog.NewJSONHandler(checker(fail), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type checker func(fault, line string)

// Write checks one line: handlers write each in one piece.
func (c checker) Write(b []byte) (int, error) {
	if fault := FaultOf(string(b)); fault != "" {
		c(fault, string(b))
	}
	return len(b), nil
}

// FaultOf says what in a line of JSON a reader of logs may not get right, or "": a
// key twice in one object, a number that loses digits, bytes one by one.
func FaultOf(line string) string {
	dec := json.NewDecoder(strings.NewReader(line))
	dec.UseNumber()
	keys := map[string]bool{}
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
				keys[tok] = true
			}
		}
		numbers = 0
	}
}
