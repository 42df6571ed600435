package load

import (
	"errors"
	"net"
)

// FreePorts returns n different loopback ports that were free a moment ago, on
// TCP and on UDP. They are all held while they are chosen, then released.
func FreePorts(n int) ([]int, error) {
	var ports []int
	var held []interface{ Close() error }
	var fault error
	for len(ports) < n && fault == nil {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fault = err
			break
		}
		held = append(held, listener)
		packets, err := net.ListenPacket("udp", listener.Addr().String())
		if err != nil {
			continue // taken on UDP only: try another
		}
		held = append(held, packets)
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	for _, h := range held {
		fault = errors.Join(fault, h.Close())
	}
	return ports, fault
}
