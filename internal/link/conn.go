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
	link       *Link
	peer       Peer
	seq        uint64 // among the connections that its dialler made
	since      time.Time
	rtt        time.Duration // of the hellos, what it took to judge ours included
	pair       *pairSealer   // for packets beside it; nil without TLS
	raw        net.Conn
	nc         net.Conn // TLS over raw
	br         *bufio.Reader
	peerWindow wire.Greeting // what the peer takes
	done       chan struct{} // closed when the connection has failed
	wake       notify.Bell   // there is something to write
	methods    map[string]string

	handlers sync.WaitGroup
	work     chan *request // to a goroutine that rests; nil ends it
	heard    *atomic.Bool  // bytes came since the last tick; frames may take long
	silent   atomic.Bool   // nothing was heard for as long as a sign of life is waited for
	flushes  atomic.Uint64 // odd while the writer is in a write
	incoming progress      // of the request that is being read

	mu           sync.Mutex
	err          error // why it failed
	out, spare   []byte
	heldBytes    int       // bytes of replies in out, see Link.outbound
	writingBytes int       // bytes of replies that are being written
	asking       waitQueue // requests of ours that wait for the peer's window or for out
	answering    waitQueue // replies of ours that wait for out
	nextID       uint64
	calls        map[uint64]*call // ours, waiting for the peer
	callBytes    int
	serving      map[uint64]*request // the peer's, being handled here
	serveBytes   int
	draining     bool // no further request of ours
	drainSent    bool
	drainGot     bool
	used         bool // a request went either way since the last tick

	// of the ticker only
	silentFor, stuckFor, idleFor, drainingFor time.Duration
	lastFlush                                 uint64
}

func newConn(l *Link, peer Peer, raw, nc net.Conn, br *bufio.Reader, window wire.Greeting) *conn {
	heard := new(atomic.Bool)
	if tc, ok := nc.(*tls.Conn); ok {
		if m, ok := tc.NetConn().(*meteredConn); ok {
			heard = &m.heard
		}
	}
	return &conn{
		heard: heard,
		link:  l, peer: peer, raw: raw, nc: nc, br: br, peerWindow: window, since: time.Now(),
		work: make(chan *request),
		done: make(chan struct{}), wake: notify.NewBell(),
		methods: map[string]string{}, calls: map[uint64]*call{}, serving: map[uint64]*request{},
	}
}

// runUntilFailed reads until the connection fails and returns when nothing of it is
// left.
func (c *conn) runUntilFailed(ctx context.Context) {
	writer := make(chan struct{})
	go func() {
		defer close(writer)
		c.writeQueued()
	}()
	c.failWith(c.readFrames(ctx))
	c.link.peers.removeConn(c)
	<-writer
	c.handlers.Wait()
	c.link.outbound.giveBack(c.heldBytes)
}

// writeQueued sends what has been queued, all of it at a time.
func (c *conn) writeQueued() {
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
			buf, held := c.takeQueued()
			if len(buf) == 0 {
				break
			}
			err := c.writeInPieces(buf)
			c.link.outbound.giveBack(held)
			if err != nil {
				c.failWith(err)
				return
			}
			c.link.stats.dataOut.Add(uint64(len(buf)))
			c.recycleBuffer(buf)
		}
		if c.isDrained() {
			c.failWith(errDrained)
			return
		}
	}
}

