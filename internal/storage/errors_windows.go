package storage

import (
	"errors"
	"syscall"
)

// errWriteProtect is ERROR_WRITE_PROTECT.
const errWriteProtect = syscall.Errno(19)

func isReadOnlyFS(err error) bool { return errors.Is(err, errWriteProtect) }
