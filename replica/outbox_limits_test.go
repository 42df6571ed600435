package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/replica/outbox"
	"github.com/skeinmesh/skein/internal/wire"
)

func TestOutboxFull(t *testing.T) {
	one := int64(outbox.Record + 3 + 1000)
	withCamera(t, BucketConfig{}, func(c *camera) {
		ctx := context.Background()
		c.net.split(true, c.node.id)
		low := openBucket(t, c.node.store, "low", BucketConfig{Priority: -1})
		high := openBucket(t, c.node.store, "high", BucketConfig{Priority: 1})
		value := strings.Repeat("v", 1000)
		for i := range 5 {
			c.queue(low, fmt.Sprintf("l%02d", i), value, nil)
			c.queue(c.b, fmt.Sprintf("m%02d", i), value, nil)
		}
		for _, b := range []*Bucket{low, c.b} {
			want := ErrOutboxFull
			if b == c.b {
				want = nil
			}
			_, err := b.Put(ctx, "new", []byte(value), nil)
			if want != nil && !(errors.Is(err, want) && errors.Is(err, ErrUnavailable)) || want == nil && !errors.Is(err, ErrDegraded) {
				t.Errorf("%s, full: %v", b.Name(), err)
			}
		}
		if st := c.status(); st.OutboxOps != 10 || st.OutboxDropped != 1 || st.OutboxBytes != 10*one {
			t.Errorf("one of low priority has made room: %+v", st)
		}
		c.queue(c.b, "m00", strings.Repeat("w", 1000), nil) // in the place of its predecessor
		for i := range 9 {
			c.queue(high, fmt.Sprintf("h%02d", i), value, nil)
		}
		if _, err := c.b.Put(ctx, "one more", []byte(value), nil); !errors.Is(err, ErrOutboxFull) {
			t.Errorf("an equal has made room: %v", err)
		}
		if st := c.status(); st.OutboxOps != 10 || st.OutboxDropped != 10 {
			t.Errorf("%+v", st)
		}
		c.net.heal()
		time.Sleep(10 * time.Second)
		var got []string
		for _, a := range c.took() {
			key, _, _ := strings.Cut(a, "=")
			got = append(got, key)
		}
		slices.Sort(got)
		if want := "[h00 h01 h02 h03 h04 h05 h06 h07 h08 m00]"; fmt.Sprint(got) != want {
			t.Errorf("delivered %v, want %s: the oldest of the lowest go first", got, want)
		}
	}, func(cfg *Config) { cfg.OutboxBytes = 10 * one })
}

// Many that are given up are told of together, and none is left out.
func TestOutboxTellsWhatIsGivenUp(t *testing.T) {
	withCamera(t, BucketConfig{Priority: -1}, func(c *camera) {
		if err := c.node.store.Close(); err != nil {
			t.Fatal(err)
		}
		var lines bytes.Buffer
		c.reopen(func(cfg *Config) {
			cfg.OutboxBytes, cfg.OutboxAge = 50*(outbox.Record+4), time.Hour
			cfg.Logger = slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelWarn}))
		})
		c.net.split(true, c.node.id)
		high := openBucket(t, c.node.store, "high", BucketConfig{Priority: 1})
		for i := range 50 {
			c.queue(openBucket(t, c.node.store, "b", BucketConfig{Priority: -1}), fmt.Sprintf("l%02d", i), "v", nil)
		}
		for i := range 30 {
			c.queue(high, fmt.Sprintf("h%02d", i), "v", nil)
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Hour)
		if st := c.status(); st.OutboxDropped != 80 || st.OutboxOps != 0 {
			t.Errorf("%+v", st)
		}
		if err := c.node.store.Close(); err != nil {
			t.Fatal(err)
		}
		sum, n := 0, 0
		for line := range strings.Lines(lines.String()) {
			if strings.Count(line, " node="+c.node.id.String()) != 1 {
				t.Errorf("the node is not there once: %s", line)
			}
			if _, rest, ok := strings.Cut(line, " now="); ok && strings.Contains(line, "given up\"") {
				var k int
				fmt.Sscan(rest, &k)
				sum, n = sum+k, n+1
			}
		}
		if sum != 80 || n < 3 || n > 8 {
			t.Errorf("%d warnings of %d operations:\n%s", n, sum, &lines)
		}
	})
}

func TestOutboxAgeIsTimeThatTheNodeHasRun(t *testing.T) {
	alone(t, func(c *camera) {
		const day = 24 * time.Hour
		c.queue(c.b, "old", "v", nil)
		c.node.clock.SetSkew(50 * 365 * day)
		time.Sleep(4 * day)
		c.queue(c.b, "young", "v", nil)
		c.node.clock.SetSkew(-50 * 365 * day)
		time.Sleep(time.Hour)
		if st := c.status(); st.OutboxOps != 2 || st.OutboxDropped != 0 || st.OutboxOldest/time.Minute != (4*day+time.Hour)/time.Minute {
			t.Fatalf("the wall clock has jumped: %+v", st)
		}
		c.node.kill()
		time.Sleep(30 * day) // off
		c.reopen()
		time.Sleep(3*day - 2*time.Hour)
		if st := c.status(); st.OutboxOps != 2 || st.OutboxDropped != 0 || st.OutboxOldest < 7*day-2*time.Hour {
			t.Fatalf("the node was off for a month: %+v", st)
		}
		time.Sleep(2 * time.Hour)
		if st := c.status(); st.OutboxOps != 1 || st.OutboxDropped != 1 {
			t.Fatalf("after 7 days: %+v", st)
		}
	})
}

