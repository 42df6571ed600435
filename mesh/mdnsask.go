package mesh

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	mdnsPort = 5353
	// unicastWanted asks for the answer to the socket that asked: to hear those to
	// the group takes a membership, which the system grants by its routes alone.
	unicastWanted = dnsmessage.Class(1 << 15)
)

// askByMulticast asks on one interface who offers a service, and gathers answers
// until ctx ends.
func askByMulticast(ctx context.Context, i net.Interface, service string) []netip.AddrPort {
	question, err := mdnsQuestion(service)
	if err != nil {
		return nil
	}
	found := make(chan []netip.AddrPort, 2)
	go func() { found <- askGroup(ctx, "udp4", net.IPv4(224, 0, 0, 251), i, service, question) }()
	go func() { found <- askGroup(ctx, "udp6", net.ParseIP("ff02::fb"), i, service, question) }()
	return append(<-found, <-found...)
}

func mdnsQuestion(service string) ([]byte, error) {
	name, err := dnsmessage.NewName(service)
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{Questions: []dnsmessage.Question{{
		Name: name, Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET | unicastWanted,
	}}}
	return m.Pack()
}

// askGroup asks one group, of IPv4 or IPv6.
func askGroup(ctx context.Context, network string, group net.IP, i net.Interface, service string, question []byte) []netip.AddrPort {
	c, err := net.ListenUDP(network, nil)
	if err != nil {
		return nil
	}
	defer c.Close()
	if network == "udp4" {
		err = ipv4.NewPacketConn(c).SetMulticastInterface(&i)
	} else {
		err = ipv6.NewPacketConn(c).SetMulticastInterface(&i)
	}
	if err == nil {
		_, err = c.WriteToUDP(question, &net.UDPAddr{IP: group, Port: mdnsPort, Zone: zoneOf(group, i)})
	}
	if err != nil {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var found []netip.AddrPort
	buf := make([]byte, 64<<10)
	for len(found) < maxFound {
		n, _, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return found
		}
		found = append(found, mdnsAnswer(buf[:n], service)...)
	}
	return found
}

func zoneOf(group net.IP, i net.Interface) string {
	if group.To4() != nil {
		return ""
	}
	return i.Name
}

// mdnsAnswer returns the addresses in an answer about a service. What cannot be read
// says nothing.
func mdnsAnswer(b []byte, service string) []netip.AddrPort {
	var m dnsmessage.Message
	if m.Unpack(b) != nil || !m.Response {
		return nil
	}
	addrs := map[string][]netip.Addr{}
	ports := map[string]uint16{}
	for _, rr := range append(m.Answers, m.Additionals...) {
		name := strings.ToLower(rr.Header.Name.String())
		switch body := rr.Body.(type) {
		case *dnsmessage.SRVResource:
			if strings.HasSuffix(name, "."+strings.ToLower(service)) {
				ports[strings.ToLower(body.Target.String())] = body.Port
			}
		case *dnsmessage.AResource:
			addrs[name] = append(addrs[name], netip.AddrFrom4(body.A))
		case *dnsmessage.AAAAResource:
			addrs[name] = append(addrs[name], netip.AddrFrom16(body.AAAA).Unmap())
		}
	}
	var out []netip.AddrPort
	for host, port := range ports {
		for _, a := range addrs[host] {
			if port != 0 && len(out) < maxFound {
				out = append(out, netip.AddrPortFrom(a, port))
			}
		}
	}
	return out
}
