// Command raw is the floor under every durable write: one file, one caller at a
// time, one appended write and one flush for each put.
package main

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"sync"

	"github.com/skeinmesh/skein/internal/bench/load"
)

func main() {
	dir := flag.String("dir", "", "data directory")
	flag.Parse()
	os.Exit(load.Main(func(context.Context) (load.System, load.Hello, error) { return openFile(*dir) }))
}

type file struct {
	mu sync.Mutex
	f  *os.File
}

func openFile(dir string) (load.System, load.Hello, error) {
	hello := load.Hello{System: "raw", Version: "write+fdatasync", Copies: 1}
	f, err := os.OpenFile(filepath.Join(dir, "raw.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	return &file{f: f}, hello, err
}

func (s *file) Put(_ context.Context, _ int, _ string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.f.Write(value); err != nil {
		return err
	}
	return flushFile(s.f)
}

func (s *file) Get(context.Context, int, string, string) ([]byte, error) {
	return nil, load.ErrUnsupported
}

func (s *file) Extra(context.Context, load.Command) (map[string]float64, error) {
	return nil, load.ErrUnsupported
}

func (s *file) Children() []int { return nil }

func (s *file) Close() error { return s.f.Close() }
