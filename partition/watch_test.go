package partition

import (
	"context"
	"sync"
	"testing"
	"time"
)

// A node of a mesh in which nothing happens looks at it every few seconds, no more.
func TestQuietNodeRests(t *testing.T) {
	t.Parallel()
	inWorld(t, 3, lan, nil, func(w *world) {
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		var all sync.WaitGroup
		for _, b := range w.boxes {
			all.Go(func() {
				looks := 0
				for range b.part.Watch(ctx) {
					looks++
				}
				if looks > 100 {
					t.Errorf("%s looked %d times in five quiet minutes", b.mesh.Name, looks)
				}
			})
		}
		all.Wait()
	})
}
