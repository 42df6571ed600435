package mesh

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/epidemic"
	"github.com/skeinmesh/skein/internal/golden"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// ear reads a subscription until its context ends.
type ear struct {
	mu    sync.Mutex
	heard []Message
	err   error
	done  chan struct{}
}

// listen subscribes at once, and reads as messages come.
func listen(ctx context.Context, n *Node, topic string) *ear {
	e := &ear{done: make(chan struct{})}
	sub := n.Subscribe(ctx, topic)
	go func() {
		defer close(e.done)
		for m, err := range sub {
			e.mu.Lock()
			if err != nil {
				e.err = err
			} else {
				e.heard = append(e.heard, m)
			}
			e.mu.Unlock()
		}
	}()
	return e
}

// texts returns what was heard, as text.
func (e *ear) texts() (out []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range e.heard {
		out = append(out, string(m.Payload))
	}
	return out
}

func (t *topics) subscribers() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.subscriptions)
}

func mustPublish(t *testing.T, n *Node, topic, text string) {
	t.Helper()
	if err := n.Publish(t.Context(), topic, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestJSONOfMessages(t *testing.T) {
	golden.CheckJSON(t, "message", Message{From: 1<<63 + 1, Topic: "alarm", Payload: []byte("hot"), Lost: 2})
}

// Of fifty nodes all hear one message, once.
func TestFiftyNodesHearAMessageOnce(t *testing.T) {
	t.Parallel()
	bubble(t, 50, func(t *testing.T, w *world) {
		w.hasty = true
		w.form(30 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		var ears []*ear
		for _, n := range w.running() {
			ears = append(ears, listen(ctx, n, "alarm"))
		}
		time.Sleep(10 * time.Second)
		idle := w.sentBytes()
		time.Sleep(2 * time.Second)
		before := w.sentBytes()
		idle = before - idle
		mustPublish(t, w.boxes[17].node, "alarm", strings.Repeat("x", 1000))
		mustPublish(t, w.boxes[17].node, "other", "y")
		took := w.eventually(3*time.Second, "all hear it", func() bool {
			return !slices.ContainsFunc(ears, func(e *ear) bool { return len(e.texts()) == 0 })
		})
		t.Logf("all heard it within %v", took)
		time.Sleep(2*time.Second - took)
		t.Logf("%d bytes were sent in 2 s, %d before", w.sentBytes()-before, idle)
		time.Sleep(2 * time.Minute)
		for i, e := range ears {
			if got := e.texts(); len(got) != 1 || e.heard[0].From != w.boxes[17].node.ID() || e.heard[0].Topic != "alarm" {
				t.Errorf("node %d heard %d messages", i, len(got))
			}
		}
		for _, n := range w.running() {
			if held := n.topics.Sums(); len(held) != 0 {
				t.Errorf("after minutes %d messages are held", len(held))
			}
		}
		cancel()
		for _, e := range ears {
			if <-e.done; !errors.Is(e.err, context.Canceled) {
				t.Errorf("it ended with %v", e.err)
			}
		}
	})
}

func (w *world) sentBytes() uint64 {
	s := w.net.Stats()
	return s.PacketBytes + s.StreamBytes
}

// In a cut each side hears its own. One that has healed soon brings the rest, each message
// once; what was published before a subscription began is not for it.
func TestMessagesAcrossACut(t *testing.T) {
	bubble(t, 6, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		var sides [2][]netip.Addr
		var ears []*ear
		for i, b := range w.boxes {
			sides[i/3] = append(sides[i/3], b.addr)
			ears = append(ears, listen(t.Context(), b.node, "t"))
		}
		// count is how often a node has heard a message.
		count := func(i int, text string) (n int) {
			for _, got := range ears[i].texts() {
				if got == text {
					n++
				}
			}
			return n
		}
		w.net.Partition(sides[0], sides[1])
		mustPublish(t, w.boxes[0].node, "t", "left")
		mustPublish(t, w.boxes[5].node, "t", "right")
		// Who tries first those that cannot be reached is told by a comparison.
		w.eventually(epidemic.KeepMessages, "each side hears its own", func() bool {
			for i := range 3 {
				if count(i, "left") == 0 || count(3+i, "right") == 0 {
					return false
				}
			}
			return true
		})
		// From then on nobody tries to tell the other side what is published: when it has been
		// told on this one, a comparison alone brings it.
		w.eventually(epidemic.KeepMessages, "each side is by itself", func() bool {
			return !slices.ContainsFunc(w.running(), func(n *Node) bool { return n.View().Count(view.Alive) != 3 })
		})
		mustPublish(t, w.boxes[0].node, "t", "left, later")
		mustPublish(t, w.boxes[5].node, "t", "right, later")
		time.Sleep(time.Second)
		late := listen(t.Context(), w.boxes[1].node, "t")
		w.net.HealAll()
		w.eventually(epidemic.KeepMessages, "all hear both", func() bool {
			for i := range ears {
				if count(i, "left, later") == 0 || count(i, "right, later") == 0 {
					return false
				}
			}
			return true
		})
		time.Sleep(time.Minute)
		for i := range ears {
			for _, text := range ears[i].texts() {
				if n := count(i, text); n != 1 {
					t.Errorf("node %d heard %q %d times", i, text, n)
				}
			}
		}
		if got := late.texts(); slices.Contains(got, "left") || slices.Contains(got, "right") {
			t.Errorf("a newcomer heard %q", got)
		}
		w.net.Partition(sides[0], sides[1])
		mustPublish(t, w.boxes[0].node, "t", "long ago")
		time.Sleep(4 * epidemic.KeepMessages) // what is on the way has been given up, too
		w.net.HealAll()
		w.eventually(time.Minute, "whole again", w.whole)
		time.Sleep(time.Minute)
		if count(4, "long ago") != 0 || count(1, "long ago") != 1 {
			t.Errorf("after a long cut %q and %q", ears[4].texts(), ears[1].texts())
		}
	})
}

// A publisher that is killed and started again is heard at once, and what it said before
// is not heard twice; neither by itself nor by one that subscribed before.
func TestRestartedPublisher(t *testing.T) {
	bubble(t, 4, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		e := listen(t.Context(), w.boxes[2].node, "t")
		b := w.boxes[1]
		var want []string
		for life := range 4 {
			own := listen(t.Context(), b.node, "t")
			for i := range 3 {
				text := fmt.Sprint(life, ".", i)
				want = append(want, text)
				mustPublish(t, b.node, "t", text)
			}
			time.Sleep(2 * time.Second)
			if got := own.texts(); len(got) != 3 {
				t.Errorf("in life %d it heard of itself %q", life, got)
			}
			b.kill()
			b.start()
			w.eventually(10*time.Second, "whole again", w.whole)
		}
		time.Sleep(10 * time.Second)
		if got := e.texts(); !slices.Equal(got, want) {
			t.Errorf("heard %q", got)
		}
	})
}

// A member that floods with messages that it makes by hand loses its own: those of others
// come. One that publishes as fast as it may is held up.
func TestFloodOfMessages(t *testing.T) {
	bubble(t, 4, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		liar, victim := w.boxes[0].node, w.boxes[1].node
		quiet := listen(t.Context(), w.boxes[3].node, "quiet")
		for round := range 50 {
			var said []wire.Message
			for i := range 200 {
				key := wire.NewMessageKey(liar.ID(), wire.NoticeVersion{Boot: 1, Seq: uint64(1 + 200*round + i)})
				said = append(said, wire.Message{Key: key, Topic: "flood", Payload: make([]byte, wire.MaxPayload)})
			}
			if err := liar.topics.exchanger.Teller(said)(t.Context(), victim.ID()); err != nil {
				t.Fatal(err)
			}
			if round%10 == 0 {
				mustPublish(t, w.boxes[2].node, "quiet", fmt.Sprint(round))
			}
		}
		w.eventually(10*time.Second, "the others are heard", func() bool { return len(quiet.texts()) == 5 })
		if n := len(victim.topics.Sums()); n > epidemic.MessagesPerNode+5 {
			t.Errorf("%d messages are held", n)
		}

		e := listen(t.Context(), w.boxes[2].node, "fast")
		begin := time.Now()
		var sent []string
		for i := range 1000 {
			sent = append(sent, fmt.Sprint(i))
			mustPublish(t, victim, "fast", sent[i])
		}
		took := time.Since(begin)
		w.eventually(10*time.Second, "what is published as fast as may be comes", func() bool { return len(e.texts()) == len(sent) })
		t.Logf("1000 messages in %v", took)
		if took < time.Second {
			t.Errorf("they were published in %v", took)
		}
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		var err error
		for range 2*maxUntold + 1 { // those that wait may be handed on once in so short a time
			err = errors.Join(err, victim.Publish(short, "fast", nil))
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("more than may wait: %v", err)
		}
	})
}

