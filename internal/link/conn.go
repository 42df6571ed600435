package link

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/wire"
)

const (
	readBuffer = 16 << 10  // one TLS record
	outFull    = 1 << 20   // bytes waiting for the writer above which requests and replies wait
	flushPiece = 64 << 10  // written at a time
	keepBuffer = 128 << 10 // larger buffers are not kept for the next batch
)

var (
	errSilent   = errors.New("link: peer is silent")
	errStuck    = errors.New("link: peer does not read")
	errReplaced = errors.New("link: another connection took its place")
	errDrained  = errors.New("link: drained")
	errDropped  = errors.New("link: dropped")
	errProtocol = errors.New("link: peer broke the protocol")

	// errMoved: this connection takes no further request, another may.
	errMoved = errors.New("link: connection takes no further request")
)

// conn is a data connection after the hellos. Its goroutines are the reader
// (run), which also runs prompt handlers, the writer, and one per other request
// being handled.
//
// Requests of both sides are bounded by the window that the other announced
// in its greeting: whoever asks waits for room, whoever serves breaks the
// connection of one who does not. The reader never waits for anything but
// bytes, so replies always get through.
type conn struct {
	link    *Link
	peer    Peer
	seq     uint64 // among the connections that its dialler made
	since   time.Time
	rtt     time.Duration // of the hellos, what it took to judge ours included
	pair    *pair         // for packets beside it; nil without TLS
	raw     net.Conn
	nc      net.Conn // TLS over raw
	br      *bufio.Reader
	window  wire.Greeting // what the peer takes
	done    chan struct{} // closed when the connection has failed
	wake    notify.Bell   // there is something to write
	methods map[string]string

	handlers sync.WaitGroup
	work     chan *request // to a goroutine that rests; nil ends it
	heard    *atomic.Bool  // bytes came since the last tick; frames may take long
	silent   atomic.Bool   // nothing was heard for as long as a sign of life is waited for
	flushes  atomic.Uint64 // odd while the writer is in a write
	coming   progress      // of the request that is being read

	mu         sync.Mutex
	err        error // why it failed
	out, spare []byte
	held       int  // bytes of replies in out, see Link.outbound
	writing    int  // bytes of replies that are being written
	asking     line // requests of ours that wait for the peer's window or for out
	answering  line // replies of ours that wait for out
	nextID     uint64
	calls      map[uint64]*call // ours, waiting for the peer
	callBytes  int
	serving    map[uint64]*request // the peer's, being handled here
	serveBytes int
	draining   bool // no further request of ours
	drainSent  bool
	drainGot   bool
	used       bool // a request went either way since the last tick

	// of the ticker only
	quiet, stuck, idle, draggedOn time.Duration
	lastFlush                     uint64
}

func newConn(l *Link, peer Peer, raw, nc net.Conn, br *bufio.Reader, window wire.Greeting) *conn {
	heard := new(atomic.Bool)
	if tc, ok := nc.(*tls.Conn); ok {
		if m, ok := tc.NetConn().(*meter); ok {
			heard = &m.heard
		}
	}
	return &conn{
		heard: heard,
		link:  l, peer: peer, raw: raw, nc: nc, br: br, window: window, since: time.Now(),
		work: make(chan *request),
		done: make(chan struct{}), wake: notify.NewBell(),
		methods: map[string]string{}, calls: map[uint64]*call{}, serving: map[uint64]*request{},
	}
}

// run reads until the connection fails and returns when nothing of it is
// left.
func (c *conn) run(ctx context.Context) {
	writer := make(chan struct{})
	go func() {
		defer close(writer)
		c.write()
	}()
	c.fail(c.read(ctx))
	c.link.peers.remove(c)
	<-writer
	c.handlers.Wait()
	c.link.outbound.give(c.held)
}

// write sends what has been queued, all of it at a time.
func (c *conn) write() {
	for {
		select {
		case <-c.wake:
		case <-c.done:
			return
		}
		// Let those who are ready to queue something do so: one write for many
		// frames is what makes this fast.
		runtime.Gosched()
		for {
			buf, held := c.take()
			if len(buf) == 0 {
				break
			}
			err := c.flush(buf)
			c.link.outbound.give(held)
			if err != nil {
				c.fail(err)
				return
			}
			c.link.stats.dataOut.Add(uint64(len(buf)))
			c.recycle(buf)
		}
		if c.drained() {
			c.fail(errDrained)
			return
		}
	}
}

// flush writes in pieces, so that a slow link shows progress on a long batch.
func (c *conn) flush(buf []byte) error {
	for len(buf) > 0 {
		n := min(len(buf), flushPiece)
		c.flushes.Add(1)
		_, err := c.nc.Write(buf[:n])
		c.flushes.Add(1)
		if err != nil {
			return err
		}
		buf = buf[n:]
	}
	return nil
}

