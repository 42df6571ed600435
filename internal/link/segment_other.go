//go:build !linux && !darwin && !freebsd && !netbsd && !openbsd

package link

func setMaxSegment(uintptr) {}