// A subscriber that does not read loses the oldest, is told how many, and holds up nobody.
func TestSubscriberThatDoesNotRead(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		a, b := w.boxes[0].node, w.boxes[1].node
		other := listen(t.Context(), b, "t")
		sub, another := b.Subscribe(t.Context(), "t"), b.Subscribe(t.Context(), "t")
		for i := range uint64(maxUnread + 40) {
			if err := a.Publish(t.Context(), "t", binary.BigEndian.AppendUint64(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
		w.eventually(10*time.Second, "the other reads all", func() bool { return len(other.texts()) == maxUnread+40 })
		want := uint64(40)
		for m, err := range sub {
			if err != nil {
				t.Fatal(err)
			}
			got := binary.BigEndian.Uint64(m.Payload)
			if lost := m.Lost; got != want || (lost == 40) != (want == 40) || lost != 0 && want != 40 {
				t.Fatalf("message %d, and %d lost before it, where %d comes", got, m.Lost, want)
			}
			m.Payload[0]++ // it is the reader's own
			if want++; want == maxUnread+40 {
				break
			}
		}
		for m := range another {
			if got := binary.BigEndian.Uint64(m.Payload); got != 40 {
				t.Errorf("another subscription has %x", got)
			}
			break
		}
		if n := b.topics.subscribers(); n != 1 {
			t.Errorf("%d subscriptions, two of which were left", n)
		}
		for range sub {
			t.Fatal("a subscription that was left goes on")
		}
	})
}

func TestSubscriptionsEnd(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		n := w.boxes[0].start()
		for name, err := range map[string]error{
			"no topic":      n.Publish(t.Context(), "", nil),
			"a long topic":  n.Publish(t.Context(), strings.Repeat("t", 65), nil),
			"a broken one":  n.Publish(t.Context(), "a\nb", nil),
			"no topic here": firstError(n.Subscribe(t.Context(), "")),
		} {
			if !errors.Is(err, ErrTopic) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := n.Publish(t.Context(), "t", make([]byte, 1025)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("a large payload: %v", err)
		}
		ended, cancel := context.WithCancel(t.Context())
		_ = n.Subscribe(ended, "t") // nobody reads it
		cancel()
		if err := n.Publish(ended, "t", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
		if err := firstError(n.Subscribe(ended, "t")); !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
		open := listen(t.Context(), n, "t")
		mustPublish(t, n, "t", "one")
		synctest.Wait()
		if got := open.texts(); !slices.Equal(got, []string{"one"}) || n.topics.subscribers() != 1 {
			t.Errorf("heard %q, %d subscriptions", got, n.topics.subscribers())
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		if <-open.done; !errors.Is(open.err, ErrClosed) {
			t.Errorf("it ended with %v", open.err)
		}
		if err := n.Publish(t.Context(), "t", nil); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if err := firstError(n.Subscribe(t.Context(), "t")); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func firstError(sub func(func(Message, error) bool)) (err error) {
	for _, err = range sub {
		return err
	}
	return nil
}

// Messages come to a member that only others reach, and those of nobody are not taken.
func TestMessagesByAThird(t *testing.T) {
	bubble(t, 3, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		a, c := w.boxes[0], w.boxes[2]
		w.net.Cut(a.addr, c.addr)
		w.net.Cut(c.addr, a.addr)
		w.eventually(time.Minute, "one does not reach the other", func() bool {
			m, _ := a.node.View().Member(c.node.ID())
			return m.Unreachable
		})
		e := listen(t.Context(), c.node, "t")
		mustPublish(t, a.node, "t", "round about")
		w.eventually(2*time.Second, "it comes by the third", func() bool { return len(e.texts()) == 1 })
		strange := []wire.Message{
			{Key: wire.NewMessageKey(view.NodeID(4711), wire.NoticeVersion{Boot: 1, Seq: 1}), Topic: "t"},
			{Key: wire.NewMessageKey(a.node.ID(), wire.NoticeVersion{Boot: 9, Seq: 1}), Topic: "t"},
		}
		if err := w.boxes[1].node.topics.exchanger.Teller(strange)(t.Context(), c.node.ID()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if got := e.texts(); len(got) != 1 {
			t.Errorf("heard %q", got)
		}
	})
}
