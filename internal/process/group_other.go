//go:build !unix

package process

import "os/exec"

// killAsGroup does nothing: there are no such groups on this system.
func killAsGroup(*exec.Cmd) {}
