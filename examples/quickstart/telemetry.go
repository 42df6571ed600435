package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
	gopsnet "github.com/shirou/gopsutil/v4/net"
)

// reading is one figure of the host, read just now.
type reading struct {
	Metric string
	Value  float64
}

// readHost reads what this host's CPUs, memory, disks and network did. Counters
// are cumulative, as the kernel gives them. Kinds of figure that the host does
// not offer are left out; no figure at all is an error.
func readHost(ctx context.Context) ([]reading, error) {
	var rs []reading
	add := func(v float64, format string, args ...any) {
		name := strings.ReplaceAll(fmt.Sprintf(format, args...), " ", "_")
		rs = append(rs, reading{Metric: name, Value: v})
	}
	cpus, _ := cpu.TimesWithContext(ctx, true)
	for _, c := range cpus {
		add(c.User, "%s/user", c.CPU)
		add(c.System, "%s/system", c.CPU)
		add(c.Idle, "%s/idle", c.CPU)
		add(c.Iowait, "%s/iowait", c.CPU)
		add(c.Steal, "%s/steal", c.CPU)
	}
	if l, err := load.AvgWithContext(ctx); err == nil {
		add(l.Load1, "load/1")
		add(l.Load5, "load/5")
	}
	if m, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		add(float64(m.Available), "memory/available")
		add(float64(m.Used), "memory/used")
		add(float64(m.Cached), "memory/cached")
		add(float64(m.Dirty), "memory/dirty")
	}
	disks, _ := disk.IOCountersWithContext(ctx)
	for name, d := range disks {
		if d.ReadCount+d.WriteCount == 0 {
			continue // an unused loop device tells nothing
		}
		add(float64(d.ReadBytes), "disk/%s/read_bytes", name)
		add(float64(d.WriteBytes), "disk/%s/write_bytes", name)
		add(float64(d.WriteCount), "disk/%s/writes", name)
		add(float64(d.IoTime), "disk/%s/busy_ms", name)
	}
	nets, _ := gopsnet.IOCountersWithContext(ctx, true)
	for _, n := range nets {
		add(float64(n.BytesRecv), "net/%s/received", n.Name)
		add(float64(n.BytesSent), "net/%s/sent", n.Name)
		add(float64(n.PacketsRecv), "net/%s/packets_in", n.Name)
		add(float64(n.Dropin), "net/%s/dropped", n.Name)
	}
	if len(rs) == 0 {
		return nil, fmt.Errorf("read the host's telemetry: no figure could be read")
	}
	slices.SortFunc(rs, func(a, b reading) int { return strings.Compare(a.Metric, b.Metric) })
	return rs, nil
}
