package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/skeinmesh/skein/internal/chaos"
)

const (
	askEvery = 20 * time.Millisecond
	patience = 500 * time.Millisecond // of a client, for a connection and for an answer
)

// answerClients answers each line of each client with a name, and a request of HTTP with a page
// that says no more.
func answerClients(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = c.Close() }()
			isPage := false
			for lines := bufio.NewScanner(c); lines.Scan(); {
				switch line := lines.Text(); {
				case strings.HasPrefix(line, "GET "):
					isPage = true
				case !isPage:
					_, _ = fmt.Fprintln(c, name)
				case line == "":
					_, _ = fmt.Fprintf(c, "HTTP/1.0 200 OK\r\n\r\n%s\n", name)
					return
				}
			}
		}()
	}
}

// runClient asks a service, at the first of its addresses that answers, and prints what it
// hears until nobody reads that. If isDNS they are those of servers that say where it is.
func runClient(addresses []string, isDNS bool, out io.Writer) {
	enc := json.NewEncoder(out)
	for i := 0; ; i++ {
		dialer, to := net.Dialer{Timeout: patience}, addresses[i%len(addresses)]
		if isDNS {
			server := to
			dialer.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, server)
			}}
			to = net.JoinHostPort(chaos.ServiceName, strconv.Itoa(chaos.ServicePort))
		}
		c, err := dialer.Dial("tcp", to)
		if err != nil {
			time.Sleep(askEvery)
			continue
		}
		for lines := bufio.NewScanner(c); ; time.Sleep(askEvery) {
			_ = c.SetDeadline(time.Now().Add(patience))
			if _, err := fmt.Fprintln(c, "?"); err != nil || !lines.Scan() {
				break
			}
			if enc.Encode(chaos.AnswerLine{AtUS: time.Now().UnixMicro(), From: lines.Text()}) != nil {
				return
			}
		}
		_ = c.Close()
	}
}
