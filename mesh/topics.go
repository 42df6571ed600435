package mesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/epidemic"
	"github.com/skeinmesh/skein/internal/exchange"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Methods by which messages travel: see internal/exchange. Releases without topics do not
// know them.
const (
	methodMessageSums = "mesh/message-sums"
	methodMessages    = "mesh/messages"
)

const (
	messagePause    = 50 * time.Millisecond // messages wait so long for company
	maxMessageReads = 2                     // messages of the exchange that are read at a time
	maxUnread       = 256                   // messages that a subscription holds
	// maxUntold is how many messages of this node may wait to be handed on: few enough
	// that those of two rounds fit into what others hold of one node.
	maxUntold = epidemic.MessagesPerNode / 4
)

// Message is what a node has published.
type Message struct {
	From    view.NodeID
	Topic   string
	Payload []byte
	// Lost is how many messages of this subscription were dropped just before this one,
	// because they were not read in time.
	Lost int
}

// topics hands the messages of nodes to each other, and to who has subscribed here.
type topics struct {
	exchanger exchange.Exchanger[wire.MessageKey, struct{}, wire.Message]
	news      notify.Bell
	untold    chan struct{} // full when no more messages of this node may wait to be handed on
	now       func() time.Duration
	latest    func() *snapshot

	mu            sync.Mutex
	messages      *epidemic.Messages         // guarded by mu
	subscriptions map[*subscription]struct{} // guarded by mu
}

// subscription is what somebody has yet to read of a topic.
type subscription struct {
	ctx    context.Context
	topic  string
	since  time.Duration // what was published before is not for it
	ready  notify.Bell   // there may be something to read
	read   atomic.Bool   // a loop has begun
	unread []Message     // guarded by topics.mu; the oldest first
	lost   int           // guarded by topics.mu; before the first of unread
}

func newTopics(self view.NodeID, boot uint64, now func() time.Duration, latest func() *snapshot, call callPeer) *topics {
	t := &topics{
		news: notify.NewBell(), untold: make(chan struct{}, maxUntold), now: now, latest: latest,
		messages: epidemic.NewMessages(self, boot), subscriptions: map[*subscription]struct{}{},
	}
	t.exchanger = exchange.Exchanger[wire.MessageKey, struct{}, wire.Message]{
		Set: t,
		Words: exchange.Words[wire.MessageKey, struct{}, wire.Message]{
			AppendQuery: wire.AppendMessageSums, DecodeQuery: wire.DecodeMessageSums,
			AppendSums: wire.AppendMessageSums, DecodeSums: wire.DecodeMessageSums,
			AppendSwap: wire.AppendMessageSwap, DecodeSwap: wire.DecodeMessageSwap,
		},
		SumsMethod: methodMessageSums, SwapMethod: methodMessages, Call: call, Reads: make(chan struct{}, maxMessageReads),
	}
	return t
}

// believer returns which messages may be taken in: who may have said something of itself
// may have published.
func (t *topics) believer() func(wire.MessageKey) bool {
	r := t.latest()
	return func(k wire.MessageKey) bool { return r.MaySay(k.Node(), k.Version()) }
}

// Digest is part of exchange.Set, as are Sums, Missing, Sieve, Take and Answer.
func (t *topics) Digest() uint64 {
	return withMessages(t, func(m *epidemic.Messages, now time.Duration) uint64 { return m.Digest(now) })
}

func (t *topics) Sums() []wire.MessageSum {
	return withMessages(t, func(m *epidemic.Messages, now time.Duration) []wire.MessageSum { return m.Sums(now) })
}

func (t *topics) Missing(_ context.Context, _ view.NodeID, theirs []wire.MessageSum) (wire.MessageSwap, error) {
	return withMessages(t, func(m *epidemic.Messages, now time.Duration) wire.MessageSwap { return m.Missing(now, theirs) }), nil
}