// writeInPieces writes in pieces, so that a slow link shows progress on a long batch.
func (c *conn) writeInPieces(buf []byte) error {
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

// takeQueued takes what waits for the writer, and how much of it counts as held,
// and lets others queue again.
func (c *conn) takeQueued() (buf []byte, held int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	buf, held = c.out, c.heldBytes
	if len(buf) > 0 {
		c.out, c.spare = c.spare, nil
		c.heldBytes, c.writingBytes = 0, held
		c.answering.wakeFront()
		c.asking.wakeFront()
	}
	return buf, held
}

// recycleBuffer notes that what was taken has been written.
func (c *conn) recycleBuffer(buf []byte) {
	c.mu.Lock()
	c.writingBytes = 0
	if cap(buf) <= keepBuffer {
		c.spare = buf[:0]
	}
	c.mu.Unlock()
}

func (c *conn) wakeWriter() {
	c.wake.Ring()
}

// queueControlFrame queues a small frame without regard to room.
func (c *conn) queueControlFrame(kind wire.FrameKind, id uint64) {
	c.mu.Lock()
	c.out = wire.AppendFrame(c.out, kind, id, 0, "", nil)
	c.mu.Unlock()
	c.wakeWriter()
}

// queueFull tells whether the writer has enough to do. It needs mu.
func (c *conn) queueFull() bool { return len(c.out) >= outFull }

// waitLocked stands in line until ok, which is called with mu held, returns
// true or the connection has failed. mu is released while it waits.
func (c *conn) waitLocked(ctx context.Context, in *waitQueue, ok func() bool) error {
	if c.err != nil || (in.isEmpty() && ok()) {
		return nil
	}
	turn := in.joinQueue()
	defer func() {
		in.leaveQueue(turn)
		in.wakeFront()
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

// failWith ends the connection once; the first error stays. All calls fail, all
// handlers' contexts end.
func (c *conn) failWith(err error) {
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
		cl.completeCall(nil, fmt.Errorf("%w: connection to %v broke: %w", ErrUnreachable, c.peer.ID, err))
	}
	for _, r := range serve {
		r.endContext(context.Canceled)
	}
}

// failure returns why the connection failed, nil while it has not.
func (c *conn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// startDraining lets the requests under way finish and then closes the connection,
// together with the other side.
func (c *conn) startDraining() {
	c.mu.Lock()
	c.draining = true
	c.queueDrainLocked()
	c.asking.wakeFront() // to look for another connection
	c.mu.Unlock()
	c.wakeWriter()
}

// queueDrainLocked says that we are done asking, when it is so.
func (c *conn) queueDrainLocked() {
	if c.draining && !c.drainSent && len(c.calls) == 0 {
		c.drainSent = true
		c.out = wire.AppendFrame(c.out, wire.FrameDrain, 0, 0, "", nil)
	}
}

// isDrained tells whether neither side has anything left to say.
func (c *conn) isDrained() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.drainSent && c.drainGot && len(c.serving) == 0 && len(c.out) == 0
}

// checkLiveness is called every step. It asks a silent peer for a sign of life, gives
// up on one that stays silent or takes nothing, and lets go of memory.
func (c *conn) checkLiveness(step time.Duration) {
	limits := &c.link.cfg.Limits
	if c.heard.Swap(false) {
		c.silentFor = 0
	} else {
		c.silentFor += step
	}
	c.silent.Store(c.silentFor >= limits.Keepalive)
	if f := c.flushes.Load(); f%2 == 1 && f == c.lastFlush {
		c.stuckFor += step
	} else {
		c.stuckFor, c.lastFlush = 0, f
	}
	switch {
	case c.silentFor >= limits.Silence:
		c.failWith(errSilent)
		return
	case c.stuckFor >= limits.Silence:
		c.failWith(errStuck)
		return
	case c.silentFor >= limits.Keepalive && c.stuckFor == 0:
		c.queueControlFrame(wire.FramePing, 0)
	}

	c.incoming.giveUpIfSlow(&c.link.inbound, step, func() { _ = c.raw.SetReadDeadline(time.Now()) })

	c.mu.Lock()
	busy := c.used || len(c.calls) > 0 || len(c.serving) > 0
	c.used = false
	if !busy && len(c.out) == 0 {
		c.out, c.spare = nil, nil
	}
	draining := c.draining
	c.mu.Unlock()
	if !busy {
		c.endRestingHandlers()
	}
	if c.idleFor += step; busy {
		c.idleFor = 0
	}
	switch {
	case draining:
		if c.drainingFor += step; c.drainingFor >= limits.Silence {
			c.failWith(errDrained) // the other side does not play along
		}
	case limits.Idle > 0 && c.idleFor >= limits.Idle:
		c.link.peers.retireConn(c) // or callers would spin on it
		c.startDraining()
	}
}

// endRestingHandlers ends the goroutines that rest, with their stacks.
func (c *conn) endRestingHandlers() {
	for {
		select {
		case c.work <- nil:
		default:
			return
		}
	}
}
