package vip

import (
	"bytes"
	"encoding/hex"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
)

func TestTellings(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 7}
	arp := newTelling(netip.MustParseAddr("10.0.0.100"), mac)
	if want := "0001080006040001" + "020000000007" + "0a000064" + "000000000000" + "0a000064"; hex.EncodeToString(arp.packet) != want || arp.protocol != etherARP {
		t.Errorf("%x, want %s", arp.packet, want)
	}
	ip := netip.MustParseAddr("2001:db8::64")
	na := newTelling(ip, mac)
	h, err := ipv6.ParseHeader(na.packet)
	if err != nil || h.HopLimit != 255 || !h.Src.Equal(ip.AsSlice()) || !h.Dst.Equal(net.IPv6linklocalallnodes) || h.PayloadLen != len(na.packet)-ipv6.HeaderLen || na.protocol != etherIPv6 {
		t.Fatalf("%+v, %v", h, err)
	}
	body := na.packet[ipv6.HeaderLen:]
	m, err := icmp.ParseMessage(58, body)
	if err != nil || m.Type != ipv6.ICMPTypeNeighborAdvertisement {
		t.Fatalf("%+v, %v", m, err)
	}
	if want := append(append([]byte{0x20, 0, 0, 0}, ip.AsSlice()...), 2, 1, 2, 0, 0, 0, 0, 7); !bytes.Equal(body[4:], want) {
		t.Errorf("%x, want %x", body[4:], want)
	}
	// The same, as another builds it.
	other, err := (&icmp.Message{Type: m.Type, Body: &icmp.RawBody{Data: body[4:]}}).Marshal(icmp.IPv6PseudoHeader(h.Src, h.Dst))
	if err != nil || !bytes.Equal(other, body) {
		t.Errorf("%x, want %x: %v", body, other, err)
	}
}
