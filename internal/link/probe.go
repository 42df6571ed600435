package link

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	probeNonce   = 8
	probeDefault = 3 * time.Second
)

// ProbeResult is a sign of life that the peer itself gave.
type ProbeResult struct {
	Boot, Instance uint64
	RTT            time.Duration
	Stream         bool // UDP did not answer, the data connection did
}

// probeAck is an answer to a probe by packet, and when it came.
type probeAck struct {
	boot, instance uint64
	at             time.Time
}

// probe is one that waits for its answer.
type probe struct {
	sent time.Time
	acks <-chan probeAck
}

func (p probe) result(a probeAck) ProbeResult {
	return ProbeResult{Boot: a.boot, Instance: a.instance, RTT: a.at.Sub(p.sent)}
}

// takeProbeAck takes an answer in.
func (l *Link) takeProbeAck(h wire.PacketHeader, nonce []byte) {
	if len(nonce) == probeNonce {
		l.probes.deliverAnswer(h.From, binary.BigEndian.Uint64(nonce), probeAck{h.Boot, h.Instance, time.Now()})
	}
}

// answerProbe sends a nonce back to where it came from: the sender itself
// showed that address, and what goes there is no larger than what came.
func (l *Link) answerProbe(from view.NodeID, remote netip.AddrPort, nonce []byte) {
	if len(nonce) == probeNonce {
		_ = l.sendPacket(wire.PacketProbeAck, from, remote, nonce)
	}
}

// Probe asks a peer for a sign of life, by packet and, when a third of the
// time that ctx allows has passed without an answer, by data connection.
// Without a deadline it takes at most 3 s. It fails early when the data
// connection is refused.
func (l *Link) Probe(ctx context.Context, to view.NodeID) (ProbeResult, error) {
	if to == l.cfg.Self {
		return ProbeResult{}, ErrSelf
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(probeDefault)
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	stop := context.AfterFunc(l.group.Context(), cancel)
	defer stop()

	addr, ok := l.cfg.Resolve(to)
	if !ok {
		return ProbeResult{}, fmt.Errorf("%w: %w: %v", ErrUnreachable, ErrUnknownPeer, to)
	}
	nonce := make([]byte, probeNonce)
	_, _ = rand.Read(nonce) // never fails
	number := binary.BigEndian.Uint64(nonce)
	p := probe{sent: time.Now(), acks: l.probes.expectAnswer(to, number)}
	defer l.probes.dropWaiter(number)
	sendErr := l.sendPacket(wire.PacketProbe, to, l.peers.packetAddr(to, addr), nonce)

	patience := time.Until(deadline) / 3
	if sendErr != nil {
		patience = 0
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case a := <-p.acks:
		return p.result(a), nil
	case <-timer.C:
	case <-ctx.Done():
		return ProbeResult{}, l.probeError(ctx, to, sendErr)
	}
	return l.probeStream(ctx, to, p)
}

// probeStream asks on the data connection, too; whichever answers first.
func (l *Link) probeStream(ctx context.Context, to view.NodeID, p probe) (ProbeResult, error) {
	type result struct {
		ProbeResult
		err error
	}
	answer := make(chan result, 1)
	if !l.group.Go(func(context.Context) {
		sent := time.Now()
		c, err := l.peers.getConn(ctx, to)
		if err == nil {
			err = c.pingPeer(ctx)
		}
		r := result{err: err}
		if err == nil {
			r.ProbeResult = ProbeResult{Boot: c.peer.Boot, Instance: c.peer.Instance, RTT: time.Since(sent), Stream: true}
		}
		answer <- r
	}) {
		return ProbeResult{}, ErrClosed
	}
	select {
	case a := <-p.acks:
		return p.result(a), nil
	case r := <-answer:
		if r.err != nil {
			return ProbeResult{}, l.probeError(ctx, to, r.err)
		}
		return r.ProbeResult, nil
	case <-ctx.Done():
		return ProbeResult{}, l.probeError(ctx, to, ctx.Err())
	}
}

func (l *Link) probeError(ctx context.Context, to view.NodeID, err error) error {
	if l.group.Context().Err() != nil {
		return ErrClosed
	}
	if err == nil {
		err = ctx.Err()
	}
	if errors.Is(err, ErrUnreachable) {
		return err
	}
	return fmt.Errorf("%w: %v gave no sign of life: %w", ErrUnreachable, to, err)
}
