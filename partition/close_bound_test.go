package partition

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/skeinmesh/skein/partition/token"
)

// closeBound is how long Close may take beyond what work takes to end.
const closeBound = 2 * time.Second

// TestCloseIsBounded begins what may take long, has all others fall silent, and closes
// the Partition: of one that leads, and of one that does not.
func TestCloseIsBounded(t *testing.T) {
	const workTakes = 300 * time.Millisecond
	for name, run := range map[string]func(b *box) error{
		"nothing": nil,
		"lead": func(b *box) error {
			return b.part.Lead(context.Background(), Election{Name: "w"}, func(ctx context.Context, _ token.Token) {
				<-ctx.Done()
				time.Sleep(workTakes)
			})
		},
		"lead of a majority": func(b *box) error {
			return b.part.Lead(context.Background(), Election{Name: "m", Scope: ScopeMajority}, func(ctx context.Context, _ token.Token) {
				<-ctx.Done()
				time.Sleep(workTakes)
			})
		},
	} {
		for _, pr := range []profile{lan, edge} {
			for _, after := range []time.Duration{0, 10 * time.Second} {
				for _, leads := range []bool{true, false} {
					t.Run(fmt.Sprint(name, "/", pr.mesh, " after ", after, " leading ", leads), func(t *testing.T) {
						inWorld(t, 3, pr, nil, func(w *world) {
							b := w.agreed(w.boxes...)
							if !leads {
								b = w.without(b)[0]
							}
							ended := make(chan error, 1)
							if run != nil {
								go func() { ended <- run(b) }()
								time.Sleep(3 * pr.pace.Lease)
							}
							for _, o := range w.without(b) {
								w.net.Silence(o.addr)
							}
							time.Sleep(after)
							begun := time.Now()
							if err := b.part.Close(); err != nil {
								t.Error(err)
							}
							if took := time.Since(begun); took > closeBound+workTakes {
								t.Errorf("closing took %v", took)
							}
							if run == nil {
								return
							}
							if err := <-ended; !errors.Is(err, ErrClosed) {
								t.Errorf("it ended with %v", err)
							}
							if took := time.Since(begun); took > closeBound+workTakes {
								t.Errorf("it ended %v after Close was called", took)
							}
						})
					})
				}
			}
		}
	}
}