func TestOutboxRefusedOperationHoldsUpNobody(t *testing.T) {
	for name, code := range map[string]wire.Code{"for good": wire.CodeSiblings, "by everybody": wire.CodeNotStored} {
		t.Run(name, func(t *testing.T) {
			withCamera(t, BucketConfig{Priority: 3}, func(c *camera) {
				var attempts atomic.Int64
				c.refusing(func(m *wire.PutRequest) []byte {
					if m.Key != "bad" {
						return nil
					}
					attempts.Add(1)
					return wire.AppendPutReply(nil, &wire.PutReply{Code: code, Text: "not this one", Clock: wire.Clock{Run: 1}})
				})
				c.net.split(true, c.node.id)
				c.queue(c.b, "bad", "v", nil)
				other := openBucket(t, c.node.store, "other", BucketConfig{})
				for i := range 50 {
					c.queue(other, fmt.Sprint("k", i), "v", nil)
				}
				c.net.heal()
				time.Sleep(10 * time.Second)
				if st := c.status(); st.OutboxOps != 1 || st.OutboxDelivered != 50 || !strings.Contains(st.OutboxError, "not this one") {
					t.Errorf("%+v", st)
				}
				time.Sleep(time.Hour)
				if n := attempts.Load(); n < 50 || n > 2000 {
					t.Errorf("%d attempts in an hour", n)
				}
				c.refusing(nil)
				time.Sleep(2 * time.Minute)
				if st := c.status(); st.OutboxOps != 0 || st.OutboxDelivered != 51 || st.OutboxError != "" {
					t.Errorf("when it is taken after all: %+v", st)
				}
				wantValue(t, c.all[0], "bad", "v")
			})
		})
	}
}

// What waits is told wherever an operator may look: how many, of how many bytes, for
// how long, and what holds it up. Once it is delivered all is well again.
func TestHealthTellsWhatWaits(t *testing.T) {
	withCamera(t, BucketConfig{}, func(c *camera) {
		ctx, client := context.Background(), NewClient(asker{c.node, c.node.id})
		wantProblem(t, c.node.store)
		c.net.split(true, c.node.id)
		wantProblem(t, c.node.store) // nothing waits
		for i := range 120 {
			c.queue(c.b, fmt.Sprintf("k%03d", i), "v", nil)
		}
		r, err := client.Put(ctx, "b", "from a tool", []byte("v"), nil)
		if !errors.Is(err, ErrDegraded) || !r.Queued || r.Durable != 1 {
			t.Errorf("put by a tool: %+v, %v", r, err)
		}
		time.Sleep(90 * time.Second)
		bytes := fmt.Sprint(c.status().OutboxBytes)
		wantProblem(t, c.node.store, "121 writes of "+bytes+" bytes wait in the outbox", "the oldest for 1m", "no storing node is in contact")
		st, err := client.Status(ctx)
		if err != nil || st.OutboxOps != 121 || fmt.Sprint(st.OutboxBytes) != bytes || st.OutboxOldest < 90*time.Second || !strings.Contains(st.OutboxError, "in contact") {
			t.Errorf("status, asked by a tool: %+v, %v", st, err)
		}
		answer, err := adminDesk{c.node.store}.answerStatus(ctx, nil) // by a tool of an early release
		if m, bad := wire.DecodeAdminStatus(answer); err != nil || bad != nil || m.Outbox != nil {
			t.Errorf("%+v, %v, %v", m, err, bad)
		}
		c.net.heal()
		time.Sleep(30 * time.Second)
		wantProblem(t, c.node.store)
		if st, err := client.Status(ctx); err != nil || st.OutboxOps != 0 || st.OutboxDelivered != 121 || st.OutboxError != "" {
			t.Errorf("delivered: %+v, %v", st, err)
		}
		if r, err := client.Put(ctx, "b", "k", []byte("v"), nil); err != nil || r.Queued {
			t.Errorf("put by a tool: %+v, %v", r, err)
		}
	})
}

func TestOutboxRefusedOperationEndsByAge(t *testing.T) {
	withCamera(t, BucketConfig{}, func(c *camera) {
		c.refusing(func(*wire.PutRequest) []byte {
			return wire.AppendPutReply(nil, &wire.PutReply{Code: wire.CodeSiblings, Clock: wire.Clock{Run: 1}})
		})
		c.net.split(true, c.node.id)
		c.queue(c.b, "bad", "v", nil)
		c.net.heal()
		time.Sleep(24*time.Hour + 2*time.Minute)
		if st := c.status(); st.OutboxOps != 0 || st.OutboxDropped != 1 || st.OutboxError != "" {
			t.Errorf("%+v", st)
		}
	}, func(cfg *Config) { cfg.OutboxAge = 24 * time.Hour })
}
