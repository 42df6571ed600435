package link

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// *net.UDPConn has these; they spare an allocation per packet.
type (
	addrPortReader interface {
		ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	}
	addrPortWriter interface {
		WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
	}
)

func readFrom(pc net.PacketConn, b []byte) (int, netip.AddrPort, error) {
	if r, ok := pc.(addrPortReader); ok {
		n, addr, err := r.ReadFromUDPAddrPort(b)
		return n, unmapAddr(addr), err
	}
	n, addr, err := pc.ReadFrom(b)
	return n, addrPort(addr), err
}

func writeTo(pc net.PacketConn, b []byte, addr netip.AddrPort) error {
	var err error
	if w, ok := pc.(addrPortWriter); ok {
		_, err = w.WriteToUDPAddrPort(b, addr)
	} else {
		_, err = pc.WriteTo(b, net.UDPAddrFromAddrPort(addr))
	}
	return err
}

// sendPacket seals payload for a node and sends it.
func (l *Link) sendPacket(kind wire.PacketKind, to view.NodeID, addr netip.AddrPort, payload []byte) error {
	s := sealScratches.Get().(*sealScratch)
	defer sealScratches.Put(s)
	packet, err := l.sealer.sealPacket(s, kind, to, payload)
	if err != nil {
		return err
	}
	return l.writePacket(packet, addr)
}

func (l *Link) writePacket(packet []byte, addr netip.AddrPort) error {
	if err := writeTo(l.packets, packet, addr); err != nil {
		return err // as it is: memberlist looks at its type
	}
	l.stats.packetsOut.Add(1)
	l.stats.packetBytesOut.Add(uint64(len(packet)))
	return nil
}

// readPackets opens packets until the socket is closed.
func (l *Link) readPackets(ctx context.Context) {
	buf := make([]byte, wire.MaxPacket+1) // one more shows what is too long
	opener := newOpener(&l.cfg)
	for {
		n, remote, err := readFrom(l.packets, buf)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// Some systems report here that an earlier packet was refused.
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
				return
			}
			continue
		}
		l.stats.packetsIn.Add(1)
		l.stats.packetBytesIn.Add(uint64(n))
		if n > wire.MaxPacket {
			l.stats.packetsRefused.Add(1)
			continue
		}
		if wire.IsFramePacket(buf[:n]) {
			l.receiveFrame(buf[:n])
			continue
		}
		h, payload, err := opener.openPacket(buf[:n])
		if err == nil && (h.From == l.cfg.Self || !l.cfg.Admit(h.From)) {
			err = ErrUntrusted
		}
		if err != nil {
			l.stats.packetsRefused.Add(1)
			continue
		}
		l.peers.notePacketAddr(h.From, remote)
		switch h.Kind {
		case wire.PacketGossip:
			l.gossip.receivePacket(h.From, remote, payload)
		case wire.PacketProbe:
			l.answerProbe(h.From, remote, payload)
		case wire.PacketProbeAck:
			l.takeProbeAck(h, payload)
		}
	}
}
