//go:build !linux

package host

import (
	"errors"
	"fmt"
)

// Disk is the [Statfs] of this machine: there is none here.
func Disk(dir string) (total, free uint64, err error) {
	return 0, 0, fmt.Errorf("statfs %s: %w", dir, errors.ErrUnsupported)
}