func (t *topics) Sieve() func(wire.MessageSum) bool {
	believe := t.believer()
	keep := withMessages(t, func(m *epidemic.Messages, _ time.Duration) func(wire.MessageSum) bool { return m.Sieve(believe) })
	return func(s wire.MessageSum) bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		return keep(s)
	}
}

func (t *topics) Take(_ context.Context, _ view.NodeID, said []wire.Message) error {
	believe := t.believer()
	t.mu.Lock()
	now := t.now()
	fresh := t.messages.Hear(now, said, believe)
	heard := t.deliverFresh(now, fresh)
	t.mu.Unlock()
	ringAll(heard)
	if len(fresh) > 0 {
		t.news.Ring()
	}
	return nil
}

func (t *topics) Answer(ctx context.Context, peer view.NodeID, asked wire.MessageSwap) ([]wire.Message, error) {
	if err := t.Take(ctx, peer, asked.Have); err != nil {
		return nil, err
	}
	return withMessages(t, func(m *epidemic.Messages, now time.Duration) []wire.Message { return m.Some(now, asked.Want) }), nil
}

func withMessages[T any](t *topics, do func(m *epidemic.Messages, now time.Duration) T) T {
	t.mu.Lock()
	defer t.mu.Unlock()
	return do(t.messages, t.now())
}

// publishOwn takes in a message of this node itself.
func (t *topics) publishOwn(topic string, payload []byte) {
	t.mu.Lock()
	now := t.now()
	e := t.messages.Publish(now, topic, bytes.Clone(payload))
	heard := t.deliverFresh(now, []wire.Message{e})
	t.mu.Unlock()
	ringAll(heard)
	t.news.Ring()
}

// deliverFresh gives messages to the subscriptions that they are for, and returns those. The
// caller holds mu.
func (t *topics) deliverFresh(now time.Duration, fresh []wire.Message) (heard []*subscription) {
	for s := range t.subscriptions {
		if s.ctx.Err() != nil {
			delete(t.subscriptions, s)
			continue
		}
		had := len(s.unread) + s.lost
		for _, e := range fresh {
			if e.Topic == s.topic && now-e.Age >= s.since {
				s.addUnread(Message{From: e.Key.Node(), Topic: e.Topic, Payload: e.Payload})
			}
		}
		if len(s.unread)+s.lost > had {
			heard = append(heard, s)
		}
	}
	return heard
}

// addUnread adds a message. Where there are too many the oldest goes.
func (s *subscription) addUnread(m Message) {
	if len(s.unread) == maxUnread {
		s.unread = s.unread[1:]
		s.lost++
	}
	s.unread = append(s.unread, m)
}

func ringAll(heard []*subscription) {
	for _, s := range heard {
		s.ready.Ring()
	}
}

// takeUnread returns the oldest message that was not read yet.
func (t *topics) takeUnread(s *subscription) (m Message, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(s.unread) == 0 {
		return m, false
	}
	m, s.unread = s.unread[0], s.unread[1:]
	m.Payload = bytes.Clone(m.Payload) // others have it, too
	m.Lost, s.lost = s.lost, 0
	return m, true
}

func (t *topics) subscribe(ctx context.Context, topic string) *subscription {
	s := &subscription{ctx: ctx, topic: topic, ready: notify.NewBell()}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.since = t.now()
	t.subscriptions[s] = struct{}{}
	return s
}

func (t *topics) unsubscribe(s *subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.subscriptions, s)
	s.unread = nil
}

// takeNews returns what is to be handed on, once, and lets this node publish more.
func (t *topics) takeNews() []wire.Message {
	for range len(t.untold) {
		<-t.untold // nobody else receives
	}
	return withMessages(t, func(m *epidemic.Messages, now time.Duration) []wire.Message { return m.News(now) })
}

