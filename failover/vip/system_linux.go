package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	netlinkWait = time.Second // for the answer of the system
	maxAnswer   = 1 << 16     // bytes of it that are read at once
	maxParts    = 1 << 10     // of an answer
)

// linux is the system: a socket for addresses and one for frames, both of the network namespace
// in which it was opened.
type linux struct {
	prefix  netip.Prefix
	device  *net.Interface
	netlink int
	frames  int
	seq     uint32
	buf     []byte
}

func openSystem(name string, prefix netip.Prefix) (_ system, err error) {
	s := &linux{prefix: prefix, netlink: -1, frames: -1, buf: make([]byte, maxAnswer)}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if s.device, err = net.InterfaceByName(name); err != nil {
		return nil, err
	}
	if s.netlink, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE); err != nil {
		return nil, os.NewSyscallError("netlink socket", err)
	}
	wait := unix.NsecToTimeval(int64(netlinkWait))
	if err = unix.SetsockoptTimeval(s.netlink, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return nil, os.NewSyscallError("timeout of netlink", err)
	}
	if err = unix.Bind(s.netlink, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("bind netlink", err)
	}
	// Of protocol 0: it hears nothing.
	if s.frames, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, os.NewSyscallError("packet socket", err)
	}
	return s, nil
}

func (s *linux) Close() (err error) {
	for _, fd := range [...]*int{&s.netlink, &s.frames} {
		if *fd >= 0 {
			err = errors.Join(err, os.NewSyscallError("close", unix.Close(*fd)))
			*fd = -1
		}
	}
	return err
}

// tellNeighbours sends one frame. An interface without an address of Ethernet has no neighbours
// that would have to know.
func (s *linux) tellNeighbours() error {
	device := s.device
	if now, err := net.InterfaceByIndex(device.Index); err == nil && now.Name == device.Name {
		device = now // its address changes where several interfaces are bonded
	}
	if len(device.HardwareAddr) != 6 || device.Flags&net.FlagLoopback != 0 {
		return nil
	}
	t := newTelling(s.prefix.Addr(), device.HardwareAddr)
	protocol := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, t.protocol)) // in the order of the network
	to := &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: s.device.Index, Halen: uint8(len(t.to))}
	copy(to.Addr[:], t.to)
	return os.NewSyscallError("send frame", unix.Sendto(s.frames, t.packet, unix.MSG_DONTWAIT, to))
}

func (s *linux) findAddress() (all []presence, err error) {
	m := s.newRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
	err = s.exchangeMessages(m, func(m syscall.NetlinkMessage) {
		if ip, p, ok := parsePresence(m); ok && ip == s.prefix.Addr() {
			all = append(all, p)
		}
	})
	return all, err
}

// setAddress sets the address without a preference, so that the node itself does not use it.
func (s *linux) setAddress(lifetime time.Duration, isNew bool) error {
	flags := unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	if isNew {
		flags = unix.NLM_F_CREATE | unix.NLM_F_EXCL
	}
	m := s.newRequest(unix.RTM_NEWADDR, unix.NLM_F_ACK|flags)
	var info [16]byte // preferred, valid, and when it was made and changed
	binary.NativeEndian.PutUint32(info[4:], uint32(lifetime/time.Second))
	m = appendAttribute(m, unix.IFA_CACHEINFO, info[:])
	err := s.exchangeMessages(m, nil)
	if isNew && errors.Is(err, unix.EEXIST) {
		return errLeftover
	}
	return err
}

func (s *linux) removeAddress() error {
	err := s.exchangeMessages(s.newRequest(unix.RTM_DELADDR, unix.NLM_F_ACK), nil)
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) {
		return nil // the system has removed it, or the whole interface
	}
	return err
}

