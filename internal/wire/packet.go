package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/skeinmesh/skein/mesh/view"
)

// PacketKind tells what a sealed packet carries.
type PacketKind uint8

const (
	PacketGossip   PacketKind = 1 // for memberlist
	PacketProbe    PacketKind = 2 // a nonce of 8 bytes, to be sent back
	PacketProbeAck PacketKind = 3 // the nonce of a probe
	PacketFrame    PacketKind = 4 // a frame without its length; behind a FramePacketHeader
)

const (
	packetVersion = 1

	// MaxPacket is what fits into one datagram on any path (IPv6 guarantees
	// 1280 bytes with its own headers).
	MaxPacket             = 1200
	PacketHeaderSize      = 34
	FramePacketHeaderSize = 18
)

// PacketHeader precedes every sealed packet but one of kind PacketFrame, in the clear but authenticated.
// From, Boot and Instance choose the key; Counter is the nonce under it.
type PacketHeader struct {
	Kind           PacketKind
	From           view.NodeID
	Boot, Instance uint64
	Counter        uint64
}

// AppendPacketHeader appends 34 bytes, big endian:
//
//	0   version=1
//	1   kind
//	2   from
//	10  boot
//	18  instance
//	26  counter
func AppendPacketHeader(dst []byte, h PacketHeader) []byte {
	dst = append(dst, packetVersion, byte(h.Kind))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.From))
	dst = binary.BigEndian.AppendUint64(dst, h.Boot)
	dst = binary.BigEndian.AppendUint64(dst, h.Instance)
	return binary.BigEndian.AppendUint64(dst, h.Counter)
}

// DecodePacketHeader reads the header of a packet; what follows it is the
// sealed rest.
func DecodePacketHeader(packet []byte) (PacketHeader, error) {
	if len(packet) < PacketHeaderSize {
		return PacketHeader{}, fmt.Errorf("wire: packet: %w: %d bytes", ErrMalformed, len(packet))
	}
	if packet[0] > packetVersion {
		return PacketHeader{}, fmt.Errorf("wire: packet: %w: %d, this build knows %d", ErrNewerVersion, packet[0], packetVersion)
	}
	h := PacketHeader{
		Kind:     PacketKind(packet[1]),
		From:     view.NodeID(binary.BigEndian.Uint64(packet[2:])),
		Boot:     binary.BigEndian.Uint64(packet[10:]),
		Instance: binary.BigEndian.Uint64(packet[18:]),
		Counter:  binary.BigEndian.Uint64(packet[26:]),
	}
	if packet[0] == 0 || h.Kind < PacketGossip || h.Kind > PacketProbeAck || h.From == 0 || h.Counter == 0 {
		return PacketHeader{}, fmt.Errorf("wire: packet: %w: no such header", ErrMalformed)
	}
	return h, nil
}

// FramePacketHeader precedes a packet that is sealed with a key of a data connection
// to From, in the clear but authenticated. Counter is the nonce under it.
type FramePacketHeader struct {
	From    view.NodeID
	Counter uint64
}

// IsFramePacket tells whether a packet has a FramePacketHeader, if it is whole.
func IsFramePacket(packet []byte) bool {
	return len(packet) > 1 && packet[0] == packetVersion && PacketKind(packet[1]) == PacketFrame
}

// AppendFramePacketHeader appends 18 bytes, big endian:
//
//	0   version=1
//	1   kind=4
//	2   from
//	10  counter
func AppendFramePacketHeader(dst []byte, h FramePacketHeader) []byte {
	dst = append(dst, packetVersion, byte(PacketFrame))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.From))
	return binary.BigEndian.AppendUint64(dst, h.Counter)
}

// DecodeFramePacketHeader reads the header of a packet for which IsFramePacket holds.
func DecodeFramePacketHeader(packet []byte) (FramePacketHeader, error) {
	if !IsFramePacket(packet) || len(packet) < FramePacketHeaderSize {
		return FramePacketHeader{}, fmt.Errorf("wire: packet: %w: %d bytes, no frame", ErrMalformed, len(packet))
	}
	h := FramePacketHeader{From: view.NodeID(binary.BigEndian.Uint64(packet[2:])), Counter: binary.BigEndian.Uint64(packet[10:])}
	if h.From == 0 || h.Counter == 0 {
		return FramePacketHeader{}, fmt.Errorf("wire: packet: %w: no such header", ErrMalformed)
	}
	return h, nil
}
