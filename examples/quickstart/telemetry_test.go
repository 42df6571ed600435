package main

import (
	"testing"
	"testing/fstest"
)

func TestReadHost(t *testing.T) {
	text := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	proc := fstest.MapFS{
		"stat":    text("cpu  300 0 0 0 0 0 0 0 0 0\ncpu0 100 1 200 300 400 0 0 50 0 0\nintr 5 6\nctxt 7\n"),
		"loadavg": text("0.75 0.18 0.11 2/345 6789\n"),
		"meminfo": text("MemTotal:        2048 kB\nMemAvailable:    1024 kB\nHugePages_Total:       0\n"),
		"diskstats": text("   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n" +
			"   8       0 sda 10 1 20 3 40 5 60 7 8 90 11 0 0 0 0\n   8  1\n"),
		"net/dev": text("Inter-|   Receive  |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes packets\n" +
			"  eth0:1215 9 0 2 0 0 0 0 77 1 0 0 0 0 0 0\n"),
	}
	rs, err := readHost(proc)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, r := range rs {
		got[r.Metric] = r.Value
	}
	want := map[string]float64{
		"cpu0/user": 1, "cpu0/system": 2, "cpu0/idle": 3, "cpu0/iowait": 4, "cpu0/steal": 0.5, "load/1": 0.75, "load/5": 0.18,
		"memory/total": 2 << 20, "memory/available": 1 << 20,
		"disk/sda/read_bytes": 20 * 512, "disk/sda/write_bytes": 60 * 512, "disk/sda/writes": 40, "disk/sda/busy_ms": 90,
		"net/eth0/received": 1215, "net/eth0/sent": 77, "net/eth0/packets_in": 9, "net/eth0/dropped": 2,
	}
	if len(got) != len(want) {
		t.Errorf("%d figures, want %d: %v", len(got), len(want), got)
	}
	for name, v := range want {
		if got[name] != v {
			t.Errorf("%s is %v, want %v", name, got[name], v)
		}
	}
	if rs, err := readHost(fstest.MapFS{}); err != nil || len(rs) == 0 || rs[0].Metric[:8] != "process/" {
		t.Errorf("a system without /proc: %v, %v", rs, err)
	}
}