// newRequest returns a request about the address, to which attributes may be added.
func (s *linux) newRequest(kind uint16, flags int) []byte {
	s.seq++
	ip := s.prefix.Addr()
	family := byte(unix.AF_INET)
	if ip.Is6() {
		family = unix.AF_INET6
	}
	m := binary.NativeEndian.AppendUint32(nil, 0) // the length, which exchangeMessages sets
	m = binary.NativeEndian.AppendUint16(m, kind)
	m = binary.NativeEndian.AppendUint16(m, uint16(unix.NLM_F_REQUEST|flags))
	m = binary.NativeEndian.AppendUint32(m, s.seq)
	m = binary.NativeEndian.AppendUint32(m, 0)
	m = append(m, family, byte(s.prefix.Bits()), unix.IFA_F_NODAD, unix.RT_SCOPE_UNIVERSE)
	m = binary.NativeEndian.AppendUint32(m, uint32(s.device.Index))
	if kind == unix.RTM_GETADDR {
		return m
	}
	m = appendAttribute(m, unix.IFA_LOCAL, ip.AsSlice())
	return appendAttribute(m, unix.IFA_ADDRESS, ip.AsSlice())
}

// appendAttribute appends an attribute whose value is of 4, 16 or so bytes: it needs no padding.
func appendAttribute(m []byte, kind uint16, value []byte) []byte {
	m = binary.NativeEndian.AppendUint16(m, uint16(unix.SizeofRtAttr+len(value)))
	m = binary.NativeEndian.AppendUint16(m, kind)
	return append(m, value...)
}

// exchangeMessages sends a request and reads the answer to its end, which is an acknowledgement, or the
// end of a list. each gets what is in the list.
func (s *linux) exchangeMessages(m []byte, each func(syscall.NetlinkMessage)) error {
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	if err := unix.Sendto(s.netlink, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("send netlink", err)
	}
	for range maxParts {
		n, from, err := unix.Recvfrom(s.netlink, s.buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if sender, ok := from.(*unix.SockaddrNetlink); err == nil && (!ok || sender.Pid != 0) {
			continue // not the system
		}
		if err != nil {
			return os.NewSyscallError("receive netlink", err)
		}
		answers, err := syscall.ParseNetlinkMessage(s.buf[:n])
		if err != nil {
			return fmt.Errorf("read netlink: %w", err)
		}
		for _, a := range answers {
			if a.Header.Seq != s.seq {
				continue // to a request before this one, which had been given up
			}
			if ended, err := readEnd(a); ended {
				return err
			}
			if each != nil {
				each(a)
			}
		}
	}
	return errors.New("read netlink: an answer without end")
}

// endOf tells whether a message ends an answer, and with which error.
func readEnd(m syscall.NetlinkMessage) (ended bool, err error) {
	if m.Header.Type == unix.NLMSG_DONE {
		return true, nil
	}
	if m.Header.Type != unix.NLMSG_ERROR {
		return false, nil
	}
	if len(m.Data) < 4 {
		return true, errors.New("read netlink: half an error")
	}
	if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
		return true, os.NewSyscallError("netlink", unix.Errno(-code))
	}
	return true, nil
}

// parsePresence reads an address of an interface.
func parsePresence(m syscall.NetlinkMessage) (ip netip.Addr, p presence, ok bool) {
	if m.Header.Type != unix.RTM_NEWADDR || len(m.Data) < unix.SizeofIfAddrmsg {
		return ip, p, false
	}
	p = presence{index: int(binary.NativeEndian.Uint32(m.Data[4:])), lifetime: -1}
	var local bool
	for rest := m.Data[unix.SizeofIfAddrmsg:]; len(rest) >= unix.SizeofRtAttr; {
		size := int(binary.NativeEndian.Uint16(rest))
		if size < unix.SizeofRtAttr || size > len(rest) {
			return netip.Addr{}, presence{}, false
		}
		value := rest[unix.SizeofRtAttr:size]
		switch binary.NativeEndian.Uint16(rest[2:]) {
		case unix.IFA_LOCAL:
			ip, ok = netip.AddrFromSlice(value)
			local = true
		case unix.IFA_ADDRESS: // of the other end, if there is a local one too
			if !local {
				ip, ok = netip.AddrFromSlice(value)
			}
		case unix.IFA_CACHEINFO:
			if len(value) < 8 {
				return netip.Addr{}, presence{}, false
			}
			if valid := binary.NativeEndian.Uint32(value[4:]); valid != math.MaxUint32 {
				p.lifetime = time.Duration(valid) * time.Second
			}
		}
		const align = unix.RTA_ALIGNTO - 1
		rest = rest[min((size+align)&^align, len(rest)):]
	}
	return ip, p, ok
}
