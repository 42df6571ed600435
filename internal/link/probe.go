package link

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
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

// probes holds the probes by packet that wait for an answer.
type probes struct {
	mu      sync.Mutex
	waiting map[uint64]*probe // by nonce
}

type probe struct {
	to     view.NodeID
	sent   time.Time
	answer chan ProbeResult // capacity 1
}

func (ps *probes) start(to view.NodeID) (*probe, []byte) {
	nonce := make([]byte, probeNonce)
	_, _ = rand.Read(nonce) // never fails
	p := &probe{to: to, sent: time.Now(), answer: make(chan ProbeResult, 1)}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.waiting[binary.BigEndian.Uint64(nonce)] = p
	return p, nonce
}

func (ps *probes) end(nonce []byte) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(ps.waiting, binary.BigEndian.Uint64(nonce))
}

// heard takes an answer in.
func (ps *probes) heard(h wire.PacketHeader, nonce []byte) {
	if len(nonce) != probeNonce {
		return
	}
	key := binary.BigEndian.Uint64(nonce)
	ps.mu.Lock()
	p := ps.waiting[key]
	if p != nil && p.to == h.From {
		delete(ps.waiting, key)
	} else {
		p = nil
	}
	ps.mu.Unlock()
	if p != nil {
		p.answer <- ProbeResult{Boot: h.Boot, Instance: h.Instance, RTT: time.Since(p.sent)}
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
	p, nonce := l.probes.start(to)
	defer l.probes.end(nonce)
	sendErr := l.sendPacket(wire.PacketProbe, to, l.peers.packetAddr(to, addr), nonce)

	patience := time.Until(deadline) / 3
	if sendErr != nil {
		patience = 0
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r := <-p.answer:
		return r, nil
	case <-timer.C:
	case <-ctx.Done():
		return ProbeResult{}, l.probeFailed(ctx, to, sendErr)
	}
	return l.probeStream(ctx, to, p)
}

// probeStream asks on the data connection, too; whichever answers first.
func (l *Link) probeStream(ctx context.Context, to view.NodeID, p *probe) (ProbeResult, error) {
	type result struct {
		ProbeResult
		err error
	}
	answer := make(chan result, 1)
	if !l.group.Go(func(context.Context) {
		sent := time.Now()
		c, err := l.peers.get(ctx, to)
		if err == nil {
			err = c.ping(ctx)
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
	case r := <-p.answer:
		return r, nil
	case r := <-answer:
		if r.err != nil {
			return ProbeResult{}, l.probeFailed(ctx, to, r.err)
		}
		return r.ProbeResult, nil
	case <-ctx.Done():
		return ProbeResult{}, l.probeFailed(ctx, to, ctx.Err())
	}
}

func (l *Link) probeFailed(ctx context.Context, to view.NodeID, err error) error {
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
