//go:build !linux

package main

import "os"

func flushFile(f *os.File) error { return f.Sync() }
