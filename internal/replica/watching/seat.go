package watching

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/watch"
	"github.com/skeinmesh/skein/internal/wire"
)

// mostSeats bounds the readers that have a seat at the feed of their node. Further ones poll
// it as they poll another node.
const mostSeats = 4096

// seat is where a reader follows the feed of its own node. What comes for it is noted there
// while it is not asking, too: it need not look through what comes for others, and its polls
// take no goroutine. It has plain changes told alone, which are in memory. Who finds something
// else asks the feed itself, which may have to read the disk:
//
//	the poll, or what has come for it     who answers
//	------------------------------------  ---------------------------------------------
//	is plain changes, or nothing in time  the seat
//	asks where the changes have come to,  the feed
//	or what is forgotten
//	is too much to be noted               the feed, until the reader has come nearer
//	has an item that must be read, or a   the feed
//	record that went without a delete
//	is of a shard that is refused         the feed
//	finds no room                         the feed
//
// It is one goroutine's. The mutex of the feed guards wait.
type seat struct {
	feed  *Feed
	bell  notify.Bell // the poll can be answered
	wait  waitingPoll
	taken bool   // it counts
	epoch uint64 // of the ring that wait is about
	at    uint64 // all that came for it behind this number is noted

	poll  watch.Poll // under way; ID 0: none
	q     *wire.WatchRequest
	sent  time.Duration
	until time.Duration // it is answered then with nothing
}

func newSeat(f *Feed, about subject) *seat {
	bell := notify.NewBell()
	return &seat{feed: f, bell: bell, wait: waitingPoll{about: about, stays: true, wake: bell}}
}

// beginPoll takes over a poll, in the place of one that may be under way. It returns false
// if the feed must be asked.
func (s *seat) beginPoll(p watch.Poll, q *wire.WatchRequest) bool {
	f, now := s.feed, s.feed.opts.Uptime()
	s.poll = watch.Poll{}
	f.mu.Lock()
	s.wait.waits = false
	known := f.ring != nil && q.Epoch == f.epoch && f.ring.Has(q.Seq) && (s.goOn(q) || s.sitDown(q))
	if known {
		f.asked = now
		s.wait.waits = !s.wait.hasCome()
	}
	waits := s.wait.waits
	f.mu.Unlock()
	if !known {
		return false
	}
	s.poll, s.q, s.sent, s.until = p, q, now, now+min(q.Wait, longestWait)
	if !waits {
		s.bell.Ring()
	}
	return true
}

// goOn has the seat note what comes behind a poll, if all of that has been noted.
func (s *seat) goOn(q *wire.WatchRequest) bool {
	w := &s.wait
	if !s.taken || w.missed || s.epoch != q.Epoch || q.Seq < s.at || !bytes.Equal(w.shards, q.Shards) {
		return false
	}
	n, _ := slices.BinarySearch(w.numbers, q.Seq+1)
	w.numbers = slices.Delete(w.numbers, 0, n)
	w.seen, s.at = max(w.seen, q.Seq), q.Seq
	return true
}

// sitDown looks through what has come behind a poll, if that is not too much, and has the
// seat note what comes from then on.
func (s *seat) sitDown(q *wire.WatchRequest) bool {
	f, w := s.feed, &s.wait
	if f.matched > q.Seq+lookAtOnce || !s.taken && f.waiting.seats >= mostSeats {
		return false
	}
	if s.taken {
		f.waiting.takeOut(w)
	} else {
		s.taken = true
		f.waiting.seats++
	}
	w.shards, w.seen, w.numbers, w.missed = q.Shards, max(q.Seq, f.matched), w.numbers[:0], false
	s.epoch, s.at = q.Epoch, q.Seq
	f.waiting.putIn(w)
	for number := q.Seq + 1; number <= f.matched; number++ {
		if e := f.ring.Entry(number); w.shards.Has(e.Shard) && w.about.matches(e) {
			f.waiting.noteNumber(w, number)
		}
	}
	return true
}

// isDue tells whether the poll under way is to be answered.
func (s *seat) isDue(now time.Duration) bool {
	if s.poll.ID == 0 {
		return false
	}
	if now >= s.until {
		return true
	}
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	return s.wait.hasCome()
}

// answerPoll answers the poll under way. It returns false if the feed must be asked.
func (s *seat) answerPoll(ctx context.Context) (wire.WatchReply, bool) {
	f := s.feed
	s.poll = watch.Poll{}
	if f.opts.Uptime() >= s.until {
		f.tellWaiting() // whoever does this is late
	}
	p := &poll{f: f, q: s.q, about: s.wait.about, shards: s.q.Shards}
	if !s.takeNumbers(p) || !f.tookInLately() {
		return wire.WatchReply{}, false
	}
	for i := range p.page.Found {
		if p.page.Found[i].Item == nil {
			return wire.WatchReply{}, false
		}
	}
	err := p.fillReply(ctx)
	return p.reply, err == nil && p.reply.Refused == nil
}

// takeNumbers collects what has come. It returns false if that is not known.
func (s *seat) takeNumbers(p *poll) bool {
	f, w := s.feed, &s.wait
	f.mu.Lock()
	defer f.mu.Unlock()
	w.waits = false
	if f.ring == nil || f.epoch != s.q.Epoch || !f.ring.Has(s.q.Seq) || w.missed {
		return false
	}
	p.reply = wire.WatchReply{Epoch: f.epoch, Seq: s.q.Seq, Pause: f.pauseBehind()}
	p.page.Found = make([]watch.Found, 0, min(uint64(len(w.numbers)), s.q.Records))
	for _, number := range w.numbers {
		if p.full {
			return true
		}
		p.reply.Seq = number
		p.addFound(f.ring.Entry(number))
	}
	if !p.full {
		p.reply.Seq = max(s.q.Seq, f.matched)
	}
	return true
}

// leaveFeed gives the seat up.
func (s *seat) leaveFeed() {
	s.poll = watch.Poll{}
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	if !s.taken {
		return
	}
	s.taken = false
	s.feed.waiting.seats--
	s.feed.waiting.takeOut(&s.wait)
}
