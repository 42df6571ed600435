package partition

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// Elections that others ask for leave room for those that this node stands for, and
// it stands for no more than its notice holds.
func TestElectionsOfOthersLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeMesh(2)
		f.call = func(ctx context.Context, _ view.NodeID, _ string) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		p := f.open(t, func(*Config) {})
		defer p.Close()
		ask := func(i int) error {
			req := wire.AppendElectAsk(nil, wire.ElectAsk{Election: wire.Election{Name: fmt.Sprint("theirs ", i)}, Term: 1, Lease: time.Second})
			_, err := f.handlers[methodAsk](t.Context(), 2, req)
			return err
		}
		refused := 0
		for i := range 1000 {
			if ask(i) != nil {
				refused++
			}
		}
		if refused != 1000-maxAsked+1 {
			t.Errorf("%d of 1000 were refused", refused)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		for i := range maxStanding {
			go func() {
				ended <- p.Lead(ctx, Election{Name: fmt.Sprint("mine ", i)}, func(ctx context.Context, _ token.Token) { <-ctx.Done() })
			}()
		}
		time.Sleep(time.Minute)
		select {
		case err := <-ended:
			if !errors.Is(err, ErrElection) {
				t.Errorf("one more than the notice holds, with that of the mesh: %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("it stands for one more than its notice holds")
			cancel()
			<-ended
		}
		n := p.notices.ownNotice()
		if _, err := wire.DecodeNoticeSwap(wire.AppendNoticeSwap(nil, wire.NoticeSwap{Have: []wire.Notice{n.Notice}}), func(wire.NoticeSum) bool { return true }); err != nil || len(n.Standing) != maxStanding {
			t.Errorf("its notice of %d: %v", len(n.Standing), err)
		}
		cancel()
		for range maxStanding - 1 {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	})
}

// Whoever waits for work that was never taken on is let go: the node may be leaving.
func TestRefusedWorkIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeMesh(1)
		p := f.open(t, func(c *Config) { c.Observe = true })
		e := p.elections.findElection(p.leaderOf())
		_ = p.Close()
		w := &work{gone: make(chan struct{})}
		if err := e.beginStanding(t.Context(), w); !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
		select {
		case <-w.gone:
		default:
			t.Error("it is waited for")
		}
	})
}

// Of a message of notices no more is kept than the roster has members, or asked for, and
// no more than two are read at a time.
func TestNoticesTakeLittleRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeMesh(3)
		f.call = func(ctx context.Context, _ view.NodeID, _ string) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		p := f.open(t, func(*Config) {})
		defer p.Close()
		var bomb wire.NoticeSwap
		for i := range 9000 {
			bomb.Have = append(bomb.Have, wire.Notice{Node: view.NodeID(i%4 + 1), Boot: 1, Seq: uint64(i + 1)})
			bomb.Want = append(bomb.Want, 1)
		}
		req := wire.AppendNoticeSwap(nil, bomb)
		swap, err := wire.DecodeNoticeSwap(req, p.notices.Sieve())
		if err != nil || len(swap.Have) != 3 {
			t.Errorf("%d notices of 3 members, %v", len(swap.Have), err)
		}
		serve := func() ([]byte, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return f.handlers[methodSwap](ctx, 2, req)
		}
		answer, err := serve()
		if err != nil {
			t.Fatal(err)
		}
		all := func(wire.NoticeSum) bool { return true }
		if swap, err = wire.DecodeNoticeSwap(answer, all); err != nil || len(swap.Have) != 1 {
			t.Errorf("%d notices for one that was asked for often, %v", len(swap.Have), err)
		}
		for range maxSwaps {
			p.notices.exchange.Reads <- struct{}{}
		}
		if _, err := serve(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a third is read: %v", err)
		}
		<-p.notices.exchange.Reads
		if _, err := serve(); err != nil {
			t.Error(err)
		}
		<-p.notices.exchange.Reads
	})
}
