// Package tiertest shows whether an implementation of backup.Tier keeps what backup.Tier promises.
//
// What it cannot show needs the place itself: that an object outlives a loss of power, and what
// happens when the place is full, slow, away, or lies.
package tiertest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/backup"
)

// Test runs all checks of a tier. open returns a tier that is empty, and is called once for each
// check; what it opens it closes by t.Cleanup. There are no subtests, so that it also runs in a
// bubble of testing/synctest.
func Test(t *testing.T, open func(t *testing.T) backup.Tier) {
	t.Helper()
	for _, c := range checks {
		reportFaults(t, c.name, runCheck(t.Context(), open(t), c.run))
	}
}

// TestOpenedAnew puts objects and looks for them after the tier was opened again. open opens the
// same place at each call; at first it is empty.
func TestOpenedAnew(t *testing.T, open func(t *testing.T) backup.Tier) {
	objects := map[string][]byte{"a": nil, "b/c": newBytes(1, 1000), "b/d": newBytes(2, 1<<20), "b/gone": newBytes(3, 1)}
	t.Helper()
	reportFaults(t, "Put", runCheck(t.Context(), open(t), func(c *trial) {
		for name, data := range objects {
			c.putObject(name, data)
		}
		c.deleteObject("b/gone")
		delete(objects, "b/gone")
	}))
	reportFaults(t, "OpenedAnew", runCheck(t.Context(), open(t), func(c *trial) {
		for name, data := range objects {
			c.wantObject(name, data)
		}
		c.wantAbsent("b/gone")
		c.wantList("", "a", "b/c", "b/d")
	}))
}

// check is one promise of a tier.
type check struct {
	name string
	run  func(*trial)
}

// trial is a check of one tier, and what it found.
type trial struct {
	ctx    context.Context
	tier   backup.Tier
	faults []string
}

func runCheck(ctx context.Context, tier backup.Tier, run func(*trial)) []string {
	c := &trial{ctx: ctx, tier: tier}
	run(c)
	return c.faults
}

func reportFaults(t *testing.T, name string, faults []string) {
	t.Helper()
	if len(faults) > 0 {
		t.Errorf("%s: %d faults\n%s", name, len(faults), strings.Join(faults[:min(len(faults), 20)], "\n"))
	}
}

func (c *trial) faultf(format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}
