package forward

import (
	"context"
	"io"
	"net"
	"sync"
)

// relayBoth passes on what two sides say until both have said all, one fails, or ctx ends.
func relayBoth(ctx context.Context, client, server *net.TCPConn) {
	reset := func() {
		resetConn(client)
		resetConn(server)
	}
	var works sync.WaitGroup
	ended := make(chan struct{})
	works.Go(func() {
		select {
		case <-ctx.Done():
			reset()
		case <-ended:
		}
	})
	var ways sync.WaitGroup
	for _, way := range [...]struct{ to, from *net.TCPConn }{{server, client}, {client, server}} {
		ways.Go(func() {
			_, err := io.Copy(way.to, way.from)
			if err == nil {
				err = way.to.CloseWrite()
			}
			if err != nil {
				reset()
			}
		})
	}
	ways.Wait()
	close(ended)
	works.Wait()
	_ = client.Close()
	_ = server.Close()
}

// resetConn closes a connection such that the other side takes what it has heard for no whole.
func resetConn(c *net.TCPConn) {
	_ = c.SetLinger(0) // fails if it is closed
	_ = c.Close()
}
