package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/replica"
)

// errNoValue: what was asked for is not there, which is certain.
var errNoValue = errors.New("not found")

const maxInput = 64 << 20 // more than any mesh takes

// valueJSON is a value as text if it is text.
type valueJSON struct {
	Text   *string `json:"text,omitempty"`
	Base64 []byte  `json:"base64,omitempty"`
}

func newValueJSON(b []byte) valueJSON {
	if utf8.Valid(b) {
		text := string(b)
		return valueJSON{Text: &text}
	}
	return valueJSON{Base64: b}
}

func (v valueJSON) bytes() []byte {
	if v.Text != nil {
		return []byte(*v.Text)
	}
	return v.Base64
}

// itemJSON is what get prints.
type itemJSON struct {
	Key      string          `json:"key"`
	Found    bool            `json:"found"`
	Value    *valueJSON      `json:"value"`  // null: the last writer deleted it, or nobody wrote
	Values   []valueJSON     `json:"values"` // all concurrent ones
	Context  replica.Context `json:"context"`
	Replies  int             `json:"replies"`
	Degraded bool            `json:"degraded"` // not certain: too few stores answered
	Conflict bool            `json:"conflict"` // the bucket is defined in two ways
}

func (s *session) runGet() error {
	level, err := s.parseLevel()
	if err != nil {
		return err
	}
	return s.withNode(func(ctx context.Context, node *mesh.Client) error {
		it, err := replica.NewClient(node).Get(ctx, s.bucket, s.words[0], &replica.GetOptions{Level: level})
		if it.Context.IsZero() {
			return err
		}
		return s.showItem(it, err)
	})
}

// showItem prints what a read found. err is what it said beside it.
func (s *session) showItem(it replica.Item, err error) error {
	value, ok := it.Value()
	all := it.Siblings()
	degraded, conflict := errors.Is(err, replica.ErrDegraded), errors.Is(err, replica.ErrBucketConflict)
	if conflict {
		s.printWarning("the bucket is defined in two ways: this is from one of the two")
	}
	switch {
	case s.json:
		out := itemJSON{Key: it.Key, Found: len(all) > 0, Context: it.Context, Replies: it.Replies, Degraded: degraded, Conflict: conflict, Values: []valueJSON{}}
		if ok {
			v := newValueJSON(value)
			out.Value = &v
		}
		for _, v := range all {
			out.Values = append(out.Values, newValueJSON(v))
		}
		err = s.printJSON(out)
		ok = ok || len(all) > 0
	case s.all && len(all) > 0:
		ok = true
		err = s.printValue(it, append(joinLines(all), '\n'))
	default:
		err = s.printValue(it, value)
	}
	switch {
	case err != nil:
		return err
	case !ok && degraded:
		return errors.New("not found, but too few stores answered to be sure")
	case !ok && len(all) > 0:
		return fmt.Errorf("%w: the last writer deleted it, but %d concurrent values are left; see -all", errNoValue, len(all))
	case !ok:
		return errNoValue
	case degraded:
		s.printWarning("too few stores answered: there may be a later value")
	}
	if !s.json && !s.all && len(all) > 1 {
		s.printWarning("%d concurrent values, of which this is the last writer's; -all shows all", len(all))
	}
	return nil
}

func joinLines(values [][]byte) []byte {
	var out []byte
	for i, v := range values {
		if i > 0 {
			out = append(out, '\n')
		}
		out = append(out, v...)
	}
	return out
}

// printValue writes the context if it was asked for, and what was read.
func (s *session) printValue(it replica.Item, value []byte) error {
	if s.showContext {
		text, err := it.Context.MarshalText()
		if err != nil {
			return err
		}
		value = append(append(text, '\n'), value...)
	}
	_, err := s.out.Write(value)
	return err
}

// resultJSON is what put and del print.
type resultJSON struct {
	Key      string          `json:"key"`
	Durable  int             `json:"durable"`
	Queued   bool            `json:"queued"` // no store has it: it waits in the node's outbox
	Homes    int             `json:"homes"`
	Hinted   int             `json:"hinted"`
	Replaced int             `json:"replaced"`
	Context  replica.Context `json:"context"`
	Degraded bool            `json:"degraded"`
	Conflict bool            `json:"conflict"`
}

func (s *session) runPut() error {
	value := []byte(s.words[1])
	if s.words[1] == "-" {
		var err error
		if value, err = io.ReadAll(io.LimitReader(s.in, maxInput+1)); err != nil {
			return fmt.Errorf("read the value: %w", err)
		}
		if len(value) > maxInput {
			return fmt.Errorf("the value exceeds %d MiB: %w", maxInput>>20, replica.ErrTooLarge)
		}
	}
	return s.changeKey("stored", func(ctx context.Context, c *replica.Client, seen replica.Context, level replica.Level) (replica.Result, error) {
		return c.Put(ctx, s.bucket, s.words[0], value, &replica.PutOptions{Context: seen, Level: level, TTL: s.ttl})
	})
}

func (s *session) runDelete() error {
	return s.changeKey("deleted", func(ctx context.Context, c *replica.Client, seen replica.Context, level replica.Level) (replica.Result, error) {
		return c.Delete(ctx, s.bucket, s.words[0], &replica.DeleteOptions{Context: seen, Level: level})
	})
}

// changeKey carries out a write and tells what became of it.
func (s *session) changeKey(done string, fn func(context.Context, *replica.Client, replica.Context, replica.Level) (replica.Result, error)) error {
	level, err := s.parseLevel()
	if err != nil {
		return err
	}
	var seen replica.Context
	if err := seen.UnmarshalText([]byte(s.seen)); err != nil {
		return usageError("-context is not what get -context prints")
	}
	return s.withNode(func(ctx context.Context, node *mesh.Client) error {
		r, err := fn(ctx, replica.NewClient(node), seen, level)
		if r.Context.IsZero() {
			return err
		}
		degraded, conflict := errors.Is(err, replica.ErrDegraded), errors.Is(err, replica.ErrBucketConflict)
		if degraded {
			s.printWarning("kept, but on fewer stores than asked for: %v", err)
		}
		if conflict {
			s.printWarning("the bucket is defined in two ways: this went to one of the two")
		}
		if s.json {
			return s.printJSON(resultJSON{s.words[0], r.Durable, r.Queued, r.Homes, r.Hinted, len(r.Covered), r.Context, degraded, conflict})
		}
		if r.Queued {
			_, err = fmt.Fprintln(s.out, "on no store yet: it waits in the outbox of the node, on that one disk, and is delivered when a store is in reach")
			return err
		}
		_, err = fmt.Fprintf(s.out, "%s on %s, %d of them homes", done, countNoun(r.Durable, "store"), r.Homes)
		if r.Hinted > 0 && err == nil {
			_, err = fmt.Fprintf(s.out, "; kept for %s that are down", countNoun(r.Hinted, "home"))
		}
		_, err2 := fmt.Fprintln(s.out)
		return errors.Join(err, err2)
	})
}

func countNoun(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func (s *session) parseLevel() (replica.Level, error) {
	switch s.level {
	case "":
		return 0, nil
	case "one":
		return replica.One, nil
	case "quorum":
		return replica.Quorum, nil
	}
	n, err := strconv.Atoi(s.level)
	if err != nil || n < 1 || n > 64 {
		return 0, usageError(fmt.Sprintf("-level %q is not one, quorum or a number from 1 to 64", s.level))
	}
	return replica.Sloppy(n), nil
}
