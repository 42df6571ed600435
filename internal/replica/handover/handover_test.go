package handover

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

func idle() bool { return false }

// brought is what a peer was offered, key by key, call by call.
type brought struct {
	calls  [][]string
	refuse error
}

// newCarrier is one that sends to a peer, and has no records of its own.
func newCarrier(pace *Pace, b *brought) *Carrier {
	return New(Options{Self: 1, Pace: pace, Log: slog.New(slog.DiscardHandler), Offer: func(_ context.Context, _ view.NodeID, offers []wire.Offer) ([]int, error) {
		if b.refuse != nil {
			return nil, b.refuse
		}
		var keys []string
		for _, o := range offers {
			keys = append(keys, o.Key)
		}
		b.calls = append(b.calls, keys)
		return nil, nil
	}})
}

func record(key string, size int) keep.Stamped {
	return keep.Stamped{At: layout.Place{Key: key}, Rec: keep.Stored{Raw: make([]byte, size)}}
}

// What could not be brought to a home, because the record is damaged here just then, too
// large or refused, is not let go of.
func TestOnlyWhatWasBroughtIsLetGo(t *testing.T) {
	ctx, b := t.Context(), &brought{}
	c := newCarrier(NewPace(0, idle), b)
	page := []keep.Stamped{record("k", 10)}
	if err := c.bringRecords(ctx, 2, page, 1); err != nil || len(b.calls) != 1 {
		t.Errorf("%v, %v", b.calls, err)
	}
	if err := c.bringRecords(ctx, 2, page, 2); !errors.Is(err, errNotBrought) {
		t.Errorf("one of two records: %v", err)
	}
	if err := c.bringRecords(ctx, 2, []keep.Stamped{record("k", MaxOffer+1)}, 1); !errors.Is(err, errNotBrought) {
		t.Errorf("a record that is too large: %v", err)
	}
	b.refuse = errors.New("no room")
	if err := c.bringRecords(ctx, 2, page, 1); !errors.Is(err, b.refuse) {
		t.Errorf("refused: %v", err)
	}
}

// Records go in pieces that the link puts up with, in their order, one at least.
func TestPiecesAreBounded(t *testing.T) {
	b := &brought{}
	c := newCarrier(NewPace(0, idle), b)
	c.Pace.bytes.Store(leastPiece)
	page := []keep.Stamped{record("a", leastPiece/2), record("b", leastPiece/2), record("c", 1), record("large", 30*leastPiece), record("d", 1)}
	if err := c.PushRecords(t.Context(), 2, page); err != nil {
		t.Fatal(err)
	}
	if want := [][]string{{"a", "b"}, {"c"}, {"large"}, {"d"}}; !slices.EqualFunc(b.calls, want, slices.Equal) {
		t.Errorf("sent %v", b.calls)
	}
}

// On a slow link pieces become small, so that clients' writes are not behind a
// large one; a fast one makes them large again.
func TestPiecesFollowTheLink(t *testing.T) {
	p := NewPace(0, idle)
	if p.PieceBytes() != transferBytes {
		t.Errorf("begins with %d", p.PieceBytes())
	}
	for range 40 {
		p.adaptPiece(10 * time.Second)
	}
	if p.PieceBytes() != leastPiece {
		t.Errorf("%d on a slow link", p.PieceBytes())
	}
	p.adaptPiece(slowPiece * 3 / 4)
	if p.PieceBytes() != leastPiece {
		t.Errorf("%d although it takes long enough", p.PieceBytes())
	}
	for range 40 {
		p.adaptPiece(time.Millisecond)
	}
	if p.PieceBytes() != transferBytes {
		t.Errorf("%d on a fast link", p.PieceBytes())
	}
	if p := NewPace(64<<10, idle); p.PieceBytes() != 64<<10 {
		t.Errorf("%d where 64 KiB a second are allowed", p.PieceBytes())
	}
}

// What is copied in the background gives way to clients, and keeps to the rate that the
// operator allows.
func TestPaceGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := false
		took := func(p *Pace, n int) time.Duration {
			begun := time.Now()
			if err := p.WaitForBytes(t.Context(), n); err != nil {
				t.Error(err)
			}
			return time.Since(begun)
		}
		p := NewPace(0, func() bool { return busy })
		if d := took(p, yieldRate); d != 0 {
			t.Errorf("waits %v for nobody", d)
		}
		busy = true
		if d := took(p, yieldRate); d != time.Second {
			t.Errorf("waits %v for clients", d)
		}
		busy = false
		limited := NewPace(1<<10, func() bool { return busy })
		if d := took(limited, 11<<10); d < 9*time.Second || d > 11*time.Second {
			t.Errorf("11 KiB at 1 KiB a second took %v", d)
		}
	})
}

// A slice that is as it was when it was brought, to the same homes, is not brought again.
func TestUnchangedSlicesStay(t *testing.T) {
	var p progress
	at, was := layout.Slice{Bucket: 2, Shard: 1}, handoverState{roster: 1, total: reconcile.Digest{Key: 5}, live: 3}
	if p.isUnchanged(at, was) {
		t.Error("unchanged although it was never brought")
	}
	p.noteBrought(at, was)
	if !p.isUnchanged(at, was) {
		t.Error("it would be brought again")
	}
	for i, change := range []func(*handoverState){
		func(h *handoverState) { h.roster++ }, func(h *handoverState) { h.total.Key++ }, func(h *handoverState) { h.live = 7 },
		func(h *handoverState) { h.leaving = true }, func(h *handoverState) { h.unknown = true },
	} {
		now := was
		if change(&now); p.isUnchanged(at, now) {
			t.Errorf("change %d is not seen", i)
		}
	}
}
