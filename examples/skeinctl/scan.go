package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/replica"
)

func (s *session) scanFlags(fs *flag.FlagSet) {
	fs.StringVar(&s.scan.Prefix, "prefix", "", "`text` that the keys begin with")
	fs.StringVar(&s.scan.From, "from", "", "least `key`")
	fs.StringVar(&s.scan.To, "to", "", "first `key` that is too great")
	fs.StringVar(&s.scan.After, "after", "", "`cursor` that -json showed: go on behind its key")
	fs.IntVar(&s.scan.Limit, "limit", 0, "at most so `many`; 0: all")
	fs.BoolVar(&s.scan.Reverse, "reverse", false, "from the greatest key to the least")
	fs.BoolVar(&s.scan.KeysOnly, "keys", false, "without the values")
}

// entryJSON is what scan prints for each key, on a line.
type entryJSON struct {
	Key       string      `json:"key"`
	KeyBase64 []byte      `json:"key_base64,omitempty"` // the key, if it is no text
	Value     *valueJSON  `json:"value,omitempty"`
	Values    []valueJSON `json:"values,omitempty"` // all concurrent ones
	Cursor    string      `json:"cursor"`
}

// errIncomplete: keys may be missing in what was printed.
var errIncomplete = errors.New("too few stores were in reach: keys may be missing")

func (s *session) runScan() error {
	level, err := s.parseLevel()
	if err != nil {
		return err
	}
	s.scan.Level = level
	if err := s.scan.Validate(); err != nil {
		return usageError(err.Error())
	}
	return s.withNode(func(ctx context.Context, node *mesh.Client) (end error) {
		for e, err := range replica.NewClient(node).Scan(ctx, s.bucket, s.scan) {
			var gap *replica.ScanGap
			switch {
			case errors.As(err, &gap):
				s.printWarning("%v", gap)
				end = errIncomplete
			case errors.Is(err, replica.ErrBucketConflict):
				s.printWarning("the bucket is defined in two ways: this is from one of the two")
			case err != nil:
				return err
			default:
				s.extendTime()
				if err := s.showEntry(&e); err != nil {
					return err
				}
			}
		}
		return end
	})
}

// showEntry prints an item on one line.
func (s *session) showEntry(e *replica.Entry) error {
	value, ok := e.Value()
	if s.json {
		out := entryJSON{Key: e.Key, Cursor: e.Cursor()}
		if !utf8.ValidString(e.Key) {
			out.KeyBase64 = []byte(e.Key)
		}
		if !s.scan.KeysOnly {
			if ok {
				v := newValueJSON(value)
				out.Value = &v
			}
			for _, v := range e.Siblings() {
				out.Values = append(out.Values, newValueJSON(v))
			}
		}
		return s.printJSON(out)
	}
	line := quoteUnlessPlain(e.Key)
	if !s.scan.KeysOnly {
		line += "\t" + quoteUnlessPlain(string(value))
	}
	_, err := fmt.Fprintln(s.out, line)
	return err
}

// quoteUnlessPlain keeps a line of output a line, and a tab a separator.
func quoteUnlessPlain(text string) string {
	if strings.ContainsFunc(text, func(c rune) bool { return c == unicode.ReplacementChar || c == '"' || !unicode.IsPrint(c) }) {
		return strconv.Quote(text)
	}
	return text
}

// bucketJSON is what buckets prints of each.
type bucketJSON struct {
	Name     string   `json:"name"`
	Copies   int      `json:"copies"`
	Siblings bool     `json:"siblings"`
	Zones    []string `json:"zones"`
	Conflict bool     `json:"conflict"`
}

func (s *session) runBuckets() error {
	return s.withNode(func(ctx context.Context, node *mesh.Client) error {
		all, err := replica.NewClient(node).Buckets(ctx)
		if errors.Is(err, replica.ErrDegraded) || errors.Is(err, replica.ErrUnavailable) {
			s.printWarning("too few stores are in reach: there may be more")
		} else if err != nil {
			return err
		}
		if s.json {
			out := []bucketJSON{}
			for _, b := range all {
				out = append(out, bucketJSON{b.Name, b.Copies, b.Policy == replica.Siblings, append([]string{}, b.Zones...), b.Conflict})
			}
			return s.printJSON(map[string]any{"buckets": out})
		}
		for _, b := range all {
			line := fmt.Sprintf("%s\t%d copies, last writer wins", quoteUnlessPlain(b.Name), b.Copies)
			if b.Policy == replica.Siblings {
				line = fmt.Sprintf("%s\t%d copies, concurrent values are kept", quoteUnlessPlain(b.Name), b.Copies)
			}
			if len(b.Zones) > 0 {
				line += ", preferred: " + strings.Join(b.Zones, " ")
			}
			if b.Conflict {
				line += "; defined in two ways"
			}
			if _, err := fmt.Fprintln(s.out, line); err != nil {
				return err
			}
		}
		return nil
	})
}
