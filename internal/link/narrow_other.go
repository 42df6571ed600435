//go:build !linux

package link

// losesLarge is not known here.
func losesLarge(uintptr) bool { return false }
