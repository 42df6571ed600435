package link

import (
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// oneHello is a connection that brings one flight of bytes and then ends.
type oneHello struct {
	net.Conn // nil: nothing else of it is used
	rest     []byte
	sent     int
}

func (c *oneHello) Read(b []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *oneHello) Write(b []byte) (int, error)      { c.sent += len(b); return len(b), nil }
func (c *oneHello) Close() error                     { return nil }
func (c *oneHello) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }
func (c *oneHello) SetDeadline(time.Time) error      { return nil }
func (c *oneHello) SetReadDeadline(time.Time) error  { return nil }
func (c *oneHello) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkRefusedHello is what the hello of one costs that does not belong here.
func BenchmarkRefusedHello(b *testing.B) {
	w := newWorld(b)
	a := w.start(1)
	other := newAuthority(b)
	for _, bench := range []struct {
		name  string
		hello []byte
	}{
		{"no knock", clientHello(b, forData)},
		{"wrong knock", clientHello(b, other.knock(forData)...)},
		{"overheard knock", clientHello(b, w.auth.knock(forData)...)}, // what each cost before there were knocks
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			sent := 0
			cpu := cpuTime()
			for b.Loop() {
				c := &oneHello{rest: bench.hello}
				if _, _, _, err := a.secureConn(context.Background(), c, false, "", 0); err == nil {
					b.Fatal("taken in")
				}
				sent = c.sent
			}
			b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(sent), "bytes-sent")
		})
	}
}