// compareWith makes what this node and peer hold equal. Who holds nothing leaves that to
// the other.
func (t *topics) compareWith(ctx context.Context, peer view.NodeID) error {
	if withMessages(t, func(m *epidemic.Messages, now time.Duration) bool { return m.Len(now) == 0 }) {
		return nil
	}
	if err := t.exchanger.With(ctx, peer); !errors.Is(callError(err), ErrNoHandler) {
		return err
	}
	return nil
}

// forgetGone drops the messages of those that are gone for good.
func (t *topics) forgetGone(r roster.Roster) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.messages.Forget(func(id view.NodeID) bool {
		e, ok := r.Get(id)
		return !ok || e.Status.Gone()
	})
}

func checkTopic(topic string) error {
	if topic == "" || !roster.IsPrintable(topic, wire.MaxTopic) {
		return fmt.Errorf("%w: %.80q", ErrTopic, topic)
	}
	return nil
}

func checkMessage(topic string, payload []byte) error {
	if err := checkTopic(topic); err != nil {
		return err
	}
	if len(payload) > wire.MaxPayload {
		return fmt.Errorf("%w: payload of %d bytes, at most %d are allowed", ErrTooLarge, len(payload), wire.MaxPayload)
	}
	return nil
}

// Publish tells all nodes in reach, this one too, a message of at most 1 KiB: their
// subscriptions of that topic, of 1 to 64 printable bytes. It arrives in fractions of a
// second, at each subscription once at most, and out of order maybe. Nobody acknowledges
// it, and nothing is kept on disk: who must not miss anything reads it from a store.
//
// Nodes hold a message for 30 seconds for those that miss it, as in a short cut, but of
// each node the last 64 only. Together they hold 2 048 of at most 1 MiB, and where there
// are more let go of those of the node that takes the most room. Publish waits, as long
// as ctx lets it, while 16 messages of this node wait to be handed on: that makes about
// 300 a second.
//
// The error is ErrTopic, ErrTooLarge, ErrClosed or that of ctx. Payload is not kept.
func (n *Node) Publish(ctx context.Context, topic string, payload []byte) error {
	if err := checkMessage(topic, payload); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("publish %q: %w", topic, err)
	}
	select {
	case <-n.done:
		return n.closedError()
	default:
	}
	select {
	case n.topics.untold <- struct{}{}:
	case <-n.done:
		return n.closedError()
	case <-ctx.Done():
		return fmt.Errorf("publish %q: %w", topic, ctx.Err())
	}
	n.topics.publishOwn(topic, payload)
	return nil
}

// Subscribe returns the messages of a topic that any node publishes from now on, as they
// arrive. What was published before is not among them, also where it arrives later, as
// far as the ages of messages tell, which leave out the time on the way.
//
// A subscription that is not read holds 256 messages. Then it loses the oldest, and the
// next Message says how many. It ends when the loop is left, when ctx ends, or when the
// node stops: ctx must end if there is no loop. A pair holds either a Message or an
// error, which is the last: ErrTopic, ErrClosed or that of ctx. The sequence is for one
// loop: another one gets nothing.
func (n *Node) Subscribe(ctx context.Context, topic string) iter.Seq2[Message, error] {
	if err := checkTopic(topic); err != nil {
		return func(yield func(Message, error) bool) { yield(Message{}, err) }
	}
	s := n.topics.subscribe(ctx, topic)
	return func(yield func(Message, error) bool) {
		if s.read.Swap(true) {
			return
		}
		defer n.topics.unsubscribe(s)
		for {
			m, err := n.nextMessage(ctx, s)
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// nextMessage waits for something to read.
func (n *Node) nextMessage(ctx context.Context, s *subscription) (Message, error) {
	for {
		switch {
		case ctx.Err() != nil:
			return Message{}, fmt.Errorf("subscription of %q: %w", s.topic, ctx.Err())
		case n.hasStopped():
			return Message{}, n.closedError()
		}
		if m, ok := n.topics.takeUnread(s); ok {
			return m, nil
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
		case <-n.done:
		}
	}
}
