package mesh

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// What a node keeps for programs that subscribe through it.
const (
	mostDeskSubscriptions = 32
	deskIdle              = 30 * time.Second // behind the last question
	deskAnswer            = 5 * time.Second  // a question waits so long for messages
)

// desk publishes and subscribes for programs that are no nodes.
type desk struct {
	*ground
	topics  *topics
	publish func(ctx context.Context, topic string, payload []byte) error
	next    func(ctx context.Context, s *subscription) (Message, error)

	mu  sync.Mutex
	all map[uint64]*deskSubscription // guarded by mu
}

// deskSubscription is the subscription of such a program.
type deskSubscription struct {
	id    uint64
	of    *subscription
	used  chan struct{} // capacity 1: there was a question
	ended chan struct{} // closed when it is not asked for any more
}

// answerPublish publishes for a program.
func (d *desk) answerPublish(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeAdminPublish(req)
	if err != nil {
		return nil, err
	}
	return nil, tellFault(d.publish(ctx, m.Topic, m.Payload))
}

// answerSubscribe answers a program that subscribes.
func (d *desk) answerSubscribe(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeAdminSubscribe(req)
	if err != nil {
		return nil, err
	}
	var reply wire.AdminMessages
	if m.Session == 0 {
		reply.Session, err = d.beginSubscription(m.Topic)
	} else {
		reply.Session = m.Session
		reply.Messages, err = d.takeMessages(ctx, m.Session, m.End)
	}
	if err != nil {
		return nil, tellFault(err)
	}
	return wire.AppendAdminMessages(nil, &reply), nil
}

// beginSubscription returns by which number it is asked for.
func (d *desk) beginSubscription(topic string) (uint64, error) {
	if err := checkTopic(topic); err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.all) >= mostDeskSubscriptions {
		return 0, fmt.Errorf("%w: %d programs have subscribed", ErrOverloaded, len(d.all))
	}
	s := &deskSubscription{
		id: rand.Uint64() | 1, of: d.topics.subscribe(d.work.Context(), topic),
		used: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	if !d.work.Go(func(ctx context.Context) { d.keepSubscription(ctx, s) }) {
		d.topics.unsubscribe(s.of)
		return 0, ErrClosed
	}
	d.all[s.id] = s
	return s.id, nil
}

// keepSubscription holds a subscription until it is ended or idle.
func (d *desk) keepSubscription(ctx context.Context, s *deskSubscription) {
	idle := time.NewTimer(deskIdle)
	defer idle.Stop()
	defer d.topics.unsubscribe(s.of)
	for {
		select {
		case <-s.used:
			idle.Reset(deskIdle)
			continue
		case <-idle.C:
		case <-s.ended:
		case <-ctx.Done():
		}
		d.removeSubscription(s.id)
		return
	}
}

func (s *deskSubscription) noteUse() {
	select {
	case s.used <- struct{}{}:
	default:
	}
}

// removeSubscription forgets a subscription, and returns it if nobody has done so before.
func (d *desk) removeSubscription(id uint64) *deskSubscription {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.all[id]
	delete(d.all, id)
	return s
}

// findSubscription returns nil if there is none of that number.
func (d *desk) findSubscription(id uint64) *deskSubscription {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all[id]
}

// takeMessages waits for messages and takes those that are there, or ends the subscription.
func (d *desk) takeMessages(ctx context.Context, id uint64, end bool) (out []wire.AdminMessage, err error) {
	if end {
		if s := d.removeSubscription(id); s != nil {
			close(s.ended)
		}
		return nil, nil
	}
	s := d.findSubscription(id)
	if s == nil {
		return nil, fmt.Errorf("%w: %x", ErrNoSubscription, id)
	}
	s.noteUse()
	defer s.noteUse()
	wait, cancel := context.WithTimeout(ctx, deskAnswer)
	defer cancel()
	m, err := d.next(wait, s.of)
	for ok := err == nil; ok; m, ok = d.topics.takeUnread(s.of) {
		out = append(out, wire.AdminMessage{From: m.From, Payload: m.Payload, Lost: uint64(m.Lost)})
		if len(out) == wire.MostAdminMessages {
			break
		}
	}
	if wait.Err() != nil && ctx.Err() == nil {
		err = nil // there is no message for now
	}
	return out, err
}

// Publish has the node publish a message, which is then From that node; see Node.Publish.
// The errors are those of Call besides. After one of these the message may have been
// published.
func (c *Client) Publish(ctx context.Context, topic string, payload []byte) error {
	if err := checkMessage(topic, payload); err != nil {
		return err
	}
	_, err := c.Call(ctx, wire.MethodAdminPublish, wire.AppendAdminPublish(nil, &wire.AdminPublish{Topic: topic, Payload: payload}))
	return hearFault(err)
}

// Subscribe returns the messages of a topic that reach the node from now on; see
// Node.Subscribe. The node keeps the subscription and is asked for its messages: Subscribe
// returns when it has begun there, or has failed, which the loop tells. What an answer holds
// that does not arrive is lost, and not counted.
//
// The last pair holds ErrNoSubscription when nothing was read for half a minute,
// ErrOverloaded when the node keeps 32 for programs already, else one of the errors of
// Node.Subscribe or Call. ctx must end, or the loop be left.
func (c *Client) Subscribe(ctx context.Context, topic string) iter.Seq2[Message, error] {
	err := checkTopic(topic)
	var m wire.AdminMessages
	if err == nil {
		m, err = c.askMessages(ctx, &wire.AdminSubscribe{Topic: topic})
	}
	session := m.Session
	if err == nil && session == 0 {
		err = fmt.Errorf("answer to %s: no subscription was begun: %w", wire.MethodAdminSubscribe, wire.ErrMalformed)
	}
	var read atomic.Bool
	return func(yield func(Message, error) bool) {
		if read.Swap(true) {
			return
		}
		defer func() { c.endSubscription(ctx, session) }()
		for err == nil {
			if m, err = c.askMessages(ctx, &wire.AdminSubscribe{Session: session}); err != nil {
				break
			}
			for _, e := range m.Messages {
				if !yield(Message{From: e.From, Topic: topic, Payload: e.Payload, Lost: int(min(e.Lost, 1<<31-1))}, nil) {
					return
				}
			}
		}
		yield(Message{}, fmt.Errorf("subscription of %.80q: %w", topic, err))
	}
}

func (c *Client) askMessages(ctx context.Context, m *wire.AdminSubscribe) (wire.AdminMessages, error) {
	reply, err := c.Call(ctx, wire.MethodAdminSubscribe, wire.AppendAdminSubscribe(nil, m))
	if err != nil {
		return wire.AdminMessages{}, hearFault(err)
	}
	return wire.DecodeAdminMessages(reply)
}

// endSubscription tells the node that a subscription is not read any more. It forgets it by
// itself, if not so soon.
func (c *Client) endSubscription(ctx context.Context, session uint64) {
	if session == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = c.askMessages(ctx, &wire.AdminSubscribe{Session: session, End: true})
}
