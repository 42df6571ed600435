package main

import (
	"os"
	"syscall"
)

func flushFile(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
