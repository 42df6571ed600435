package clock

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if !Sleep(ctx, 40*time.Second) || time.Since(began) != 40*time.Second {
			t.Errorf("woken after %v", time.Since(began))
		}
		if Sleep(ctx, 40*time.Second) || time.Since(began) != time.Minute {
			t.Errorf("let go after %v", time.Since(began))
		}
	})
}
