package link

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// packetRoom is what one sealed packet can carry.
const packetRoom = wire.MaxPacket - wire.PacketHeaderSize - chacha20poly1305.Overhead

var (
	errReplayed  = errors.New("link: packet was seen before")
	errOldBoot   = errors.New("link: packet of an earlier boot of its sender than was admitted")
	errForged    = errors.New("link: packet is not sealed by its sender for this node")
	errInstances = errors.New("link: too many processes claim to be one node")
)

// senderKey derives the key of one process of one node. Instance is random
// per process, so that no nonce repeats under a key even when a disk, and
// Boot with it, was rolled back. ChaCha20-Poly1305, because small boxes have
// no AES instructions and both ends must agree.
func senderKey(packetKey [32]byte, from view.NodeID, boot, instance uint64) cipher.AEAD {
	info := make([]byte, 0, 64)
	info = append(info, "skein packet 1"...)
	info = binary.BigEndian.AppendUint64(info, uint64(from))
	info = binary.BigEndian.AppendUint64(info, boot)
	info = binary.BigEndian.AppendUint64(info, instance)
	key, err := hkdf.Key(sha256.New, packetKey[:], nil, string(info), chacha20poly1305.KeySize)
	if err != nil {
		panic(err) // only for keys longer than 255 hashes
	}
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		panic(err) // only for another key size
	}
	return aead
}

// sealScratch holds what a seal needs, off the stack because it passes
// through interfaces.
type sealScratch struct {
	packet [wire.MaxPacket]byte
	aad    [wire.PacketHeaderSize + 8]byte
	nonce  [chacha20poly1305.NonceSize]byte
}

var sealScratches = sync.Pool{New: func() any { return new(sealScratch) }}

func (s *sealScratch) bindReceiver(header []byte, to view.NodeID, counter uint64) {
	n := copy(s.aad[:], header)
	binary.BigEndian.PutUint64(s.aad[n:], uint64(to))
	binary.BigEndian.PutUint64(s.nonce[chacha20poly1305.NonceSize-8:], counter)
}

// sealer seals what this process sends.
type sealer struct {
	from           view.NodeID
	boot, instance uint64
	aead           cipher.AEAD
	counter        atomic.Uint64
}

func newSealer(cfg *Config) *sealer {
	return &sealer{
		from: cfg.Self, boot: cfg.Boot, instance: cfg.Instance,
		aead: senderKey(cfg.PacketKey, cfg.Self, cfg.Boot, cfg.Instance),
	}
}

// sealPacket writes a packet into s. The receiver is bound by the seal, so that
// nobody can pass a packet on to another node.
func (k *sealer) sealPacket(s *sealScratch, kind wire.PacketKind, to view.NodeID, payload []byte) ([]byte, error) {
	if len(payload) > packetRoom {
		return nil, fmt.Errorf("%w: %d bytes in a packet, %d fit", ErrTooLarge, len(payload), packetRoom)
	}
	counter := k.counter.Add(1)
	packet := wire.AppendPacketHeader(s.packet[:0], wire.PacketHeader{
		Kind: kind, From: k.from, Boot: k.boot, Instance: k.instance, Counter: counter,
	})
	s.bindReceiver(packet, to, counter)
	return k.aead.Seal(packet, s.nonce[:], payload, s.aad[:]), nil
}

const (
	maxSenders   = 16 << 10 // remembered; a forger without the key makes none
	maxInstances = 4        // of one node since its boot that was admitted: restarts, and copies of its disk
)

// opener opens what others sealed for this node. One goroutine uses it.
type opener struct {
	key   [32]byte
	self  view.NodeID
	known func(view.NodeID) bool // in the roster; others are forgotten first
	// floor is the Boot that was admitted. A later one that is seen in packets
	// alone must not shut out the node that runs: it may be a copy of its disk.
	floor   func(view.NodeID) uint64
	senders map[view.NodeID]*sender
	scratch sealScratch
}

// sender is what is remembered of a node that sealed at least one packet.
type sender struct {
	processes []*process
}

// process is one run of a node.
type process struct {
	boot, instance uint64
	aead           cipher.AEAD
	window         replayWindow
}

func newOpener(cfg *Config) *opener {
	return &opener{
		key: cfg.PacketKey, self: cfg.Self, floor: cfg.Floor, senders: map[view.NodeID]*sender{},
		known: func(id view.NodeID) bool { _, ok := cfg.Resolve(id); return ok },
	}
}

// openPacket returns header and content of a packet. Nothing is remembered of a
// packet that does not open.
func (o *opener) openPacket(packet []byte) (wire.PacketHeader, []byte, error) {
	h, err := wire.DecodePacketHeader(packet)
	if err != nil {
		return h, nil, err
	}
	floor := o.floor(h.From)
	if h.Boot < floor {
		return h, nil, errOldBoot
	}
	p, fresh := &process{boot: h.Boot, instance: h.Instance}, true
	if s := o.senders[h.From]; s != nil {
		if q := s.findProcess(h); q != nil {
			p, fresh = q, false
		} else if s.countSince(floor) >= maxInstances {
			return h, nil, errInstances
		}
	}
	if fresh {
		p.aead = senderKey(o.key, h.From, h.Boot, h.Instance)
	} else if p.window.hasSeen(h.Counter) {
		return h, nil, errReplayed
	}
	o.scratch.bindReceiver(packet[:wire.PacketHeaderSize], o.self, h.Counter)
	body := packet[wire.PacketHeaderSize:]
	plain, err := p.aead.Open(make([]byte, 0, len(body)), o.scratch.nonce[:], body, o.scratch.aad[:])
	if err != nil {
		return h, nil, errForged
	}
	if fresh {
		o.rememberProcess(h.From, p, floor)
	}
	p.window.markSeen(h.Counter)
	return h, plain, nil
}

// findProcess returns the process that sealed a packet, if it is remembered.
func (s *sender) findProcess(h wire.PacketHeader) *process {
	for _, p := range s.processes {
		if p.boot == h.Boot && p.instance == h.Instance {
			return p
		}
	}
	return nil
}

// countSince counts the processes of the boot given and of later ones.
func (s *sender) countSince(floor uint64) int {
	n := 0
	for _, p := range s.processes {
		if p.boot >= floor {
			n++
		}
	}
	return n
}

func (o *opener) rememberProcess(from view.NodeID, p *process, floor uint64) {
	s := o.senders[from]
	if s == nil {
		if len(o.senders) >= maxSenders {
			o.forgetSender()
		}
		s = &sender{}
		o.senders[from] = s
	}
	s.processes = append(slices.DeleteFunc(s.processes, func(q *process) bool { return q.boot < floor }), p)
}

// forgetSender makes room by dropping a sender, one that the roster does not know
// if it finds one soon.
func (o *opener) forgetSender() {
	tries := 0
	for id := range o.senders {
		if tries++; tries > 32 || !o.known(id) {
			delete(o.senders, id)
			return
		}
	}
}
