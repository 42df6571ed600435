package load

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cost is what the processes of a peer have used since they started.
type cost struct {
	cpu     time.Duration
	written int64
}

func (c cost) subtract(earlier cost) cost {
	return cost{cpu: c.cpu - earlier.cpu, written: c.written - earlier.written}
}

// readCost adds up this process and the processes it runs as part of the
// system (a server it started).
func readCost(children []int) (cost, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return cost{}, fmt.Errorf("getrusage: %w", err)
	}
	sum := cost{cpu: time.Duration(usage.Utime.Nano() + usage.Stime.Nano())}
	for _, pid := range children {
		cpu, err := processCPU(pid)
		if err != nil {
			return cost{}, err
		}
		sum.cpu += cpu
	}
	for _, pid := range append([]int{os.Getpid()}, children...) {
		written, err := procField(pid, "io", "write_bytes:")
		if err != nil {
			return cost{}, err
		}
		sum.written += written
	}
	return sum, nil
}

// processCPU reads user and system time of another process. Linux counts them
// in ticks of 10 ms on every architecture Go runs on.
func processCPU(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The command name, in parentheses, may hold spaces.
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	const utime, stime = 11, 12
	if len(fields) <= stime {
		return 0, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(fields))
	}
	var ticks int64
	for _, field := range [][]byte{fields[utime], fields[stime]} {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// procField returns the first number of the named line of /proc/pid/file.
func procField(pid int, file, name string) (int64, error) {
	path := fmt.Sprintf("/proc/%d/%s", pid, file)
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 2 && fields[0] == name {
			return strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s: no line %q: %w", path, name, lines.Err())
}

// residentBytes is the memory of this process and of children held in RAM.
func residentBytes(children []int) (int64, error) {
	var sum int64
	for _, pid := range append([]int{os.Getpid()}, children...) {
		kib, err := procField(pid, "status", "VmRSS:")
		if err != nil {
			return 0, err
		}
		sum += kib << 10
	}
	return sum, nil
}

// Idle measures this process over d, with no load of ours: its memory and the
// share of one core it uses.
func Idle(d time.Duration) (rssBytes int64, cpuPercent float64, err error) {
	before, err := readCost(nil)
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	time.Sleep(d)
	after, err := readCost(nil)
	if err != nil {
		return 0, 0, err
	}
	rssBytes, err = residentBytes(nil)
	return rssBytes, 100 * float64(after.subtract(before).cpu) / float64(time.Since(start)), err
}

// settle waits until the peer's processes use less than 4 % of a core for
// 100 ms, so that flushes and compactions a load has left behind are charged to
// that load and not to the system measured next. It gives up after limit.
func settle(children []int, limit time.Duration) error {
	const window = 50 * time.Millisecond
	deadline := time.Now().Add(limit)
	last, err := readCost(children)
	if err != nil {
		return err
	}
	for quiet := 0; quiet < 2 && time.Now().Before(deadline); {
		time.Sleep(window)
		now, err := readCost(children)
		if err != nil {
			return err
		}
		if now.subtract(last).cpu < window*4/100 {
			quiet++
		} else {
			quiet = 0
		}
		last = now
	}
	return nil
}
