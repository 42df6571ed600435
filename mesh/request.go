package mesh

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"

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
// Nodes are called directly, 64 at a time. One that only others reach, by
// View.Member.Unreachable, is not called, and its error is ErrUnreachable. One that is silent, and was in contact a moment ago, holds
// up its pair until ctx ends or it is found to be failed, so ctx should have a deadline.
// Members out of contact are not asked; View tells who they are. Leaving the loop ends
// the calls that are under way, which may have been carried out, or may yet be.
func (n *Node) Request(ctx context.Context, method string, req []byte) iter.Seq2[Answer, error] {
	type pair struct {
		answer Answer
		err    error
	}
	return func(yield func(Answer, error) bool) {
		members := n.membersToAsk()
		next := make(chan view.Member, len(members))
		for _, m := range members {
			next <- m
		}
		close(next)
		ctx, cancel := context.WithCancel(ctx)
		pairs, left := make(chan pair), make(chan struct{})
		var asking sync.WaitGroup
		defer func() { close(left); cancel(); asking.Wait() }()
		for range min(len(members), maxAtATime) {
			asking.Go(func() {
				for m := range next {
					reply, err := n.callMember(ctx, m, method, req)
					select {
					case pairs <- pair{Answer{m.ID, reply}, err}:
					case <-left:
						return
					}
				}
			})
		}
		for range members {
			if p := <-pairs; !yield(p.answer, p.err) {
				return
			}
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
func (n *Node) membersToAsk() []view.Member {
	v := n.View()
	members := slices.DeleteFunc(slices.Clone(v.Members), func(m view.Member) bool {
		return m.ID != v.Self && m.State != view.Alive && m.State != view.Suspect
	})
	slices.SortStableFunc(members, func(a, b view.Member) int { return cmp.Compare(a.State, b.State) })
	return members
}
