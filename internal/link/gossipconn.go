package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/skeinmesh/skein/mesh/view"
)

const (
	gossipFrameVersion = 1
	gossipFrameHeader  = 1 + 4 // version, length
)

var (
	errGossipFrame = errors.New("link: bad gossip frame")
	errGossipFull  = errors.New("link: too much gossip at once")
)

// gossipConn is a stream for memberlist, which says all it has to say with
// one Write each way. That becomes one frame, which the other end reads whole
// and screens before memberlist sees a byte of it:
//
//	version=1   1 byte
//	length      4 bytes, big endian
//	message
type gossipConn struct {
	net.Conn
	raw      net.Conn
	gossip   *gossip
	peer     view.NodeID
	accepted bool
	closed   sync.Once

	// One reader and one writer at a time use the rest, as memberlist does.
	started  bool
	message  []byte   // what is left to read
	incoming progress // of the frame
	mu       sync.Mutex
	held     int // bytes taken from the budget
	gone     bool
}

// Write sends b as one frame.
func (c *gossipConn) Write(b []byte) (int, error) {
	if len(b) > maxGossipFrame {
		return 0, fmt.Errorf("%w: gossip of %d bytes, limit %d", ErrTooLarge, len(b), maxGossipFrame)
	}
	frame := make([]byte, gossipFrameHeader, gossipFrameHeader+len(b))
	frame[0] = gossipFrameVersion
	binary.BigEndian.PutUint32(frame[1:], uint32(len(b)))
	frame = append(frame, b...)
	if _, err := c.Conn.Write(frame); err != nil {
		return 0, err
	}
	c.gossip.link.stats.gossipOut.Add(uint64(len(frame)))
	return len(b), nil
}

// Read returns bytes of the one frame that the peer may send.
func (c *gossipConn) Read(b []byte) (int, error) {
	if !c.started {
		c.started = true
		message, err := c.readFrame()
		if err != nil {
			c.Close()
			return 0, err
		}
		c.message = message
	}
	if len(c.message) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.message)
	c.message = c.message[n:]
	return n, nil
}

func (c *gossipConn) readFrame() ([]byte, error) {
	var header [gossipFrameHeader]byte
	if _, err := io.ReadFull(c.Conn, header[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(header[1:])
	if header[0] != gossipFrameVersion || size == 0 || size > maxGossipFrame {
		return nil, fmt.Errorf("%w: version %d, %d bytes", errGossipFrame, header[0], size)
	}
	others := c.gossip.heldBy(c.peer)
	c.incoming.beginPayload(int(size))
	defer c.incoming.endPayload()
	message, _, err := receivePayload(c.Conn, int(size), &c.incoming, func(n int) bool { return c.takeBudget(n, int(size), others) })
	if message == nil && err == nil {
		err = errGossipFull
	}
	if err != nil {
		return nil, err
	}
	c.gossip.link.stats.gossipIn.Add(uint64(len(message) + gossipFrameHeader))
	kept, strange, err := c.gossip.sift.siftStream(c.peer, message)
	if err != nil {
		c.gossip.link.stats.gossipRefused.Add(1)
		c.gossip.link.log.Debug("gossip stream turned away", "peer", c.peer, "error", err)
		return nil, err
	}
	if strange {
		c.gossip.link.stats.gossipStrange.Add(1)
		c.gossip.link.cfg.OnStrange(c.peer)
	}
	return kept, nil
}

// takeBudget takes n bytes of a frame from the budget until Close.
func (c *gossipConn) takeBudget(n, size, others int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone || !c.gossip.bytes.takeForPayload(n, size, others) {
		return false
	}
	c.held += n
	return true
}

// Close ends the stream. What was written has left before.
func (c *gossipConn) Close() error {
	c.closed.Do(func() {
		c.mu.Lock()
		c.gone = true
		c.gossip.bytes.giveBack(c.held)
		c.held = 0
		c.mu.Unlock()
		c.raw.Close()
		c.gossip.untrackConn(c)
	})
	return nil
}
