//go:build !linux

package vip

import "net/netip"

func openSystem(string, netip.Prefix) (system, error) { return nil, ErrNotSupported }
