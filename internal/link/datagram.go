package link

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	firstWait      = 16               // for an answer by packet: this part of all the time there is
	longestWait    = time.Second      // for the first answer, all the same
	datagramsEach  = 64               // requests by packet of one peer being handled at once
	datagramsTotal = 512              // of all peers
	longestRequest = 10 * time.Minute // by packet
	datagramRoom   = pairRoom - wire.MaxFrameHeader

	codeByStream = "by-stream" // the answer does not come by packet
)

var errByStream = errors.New("link: the peer answers over the connection only")

// datagrams are requests that go by packet, beside a data connection: on it both
// ends have greeted each other, and it carries what packets do not.
type datagrams struct {
	served *keyLimiter[view.NodeID] // of others

	last    atomic.Uint64           // id of a request
	waiting pendingAnswers[outcome] // for answers to ours, by the id of the request
}

type outcome struct {
	reply []byte
	err   error
}

func newDatagrams() *datagrams {
	return &datagrams{served: newKeyLimiter[view.NodeID](datagramsTotal, datagramsEach)}
}

// CallIdempotent is Call for a small request that may be handled more than once,
// at any time until ctx ends: the peer's Config.Idempotent must say so of its
// method. It goes by packet, so that nothing that was lost before holds it up as
// on a stream: again after a sixteenth of the time that ctx allows, a second at
// most, then after twice that and so on, and over the data connection too from the
// second time on, or as soon as the peer says so. The first answer counts. Without
// a deadline or a data connection, and when it does not fit into a packet, it is
// Call.
func (l *Link) CallIdempotent(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error) {
	deadline, bounded := ctx.Deadline()
	if !bounded || l.peers.connInUse(to) == nil || len(req) > datagramRoom || len(method) > wire.MaxFrameText {
		return l.Call(ctx, to, method, req)
	}
	ctx, cancel := context.WithCancel(ctx) // ends what goes over the connection
	defer cancel()
	id := l.datagrams.last.Add(1)
	answer := l.datagrams.waiting.expectAnswer(to, id)
	defer l.datagrams.waiting.dropWaiter(id)
	r := &repeatedCall{link: l, to: to, method: method, req: req, id: id}
	return r.callUntilAnswered(ctx, answer, min(time.Until(deadline)/firstWait, longestWait))
}

// repeatedCall is a request that goes by packet and beside that over the connection.
type repeatedCall struct {
	link   *Link
	to     view.NodeID
	method string
	req    []byte
	id     uint64

	beside     chan outcome // over the connection, once it was made
	failed     error        // there
	streamOnly bool         // the peer does not answer by packet
}

func (r *repeatedCall) callUntilAnswered(ctx context.Context, answer <-chan outcome, first time.Duration) ([]byte, error) {
	wait := first
	again := time.NewTimer(wait)
	defer again.Stop()
	if !r.sendByPacket(ctx) {
		r.sendByStream(ctx)
	}
	for {
		select {
		case o := <-answer:
			if !errors.Is(o.err, errByStream) {
				return o.reply, o.err
			}
			if r.failed != nil {
				return nil, r.failed
			}
			r.streamOnly = true
			again.Stop()
			r.sendByStream(ctx)
		case o := <-r.beside:
			passing := errors.Is(o.err, ErrUnreachable) || errors.Is(o.err, ErrOverloaded)
			if !passing || r.streamOnly || !r.sendByPacket(ctx) {
				return o.reply, o.err
			}
			r.failed = o.err // but one more packet may be answered
			again.Reset(first)
		case <-again.C:
			if r.failed != nil {
				return nil, r.failed
			}
			wait *= 2
			again.Reset(wait)
			r.sendByStream(ctx)
			r.sendByPacket(ctx)
		case <-ctx.Done():
			if r.failed != nil {
				return nil, r.failed
			}
			return nil, ctx.Err()
		case <-r.link.group.Context().Done():
			return nil, ErrClosed
		}
	}
}

// sendByPacket tells whether a packet could be sent.
func (r *repeatedCall) sendByPacket(ctx context.Context) bool {
	left, err := timeLeft(ctx)
	c := r.link.peers.connInUse(r.to)
	return err == nil && c != nil && r.link.sendFrame(c, wire.FrameRequest, r.id, left, r.method, r.req) == nil
}

