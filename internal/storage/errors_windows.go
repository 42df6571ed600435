package storage

import (
	"errors"
	"syscall"
)

const (
	errWriteProtect     = syscall.Errno(19) // ERROR_WRITE_PROTECT
	errSharingViolation = syscall.Errno(32) // ERROR_SHARING_VIOLATION
	errLockViolation    = syscall.Errno(33) // ERROR_LOCK_VIOLATION
)

func isReadOnlyFS(err error) bool { return errors.Is(err, errWriteProtect) }

// isLocked tells what the system says of a file that another process has
// open.
func isLocked(errno syscall.Errno) bool {
	return errno == errSharingViolation || errno == errLockViolation
}
