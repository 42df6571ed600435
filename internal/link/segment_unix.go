//go:build linux || darwin || freebsd || netbsd || openbsd

package link

import "syscall"

// setMaxSegment holds for both ends, since each tells the other its bound.
func setMaxSegment(fd uintptr) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, maxSegment) // or goes without
}
