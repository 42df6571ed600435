package main

import (
	"context"
	"net"
	"sync/atomic"
)

// countingNetwork is the host's network; it counts the bytes sent, sealed and
// with TLS, without the headers of UDP, TCP and IP, and of streams also those
// that have come.
type countingNetwork struct{ packets, streams, arrived atomic.Int64 }

func (n *countingNetwork) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return countingListener{l, n}, nil
}

func (n *countingNetwork) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	c, err := new(net.ListenConfig).ListenPacket(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return countingPackets{c, n}, nil
}

func (n *countingNetwork) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return countingConn{c, n}, nil
}

type countingListener struct {
	net.Listener
	sum *countingNetwork
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countingConn{c, l.sum}, nil
}

type countingConn struct {
	net.Conn
	sum *countingNetwork
}

func (c countingConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sum.streams.Add(int64(n))
	return n, err
}

// Read counts before anybody can have acted on what has come.
func (c countingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.sum.arrived.Add(int64(n))
	return n, err
}

type countingPackets struct {
	net.PacketConn
	sum *countingNetwork
}

func (c countingPackets) WriteTo(b []byte, to net.Addr) (int, error) {
	n, err := c.PacketConn.WriteTo(b, to)
	c.sum.packets.Add(int64(n))
	return n, err
}
