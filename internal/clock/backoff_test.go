package clock

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	b := Backoff{First: 2 * time.Second, Last: 7 * time.Second}
	for range 2 {
		for i, want := range []time.Duration{2, 4, 7, 7} {
			if got := b.Next(); got != want*time.Second {
				t.Errorf("wait %d is %v", i, got)
			}
		}
		b.Reset()
	}
}
