//go:build !windows

package storage

import (
	"errors"
	"syscall"
)

func isReadOnlyFS(err error) bool { return errors.Is(err, syscall.EROFS) }

// isLocked tells what fcntl says of a file that another process has locked.
func isLocked(errno syscall.Errno) bool { return errno == syscall.EAGAIN || errno == syscall.EACCES }
