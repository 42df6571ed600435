// Command redis runs one redis-server without persistence, in a process of its
// own, and drives it with go-redis: a pool with a connection for each client.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/skeinmesh/skein/internal/bench/load"
)

func main() {
	dir := flag.String("dir", "", "data directory")
	flag.Parse()
	os.Exit(load.Main(func(ctx context.Context) (load.System, load.Hello, error) { return openServer(ctx, *dir) }))
}

type server struct {
	process *exec.Cmd
	client  *redis.Client
}

func openServer(ctx context.Context, dir string) (load.System, load.Hello, error) {
	hello := load.Hello{System: "redis", Copies: 1}
	path, err := exec.LookPath("redis-server")
	if err != nil {
		hello.Absent = "redis-server is not installed"
		return nil, hello, nil
	}
	version, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return nil, hello, err
	}
	hello.Version = versionOf(string(version))
	ports, err := load.FreePorts(1)
	if err != nil {
		return nil, hello, err
	}
	args := []string{"--bind", "127.0.0.1", "--port", strconv.Itoa(ports[0]), "--dir", dir, "--save", "", "--appendonly", "no"}
	hello.Config = map[string]any{"args": args, "client_pool": 64}

	s := &server{process: exec.Command(path, args...)}
	var output bytes.Buffer
	s.process.Stdout, s.process.Stderr = &output, &output
	if err := s.process.Start(); err != nil {
		return nil, hello, err
	}
	s.client = redis.NewClient(&redis.Options{
		Addr:     net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0])),
		PoolSize: 64, MinIdleConns: 64, DisableIdentity: true,
	})
	if err := s.answers(ctx, 10*time.Second); err != nil {
		return nil, hello, errors.Join(err, s.Close(), fmt.Errorf("redis-server: %s", output.String()))
	}
	return s, hello, nil
}

// versionOf takes "7.0.15" from "Redis server v=7.0.15 sha=...".
func versionOf(line string) string {
	_, rest, _ := strings.Cut(line, "v=")
	version, _, _ := strings.Cut(rest, " ")
	return version
}

func (s *server) answers(ctx context.Context, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		err := s.client.Ping(ctx).Err()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *server) Put(ctx context.Context, _ int, key string, value []byte) error {
	return s.client.Set(ctx, key, value, 0).Err()
}

func (s *server) Get(ctx context.Context, _ int, key string, level string) ([]byte, error) {
	if level != load.LevelOne {
		return nil, load.ErrUnsupported
	}
	return s.client.Get(ctx, key).Bytes()
}

func (s *server) Extra(context.Context, load.Command) (map[string]float64, error) {
	return nil, load.ErrUnsupported
}

func (s *server) Children() []int { return []int{s.process.Process.Pid} }

func (s *server) Close() error {
	err := s.client.Close()
	if killErr := s.process.Process.Kill(); killErr != nil {
		return errors.Join(err, killErr)
	}
	// Wait reports the kill itself as an error; it says nothing new.
	_ = s.process.Wait()
	return err
}
