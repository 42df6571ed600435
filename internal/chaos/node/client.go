package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/skeinmesh/skein/internal/chaos"
)

const (
	askEvery = 20 * time.Millisecond
	patience = 500 * time.Millisecond // of a client, for a connection and for an answer
)

// answerClients answers each line of each client with a name.
func answerClients(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = c.Close() }()
			for lines := bufio.NewScanner(c); lines.Scan(); {
				_, _ = fmt.Fprintln(c, name)
			}
		}()
	}
}

// runClient asks a service, at the first of its addresses that answers, and prints what it
// hears until nobody reads that.
func runClient(addresses []string, out io.Writer) {
	enc := json.NewEncoder(out)
	for i := 0; ; i++ {
		c, err := net.DialTimeout("tcp", addresses[i%len(addresses)], patience)
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