// take takes what waits for the writer, and how much of it counts as held,
// and lets others queue again.
func (c *conn) take() (buf []byte, held int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	buf, held = c.out, c.held
	if len(buf) > 0 {
		c.out, c.spare = c.spare, nil
		c.held, c.writing = 0, held
		c.answering.wake()
		c.asking.wake()
	}
	return buf, held
}

// recycle notes that what was taken has been written.
func (c *conn) recycle(buf []byte) {
	c.mu.Lock()
	c.writing = 0
	if cap(buf) <= keepBuffer {
		c.spare = buf[:0]
	}
	c.mu.Unlock()
}

func (c *conn) wakeWriter() {
	c.wake.Ring()
}

// send queues a small frame without regard to room.
func (c *conn) send(kind wire.FrameKind, id uint64) {
	c.mu.Lock()
	c.out = wire.AppendFrame(c.out, kind, id, 0, "", nil)
	c.mu.Unlock()
	c.wakeWriter()
}

// queueFull tells whether the writer has enough to do. It needs mu.
func (c *conn) queueFull() bool { return len(c.out) >= outFull }

// waitLocked stands in line until ok, which is called with mu held, returns
// true or the connection has failed. mu is released while it waits.
func (c *conn) waitLocked(ctx context.Context, in *line, ok func() bool) error {
	if c.err != nil || (in.empty() && ok()) {
		return nil
	}
	turn := in.join()
	defer func() {
		in.leave(turn)
		in.wake()
	}()
	for {
		c.mu.Unlock()
		var err error
		select {
		case <-turn:
		case <-c.done:
		case <-ctx.Done():
			err = ctx.Err()
		}
		c.mu.Lock()
		if err != nil || c.err != nil || ok() {
			return err
		}
	}
}

// fail ends the connection once; the first error stays. All calls fail, all
// handlers' contexts end.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	calls, serving := c.calls, c.serving
	c.calls = map[uint64]*call{}
	serve := make([]*request, 0, len(serving))
	for _, r := range serving {
		serve = append(serve, r)
	}
	c.mu.Unlock()

	close(c.done)
	c.raw.Close()
	for _, cl := range calls {
		cl.finish(nil, fmt.Errorf("%w: connection to %v broke: %w", ErrUnreachable, c.peer.ID, err))
	}
	for _, r := range serve {
		r.end(context.Canceled)
	}
}

// failure returns why the connection failed, nil while it has not.
func (c *conn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// drain lets the requests under way finish and then closes the connection,
// together with the other side.
func (c *conn) drain() {
	c.mu.Lock()
	c.draining = true
	c.drainLocked()
	c.asking.wake() // to look for another connection
	c.mu.Unlock()
	c.wakeWriter()
}

// drainLocked says that we are done asking, when it is so.
func (c *conn) drainLocked() {
	if c.draining && !c.drainSent && len(c.calls) == 0 {
		c.drainSent = true
		c.out = wire.AppendFrame(c.out, wire.FrameDrain, 0, 0, "", nil)
	}
}

// drained tells whether neither side has anything left to say.
func (c *conn) drained() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.drainSent && c.drainGot && len(c.serving) == 0 && len(c.out) == 0
}

// tick is called every step. It asks a silent peer for a sign of life, gives
// up on one that stays silent or takes nothing, and lets go of memory.
func (c *conn) tick(step time.Duration) {
	limits := &c.link.cfg.Limits
	if c.heard.Swap(false) {
		c.quiet = 0
	} else {
		c.quiet += step
	}
	c.silent.Store(c.quiet >= limits.Keepalive)
	if f := c.flushes.Load(); f%2 == 1 && f == c.lastFlush {
		c.stuck += step
	} else {
		c.stuck, c.lastFlush = 0, f
	}
	switch {
	case c.quiet >= limits.Silence:
		c.fail(errSilent)
		return
	case c.stuck >= limits.Silence:
		c.fail(errStuck)
		return
	case c.quiet >= limits.Keepalive && c.stuck == 0:
		c.send(wire.FramePing, 0)
	}

	c.coming.tick(&c.link.inbound, step, func() { _ = c.raw.SetReadDeadline(time.Now()) })

	c.mu.Lock()
	busy := c.used || len(c.calls) > 0 || len(c.serving) > 0
	c.used = false
	if !busy && len(c.out) == 0 {
		c.out, c.spare = nil, nil
	}
	draining := c.draining
	c.mu.Unlock()
	if !busy {
		c.dismiss()
	}
	if c.idle += step; busy {
		c.idle = 0
	}
	switch {
	case draining:
		if c.draggedOn += step; c.draggedOn >= limits.Silence {
			c.fail(errDrained) // the other side does not play along
		}
	case limits.Idle > 0 && c.idle >= limits.Idle:
		c.link.peers.retire(c) // or callers would spin on it
		c.drain()
	}
}

// dismiss ends the goroutines that rest, with their stacks.
func (c *conn) dismiss() {
	for {
		select {
		case c.work <- nil:
		default:
			return
		}
	}
}
