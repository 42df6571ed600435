package host

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Disk is the [Statfs] of this machine. It waits for the file system, which may
// be for long where that is on a network.
func Disk(dir string) (total, free uint64, err error) {
	var st unix.Statfs_t
	for {
		if err = unix.Statfs(dir, &st); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return 0, 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	unit := uint64(st.Frsize)
	if unit == 0 { // not every file system fills it in
		unit = uint64(st.Bsize)
	}
	return st.Blocks * unit, st.Bavail * unit, nil
}
