package link

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/mesh/view"
)

// acceptConns takes connections until the listener is closed.
func (l *Link) acceptConns(ctx context.Context) {
	again := clock.Backoff{First: 5 * time.Millisecond, Last: time.Second}
	for {
		raw, err := l.listener.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of file descriptors, mostly: it passes.
			pause := again.Next()
			l.log.Warn("accept", "error", err, "pause", pause.String())
			if !clock.Sleep(ctx, pause) {
				return
			}
			continue
		}
		again.Reset()
		out, ok := l.strangers.admitConn(raw)
		if out != nil {
			out.Close()
		}
		if !ok {
			l.stats.connsRefused.Add(1)
			raw.Close()
			continue
		}
		if !l.group.Go(func(ctx context.Context) { l.admitConn(ctx, raw) }) {
			raw.Close()
			l.strangers.removeConn(raw)
		}
	}
}

// admitConn authenticates a new connection and hands it to whom it is for. Until
// then it counts among the strangers.
func (l *Link) admitConn(ctx context.Context, raw net.Conn) {
	hctx, cancel := context.WithTimeout(ctx, l.cfg.Limits.HandshakeTimeout)
	tc, purpose, id, err := l.secureConn(hctx, raw, false, "", 0)
	cancel()
	l.strangers.removeConn(raw)
	if err != nil {
		l.stats.connsRefused.Add(1)
		l.log.Debug("stranger turned away", "remote", raw.RemoteAddr(), "error", err)
		return
	}
	if purpose == forGossip {
		clearDeadline(raw)
		l.gossip.acceptStream(ctx, tc, raw, id)
		return
	}
	l.welcomePeer(ctx, tc, raw, id)
}

// welcomePeer exchanges hellos with a peer that dialled us.
func (l *Link) welcomePeer(ctx context.Context, tc net.Conn, raw net.Conn, id view.NodeID) {
	_ = raw.SetDeadline(time.Now().Add(l.cfg.Limits.DialTimeout))
	if !l.greeters.acquireSlot(id) {
		l.stats.connsRefused.Add(1)
		raw.Close()
		return
	}
	stop := cutWhen(ctx, raw)
	c, err := l.exchangeHellos(tc, raw, Peer{ID: id, Remote: addrPort(raw.RemoteAddr())})
	l.greeters.releaseSlot(id)
	if !stop() && err == nil {
		err = ErrClosed
	}
	if err == nil {
		err = l.adoptConn(c)
	}
	if err != nil {
		raw.Close()
		l.log.Debug("hello failed", "peer", id, "remote", raw.RemoteAddr(), "error", err)
	}
}
