package main

import (
	"fmt"
	"io/fs"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
)

// reading is one figure of the host, read just now.
type reading struct {
	Metric string
	Value  float64
}

// readHost reads what this host's CPUs, memory, disks and network did, from what
// Linux shows in /proc. Counters are cumulative, as the kernel gives them. Kinds of
// figure that the host does not offer are left out. A system without any tells
// what the runtime of this process knows; no figure at all is an error.
func readHost(proc fs.FS) ([]reading, error) {
	var rs []reading
	for _, kind := range []struct {
		file string
		read func(fields []string) []reading
	}{
		{"stat", figuresOfCPU}, {"loadavg", figuresOfLoad}, {"meminfo", figuresOfMemory}, {"diskstats", figuresOfDisk}, {"net/dev", figuresOfNet},
	} {
		text, err := fs.ReadFile(proc, kind.file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			rs = append(rs, kind.read(strings.Fields(strings.Replace(line, ":", " ", 1)))...)
		}
	}
	if len(rs) == 0 {
		rs = figuresOfRuntime()
	}
	if len(rs) == 0 {
		return nil, fmt.Errorf("read the host's telemetry: no figure could be read")
	}
	slices.SortFunc(rs, func(a, b reading) int { return strings.Compare(a.Metric, b.Metric) })
	return rs, nil
}

// column is a figure's place in a line, its name, and by what it is multiplied.
type column struct {
	at    int
	name  string
	times float64
}

// takeFigures returns the figures of a line; none, if one of them is not a number.
func takeFigures(fields []string, prefix string, columns ...column) (rs []reading) {
	for _, c := range columns {
		if c.at >= len(fields) {
			return nil
		}
		v, err := strconv.ParseFloat(fields[c.at], 64)
		if err != nil {
			return nil
		}
		rs = append(rs, reading{Metric: prefix + c.name, Value: v * c.times})
	}
	return rs
}

// figuresOfCPU takes the line of one CPU: "cpu0 1393280 32966 572056 ...", in hundredths
// of a second.
func figuresOfCPU(fields []string) []reading {
	if len(fields) == 0 || !strings.HasPrefix(fields[0], "cpu") || fields[0] == "cpu" {
		return nil
	}
	return takeFigures(fields, fields[0]+"/", column{1, "user", 0.01}, column{3, "system", 0.01}, column{4, "idle", 0.01},
		column{5, "iowait", 0.01}, column{8, "steal", 0.01})
}

func figuresOfLoad(fields []string) []reading {
	return takeFigures(fields, "load/", column{0, "1", 1}, column{1, "5", 1})
}

func figuresOfMemory(fields []string) []reading {
	if len(fields) == 0 {
		return nil
	}
	name := map[string]string{"MemTotal": "total", "MemAvailable": "available", "Cached": "cached", "Dirty": "dirty"}[fields[0]]
	if name == "" {
		return nil
	}
	return takeFigures(fields, "memory/", column{1, name, 1024})
}

// figuresOfDisk takes the line of one disk or partition: "8 0 sda 4201 ...".
func figuresOfDisk(fields []string) []reading {
	if len(fields) < 13 || fields[3] == "0" && fields[7] == "0" {
		return nil // an unused loop device tells nothing
	}
	return takeFigures(fields, "disk/"+fields[2]+"/", column{5, "read_bytes", 512}, column{9, "write_bytes", 512}, column{7, "writes", 1}, column{12, "busy_ms", 1})
}

// figuresOfNet takes the line of one interface: "eth0: 1215 9 0 0 ...". The lines above
// those have no numbers.
func figuresOfNet(fields []string) []reading {
	if len(fields) == 0 {
		return nil
	}
	return takeFigures(fields, "net/"+fields[0]+"/", column{1, "received", 1}, column{9, "sent", 1}, column{2, "packets_in", 1}, column{4, "dropped", 1})
}

// figuresOfRuntime tells what any system has.
func figuresOfRuntime() (rs []reading) {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/sched/goroutines:goroutines"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	for _, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			name, _, _ := strings.Cut(strings.TrimPrefix(s.Name, "/"), ":")
			rs = append(rs, reading{Metric: "process/" + name, Value: float64(s.Value.Uint64())})
		}
	}
	return rs
}
