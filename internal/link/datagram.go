package link

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	firstWait      = 16               // for an answer by packet: this part of all the time there is
	datagramsEach  = 64               // requests by packet of one peer being handled at once
	datagramsTotal = 512              // of all peers
	longestRequest = 10 * time.Minute // by packet
)

// datagrams are requests that go by packet, beside a data connection: on it both
// ends have greeted each other, and it carries what packets do not.
type datagrams struct {
	served *gate[view.NodeID] // of others

	mu      sync.Mutex
	waiting map[uint64]*datagram // ours, by the id of the request
}

// datagram is a request of ours that waits for its answer.
type datagram struct {
	to     view.NodeID
	answer chan outcome // capacity 1
}

type outcome struct {
	reply []byte
	err   error
}

func newDatagrams() *datagrams {
	return &datagrams{served: newGate[view.NodeID](datagramsTotal, datagramsEach), waiting: map[uint64]*datagram{}}
}

// begin makes a request known under an id that nobody can guess: an old packet
// that somebody sends again answers nothing.
func (ds *datagrams) begin(to view.NodeID) (uint64, *datagram) {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	id, d := binary.BigEndian.Uint64(b[:]), &datagram{to: to, answer: make(chan outcome, 1)}
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.waiting[id] = d
	return id, d
}

func (ds *datagrams) end(id uint64) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	delete(ds.waiting, id)
}

// answered hands an answer to whoever waits for it.
func (ds *datagrams) answered(from view.NodeID, id uint64, o outcome) {
	ds.mu.Lock()
	d := ds.waiting[id]
	if d != nil && d.to == from {
		delete(ds.waiting, id)
	} else {
		d = nil
	}
	ds.mu.Unlock()
	if d != nil {
		d.answer <- o
	}
}

// CallIdempotent is Call for a small request that may be handled more than once,
// at any time until ctx ends: the peer's Config.Idempotent must say so of its
// method. It goes by packet, so that nothing that was lost before holds it up as
// on a stream: again after a sixteenth of the time that ctx allows, then after an
// eighth and so on, and over the data connection too from the second time on.
// The first answer counts. Without a deadline or a data connection, and when it
// does not fit into a packet, it is Call.
func (l *Link) CallIdempotent(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error) {
	deadline, bounded := ctx.Deadline()
	addr, known := l.cfg.Resolve(to)
	if !bounded || !known || len(req) > packetRoom-wire.MaxFrameHeader || len(method) > wire.MaxFrameText || l.peers.use(to) == nil {
		return l.Call(ctx, to, method, req)
	}
	ctx, cancel := context.WithCancel(ctx) // ends what goes over the connection
	defer cancel()
	id, d := l.datagrams.begin(to)
	defer l.datagrams.end(id)
	l.stats.callsOut.Add(1)
	var beside chan outcome
	for wait := time.Until(deadline) / firstWait; ; wait *= 2 {
		left, err := timeLeft(ctx)
		if err != nil {
			return nil, err
		}
		_ = l.sendFrame(to, addr, wire.FrameRequest, id, left, method, req)
		select {
		case o := <-d.answer:
			return o.reply, o.err
		case o := <-beside:
			return o.reply, o.err
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-l.group.Context().Done():
			return nil, ErrClosed
		case <-time.After(wait):
		}
		if beside == nil {
			beside = l.callBeside(ctx, to, method, req)
		}
	}
}

// callBeside makes a request over the data connection.
func (l *Link) callBeside(ctx context.Context, to view.NodeID, method string, req []byte) chan outcome {
	done := make(chan outcome, 1)
	if !l.group.Go(func(context.Context) {
		reply, err := l.Call(ctx, to, method, req)
		done <- outcome{reply, err}
	}) {
		done <- outcome{nil, ErrClosed}
	}
	return done
}

// sendFrame sends a frame as a packet.
func (l *Link) sendFrame(to view.NodeID, addr netip.AddrPort, kind wire.FrameKind, id, aux uint64, text string, payload []byte) error {
	frame := wire.AppendFrame(make([]byte, 0, wire.MaxPacket), kind, id, aux, text, payload)
	return l.sendPacket(wire.PacketFrame, to, addr, frame[wire.FramePrefix:])
}

// receiveFrame takes in a frame that came by packet.
func (l *Link) receiveFrame(packet wire.PacketHeader, frame []byte) {
	h, n, err := wire.DecodeFrameHeader(frame)
	if err != nil {
		l.stats.packetsRefused.Add(1)
		return
	}
	switch text, payload := string(h.Text), frame[n:]; h.Kind {
	case wire.FrameRequest:
		l.serveDatagram(packet, h, payload)
	case wire.FrameReply:
		l.datagrams.answered(packet.From, h.ID, outcome{payload, nil})
	case wire.FrameFailure:
		l.datagrams.answered(packet.From, h.ID, outcome{nil, errorOf(text, string(payload))})
	default:
		l.stats.packetsRefused.Add(1)
	}
}

// serveDatagram has a request that came by packet handled, if the process that
// sent it has a data connection here. An answer that does not fit into a packet
// is not sent: the request comes over the connection, too.
func (l *Link) serveDatagram(packet wire.PacketHeader, h wire.FrameHeader, req []byte) {
	from, method := packet.From, string(h.Text)
	ttl := time.Duration(min(h.Aux, uint64(longestRequest/time.Millisecond))) * time.Millisecond
	c := l.peers.use(from)
	if c == nil || c.peer.Boot != packet.Boot || c.peer.Instance != packet.Instance || !l.cfg.Idempotent(method) {
		l.stats.packetsRefused.Add(1)
		return
	}
	if !l.datagrams.served.enter(from) {
		l.stats.overloaded.Add(1)
		return
	}
	l.stats.callsIn.Add(1)
	if !l.group.Go(func(ctx context.Context) {
		defer l.datagrams.served.leave(from)
		ctx, cancel := context.WithTimeout(ctx, ttl)
		defer cancel()
		kind, code := wire.FrameReply, ""
		reply, err := l.cfg.Handle(ctx, from, method, req)
		if err != nil {
			var words string
			code, words = failureOf(ctx, err)
			kind, reply = wire.FrameFailure, []byte(words)
		}
		if addr, ok := l.cfg.Resolve(from); ok && len(reply) <= packetRoom-wire.MaxFrameHeader {
			_ = l.sendFrame(from, addr, kind, h.ID, 0, code, reply)
		}
	}) {
		l.datagrams.served.leave(from)
	}
}
