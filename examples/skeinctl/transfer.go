package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/replica"
)

const (
	importWriters = 16                     // keys that are written at once
	importRetry   = 100 * time.Millisecond // before a write that was refused for no stated time is tried again
)

func (s *session) exportFlags(fs *flag.FlagSet) {
	s.patient = true
	fs.StringVar(&s.file, "o", "", "`file` to write to, in place of what is in it; none: standard output")
	fs.StringVar(&s.scan.Prefix, "prefix", "", "`text` that the keys begin with")
	fs.StringVar(&s.scan.After, "after", "", "`cursor` of the last line of an export that broke off: go on behind its key")
}

func (s *session) importFlags(fs *flag.FlagSet) {
	s.patient = true
	fs.BoolVar(&s.missing, "missing", false, "leave keys alone that have a value")
	fs.DurationVar(&s.ttl, "ttl", 0, "after what `time` the values read as deleted; 0: never")
}

// runExport prints what scan -json prints, to a file that takes its place when all
// of it is on the disk.
func (s *session) runExport() error {
	if s.file == "" {
		return s.exportLines()
	}
	f, err := os.CreateTemp(filepath.Dir(s.file), filepath.Base(s.file)+".*.tmp")
	if err != nil {
		return err
	}
	stdout := s.out
	s.out = f
	exported := s.exportLines()
	s.out = stdout
	if exported == nil || errors.Is(exported, errIncomplete) {
		err = f.Sync()
	} else {
		err = exported
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), s.file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return exported
}

func (s *session) exportLines() error {
	s.json = true
	return s.runScan()
}

// importCounts are what became of the lines of an import.
type importCounts struct {
	mu                                         sync.Mutex
	Written, Skipped, Degraded, Queued, Merged int
}

// importLine is a value that is to be written.
type importLine struct {
	number     int
	key        string
	value      []byte
	concurrent bool // it is one of several
}

// runImport writes the values that standard input names. Two lines with one key go
// to the same writer, so that the later one is written last.
func (s *session) runImport() error {
	level, err := s.parseLevel()
	if err != nil {
		return err
	}
	var counts importCounts
	err = s.withNode(func(ctx context.Context, node *mesh.Client) error {
		// When a line fails no more are read. Those that were read are written, or tried.
		reading, stop := context.WithCancelCause(ctx)
		defer stop(nil)
		client, seed := replica.NewClient(node), maphash.MakeSeed()
		var writers sync.WaitGroup
		var lanes [importWriters]chan importLine
		for i := range lanes {
			lane := make(chan importLine)
			lanes[i] = lane
			writers.Go(func() {
				for line := range lane {
					if err := s.importValue(ctx, client, level, line, &counts); err != nil {
						stop(fmt.Errorf("line %d, key %s: %w", line.number, shortKey(line.key), err))
					}
				}
			})
		}
		read := s.readLines(func(line importLine) error {
			select {
			case lanes[maphash.String(seed, line.key)%importWriters] <- line:
				return nil
			case <-reading.Done():
				return context.Cause(reading)
			}
		})
		for _, lane := range lanes {
			close(lane)
		}
		writers.Wait()
		if read != nil {
			return read
		}
		return context.Cause(reading)
	})
	return errors.Join(err, s.showImport(&counts))
}

// shortKey is a key in an error: a key at fault may be of any length.
func shortKey(key string) string {
	const enough = 100
	if len(key) > enough {
		return fmt.Sprintf("%s... (%d bytes)", quoteUnlessPlain(key[:enough]), len(key))
	}
	return quoteUnlessPlain(key)
}

// readLines hands on each line of the input.
func (s *session) readLines(fn func(importLine) error) error {
	dec := json.NewDecoder(s.in)
	for number := 1; ; number++ {
		var e entryJSON
		if err := dec.Decode(&e); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("line %d of the input: %w", number, err)
		}
		line := importLine{number: number, key: e.Key, concurrent: len(e.Values) > 1}
		if e.KeyBase64 != nil {
			line.key = string(e.KeyBase64)
		}
		if e.Value == nil || line.key == "" {
			return fmt.Errorf("line %d of the input has no key or no value", number)
		}
		line.value = e.Value.bytes()
		if err := fn(line); err != nil {
			return err
		}
	}
}

func (s *session) importValue(ctx context.Context, c *replica.Client, level replica.Level, line importLine, counts *importCounts) error {
	if s.missing {
		it, err := c.Get(ctx, s.bucket, line.key, &replica.GetOptions{Level: replica.Quorum})
		if err != nil && !errors.Is(err, replica.ErrNotFound) {
			return fmt.Errorf("see whether it has a value: %w", err)
		}
		if len(it.Siblings()) > 0 {
			s.extendTime()
			counts.mu.Lock()
			defer counts.mu.Unlock()
			counts.Skipped++
			return nil
		}
	}
	for {
		r, err := c.Put(ctx, s.bucket, line.key, line.value, &replica.PutOptions{Level: level, TTL: s.ttl})
		if errors.Is(err, replica.ErrOverloaded) || errors.Is(err, mesh.ErrOverloaded) {
			wait := replica.RetryAfter(err)
			if wait <= 0 {
				wait = importRetry
			}
			select {
			case <-time.After(wait):
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if r.Context.IsZero() {
			return err
		}
		s.extendTime()
		counts.addResult(r, err, line)
		return nil
	}
}

func (c *importCounts) addResult(r replica.Result, err error, line importLine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Written++
	if r.Queued {
		c.Queued++
	} else if errors.Is(err, replica.ErrDegraded) {
		c.Degraded++
	}
	if line.concurrent {
		c.Merged++
	}
}

// showImport tells what became of the lines, also of an import that broke off.
func (s *session) showImport(c *importCounts) error {
	if c.Merged > 0 {
		s.printWarning("%s had concurrent values, of which the last writer's was written", countNoun(c.Merged, "key"))
	}
	if s.json {
		return s.printJSON(map[string]int{"written": c.Written, "skipped": c.Skipped, "degraded": c.Degraded, "queued": c.Queued})
	}
	line := countNoun(c.Written, "value") + " written"
	if s.missing {
		line += ", " + countNoun(c.Skipped, "key") + " left alone"
	}
	if c.Degraded > 0 {
		line += fmt.Sprintf("; %d are on fewer stores than asked for", c.Degraded)
	}
	if c.Queued > 0 {
		line += fmt.Sprintf("; %d wait in the outbox of the node, on that one disk", c.Queued)
	}
	_, err := fmt.Fprintln(s.out, line)
	return err
}