// sendByStream makes the request over the connection, once.
func (r *repeatedCall) sendByStream(ctx context.Context) {
	if r.beside != nil {
		return
	}
	done := make(chan outcome, 1)
	r.beside = done
	req := slices.Clone(r.req) // it may be read after ask has returned
	if !r.link.group.Go(func(context.Context) {
		reply, err := r.link.Call(ctx, r.to, r.method, req)
		done <- outcome{reply, err}
	}) {
		done <- outcome{nil, ErrClosed}
	}
}

// sendFrame sends a frame to the other end of a connection by packet.
func (l *Link) sendFrame(c *conn, kind wire.FrameKind, id, aux uint64, text string, payload []byte) error {
	addr, ok := l.cfg.Resolve(c.peer.ID)
	if !ok {
		return ErrUnknownPeer
	}
	frame := wire.AppendFrame(make([]byte, 0, wire.MaxPacket), kind, id, aux, text, payload)
	return l.writePacket(c.pair.sealFrame(l.cfg.Self, frame[wire.FramePrefix:]), l.peers.packetAddr(c.peer.ID, addr))
}

// receiveFrame takes in a frame that came by packet.
func (l *Link) receiveFrame(packet []byte) {
	c, frame, err := l.peers.openPacket(packet)
	var h wire.FrameHeader
	var n int
	if err == nil {
		h, n, err = wire.DecodeFrameHeader(frame)
	}
	if err != nil || !l.cfg.Admit(c.peer.ID) || c.peer.Boot < l.cfg.Floor(c.peer.ID) {
		l.stats.packetsRefused.Add(1)
		return
	}
	from := c.peer.ID
	switch text, payload := string(h.Text), frame[n:]; {
	case h.Kind == wire.FrameRequest && h.Aux > 0:
		l.serveDatagram(c, h, payload)
	case h.Kind == wire.FrameReply:
		l.datagrams.waiting.deliverAnswer(from, h.ID, outcome{payload, nil})
	case h.Kind == wire.FrameFailure && text == codeByStream:
		l.datagrams.waiting.deliverAnswer(from, h.ID, outcome{nil, errByStream})
	case h.Kind == wire.FrameFailure:
		l.datagrams.waiting.deliverAnswer(from, h.ID, outcome{nil, errorOf(text, string(payload))})
	case h.Kind == wire.FrameDrain:
		l.peers.renewConn(from)
	default:
		l.stats.packetsRefused.Add(1)
	}
}

// serveDatagram has a request that came by packet handled. What cannot be, or be
// answered by packet, is to come over the connection.
func (l *Link) serveDatagram(c *conn, h wire.FrameHeader, req []byte) {
	from, method := c.peer.ID, string(h.Text)
	byStream := func() { _ = l.sendFrame(c, wire.FrameFailure, h.ID, 0, codeByStream, nil) }
	if !l.cfg.Idempotent(method) {
		byStream()
		return
	}
	if !l.datagrams.served.acquireSlot(from) {
		l.stats.overloaded.Add(1)
		return
	}
	ttl := min(h.Aux, uint64(longestRequest/time.Millisecond))
	if !l.group.Go(func(ctx context.Context) {
		defer l.datagrams.served.releaseSlot(from)
		ctx, cancel := context.WithTimeout(ctx, time.Duration(ttl)*time.Millisecond)
		defer cancel()
		reply, err := l.cfg.Handle(ctx, from, method, req)
		switch {
		case l.group.Context().Err() != nil: // the error says nothing of the request
		case err != nil:
			code, words := failureOf(ctx, l.cfg.Fault(err))
			_ = l.sendFrame(c, wire.FrameFailure, h.ID, 0, code, []byte(words[:min(len(words), datagramRoom)]))
		case len(reply) > datagramRoom:
			byStream()
		default:
			_ = l.sendFrame(c, wire.FrameReply, h.ID, 0, "", reply)
		}
	}) {
		l.datagrams.served.releaseSlot(from)
	}
}
