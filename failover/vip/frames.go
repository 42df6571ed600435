package vip

import (
	"encoding/binary"
	"net"
	"net/netip"
)

const (
	etherARP  = 0x0806
	etherIPv6 = 0x86dd
)

// telling is a packet that tells neighbours where an address is, without the header of its
// frame.
type telling struct {
	protocol uint16 // of Ethernet
	to       net.HardwareAddr
	packet   []byte
}

// newTelling returns what tells of an address: an ARP announcement as RFC 5227 has it, or a
// neighbour advertisement that nobody asked for, as RFC 4861 does.
func newTelling(ip netip.Addr, mac net.HardwareAddr) telling {
	if ip.Is4() {
		return telling{etherARP, net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, newAnnouncement(ip, mac)}
	}
	return telling{etherIPv6, net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, newAdvertisement(ip, mac)}
}

func newAnnouncement(ip netip.Addr, mac net.HardwareAddr) []byte {
	p := []byte{0, 1, 8, 0, 6, 4, 0, 1} // Ethernet, IPv4, lengths of addresses, a request
	p = append(append(p, mac...), ip.AsSlice()...)
	p = append(p, 0, 0, 0, 0, 0, 0)
	return append(p, ip.AsSlice()...)
}

func newAdvertisement(ip netip.Addr, mac net.HardwareAddr) []byte {
	const size, icmpv6 = 32, 58
	allNodes := [16]byte{0: 0xff, 1: 0x02, 15: 1}
	addresses := append(ip.AsSlice(), allNodes[:]...)
	body := []byte{136, 0, 0, 0, 0x20, 0, 0, 0} // an advertisement that overrides what is known
	body = append(append(body, ip.AsSlice()...), 2, 1)
	body = append(body, mac...) // option 2, of one times 8 bytes
	pseudo := append(append(append([]byte{}, addresses...), 0, 0, 0, size, 0, 0, 0, icmpv6), body...)
	binary.BigEndian.PutUint16(body[2:], checksumOf(pseudo))
	header := []byte{0x60, 0, 0, 0, 0, size, icmpv6, 255}
	return append(append(header, addresses...), body...)
}

// checksumOf returns the checksum of the Internet, of bytes that are even in number.
func checksumOf(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
