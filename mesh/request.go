package mesh

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// maxAtATime is how many nodes are asked at a time: each may need a connection of its own.
const maxAtATime = 64

// Answer is what one node said to a Request.
type Answer struct {
	From    view.NodeID
	Payload []byte // the caller's to keep
}

// Request calls a method, which nodes answer that have set a handler with Handle, on all
// nodes in contact, this one too, as the sequence is consumed, and returns their answers
// as they come. There is one pair for each node: Answer.From and either the payload or
// the error of Call to that node, which may be ErrNoHandler.
//
// Nodes are called directly, 64 at a time besides those that have been silent for some
// seconds. One that only others reach, by View.Member.Unreachable, is not called, and its
// error is ErrUnreachable. One that is silent, and was in contact a moment ago, holds up
// its own pair until ctx ends or it is found to be failed, so ctx should have a deadline.
// Members out of contact are not asked; View tells who they are. Leaving the loop ends
// the calls that are under way, which may have been carried out, or may yet be.
func (n *Node) Request(ctx context.Context, method string, req []byte) iter.Seq2[Answer, error] {
	return func(yield func(Answer, error) bool) {
		askAll(ctx, membersToAsk(n.View()), n.pace.dial, yield, func(ctx context.Context, m view.Member) ([]byte, error) {
			return n.callMember(ctx, m, method, req)
		})
	}
}

// askAll asks members in turn, so many at a time, and yields a pair for each. Who has not
// answered when patience is over makes place for another, and may answer yet. An answer
// that is not yielded yet keeps its place: who consumes slowly is not flooded.
func askAll(ctx context.Context, members []view.Member, patience time.Duration, yield func(Answer, error) bool, ask func(context.Context, view.Member) ([]byte, error)) {
	type pair struct {
		answer Answer
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	places, pairs, left := make(chan struct{}, maxAtATime), make(chan pair), make(chan struct{})
	var asking sync.WaitGroup
	defer func() { close(left); cancel(); asking.Wait() }()
	askOne := func(m view.Member) {
		late := time.AfterFunc(patience, func() { <-places })
		reply, err := ask(ctx, m)
		if late.Stop() {
			defer func() { <-places }()
		}
		select {
		case pairs <- pair{Answer{m.ID, reply}, err}:
		case <-left:
		}
	}
	asking.Go(func() {
		for _, m := range members {
			select {
			case places <- struct{}{}:
				asking.Go(func() { askOne(m) })
			case <-left:
				return
			}
		}
	})
	for range members {
		if p := <-pairs; !yield(p.answer, p.err) {
			return
		}
	}
}

// callMember calls a member unless calls are known to fail: who is silent would hold up the
// answer.
func (n *Node) callMember(ctx context.Context, m view.Member, method string, req []byte) ([]byte, error) {
	if m.Unreachable {
		return nil, fmt.Errorf("call %s on node %v: %w: only others reach it", method, m.ID, ErrUnreachable)
	}
	return n.Call(ctx, m.ID, method, req)
}

// membersToAsk returns who is in contact, those in doubt last.
func membersToAsk(v view.View) []view.Member {
	members := slices.DeleteFunc(slices.Clone(v.Members), func(m view.Member) bool {
		return m.ID != v.Self && m.State != view.Alive && m.State != view.Suspect
	})
	slices.SortStableFunc(members, func(a, b view.Member) int { return cmp.Compare(a.State, b.State) })
	return members
}
