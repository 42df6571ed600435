package partition

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// Voters are asked for leases in whole milliseconds: of a longer one the leader
// would believe to have more than they grant.
func TestLeaseInWholeMilliseconds(t *testing.T) {
	c := Config{Mesh: newFakeMesh(1), Pace: LAN()}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	c.Pace.Lease += time.Microsecond
	if err := c.Validate(); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "whole milliseconds") {
		t.Error(err)
	}
}
