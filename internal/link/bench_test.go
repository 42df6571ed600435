package link

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// BenchmarkCall is a round trip of 1 KB each way between two links of this
// process, so time, CPU and allocations are those of both ends.
func BenchmarkCall(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			w := newWorld(b)
			a := w.start(1)
			reply := make([]byte, 1024)
			w.start(2, func(c *Config) {
				c.Handle = func(context.Context, view.NodeID, string, []byte) ([]byte, error) { return reply, nil }
			})
			mustCallAny(b, a)
			b.ReportAllocs()
			var left atomic.Int64
			left.Store(int64(b.N))
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			cpu := cpuTime()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					req := make([]byte, 1024)
					for left.Add(-1) >= 0 {
						if _, err := a.Call(ctx, 2, "put", req); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

func mustCallAny(b *testing.B, l *Link) {
	b.Helper()
	if _, err := l.Call(context.Background(), 2, "x", nil); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkSeal(b *testing.B) {
	w := newWorld(b)
	cfg := w.config(1)
	s := newSealer(&cfg)
	payload := make([]byte, 500)
	b.ReportAllocs()
	for b.Loop() {
		sc := sealScratches.Get().(*sealScratch)
		if _, err := s.sealPacket(sc, 1, 2, payload); err != nil {
			b.Fatal(err)
		}
		sealScratches.Put(sc)
	}
}

// BenchmarkTLSEcho is the floor that BenchmarkCall is held against: one TLS
// connection per caller, nothing but bytes there and back.
func BenchmarkTLSEcho(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			w := newWorld(b)
			ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
				Certificates: []tls.Certificate{w.auth.issue(b, 1)}, DynamicRecordSizingDisabled: true,
			})
			if err != nil {
				b.Fatal(err)
			}
			defer ln.Close()
			var served sync.WaitGroup
			defer served.Wait()
			conns := make([]*tls.Conn, callers)
			for i := range conns {
				served.Go(func() {
					if c, err := ln.Accept(); err == nil {
						_, _ = io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{c}, make([]byte, 1024))
						c.Close()
					}
				})
				c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true})
				if err != nil {
					b.Fatal(err)
				}
				defer c.Close()
				conns[i] = c
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			cpu := cpuTime()
			b.ResetTimer()
			var wg sync.WaitGroup
			for _, c := range conns {
				wg.Go(func() {
					buf := make([]byte, 1024)
					for left.Add(-1) >= 0 {
						if _, err := c.Write(buf); err != nil {
							b.Error(err)
							return
						}
						if _, err := io.ReadFull(c, buf); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}
