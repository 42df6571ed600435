package host

import (
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// maxCPU bounds the numbers of CPUs: Linux has 8192 at most.
const maxCPU = 1 << 16

// cpuList is a list of ranges of CPU numbers, both ends included.
type cpuList [][2]uint64

func (l cpuList) hasCPU(n uint64) bool {
	for _, r := range l {
		if r[0] <= n && n <= r[1] {
			return true
		}
	}
	return false
}

func (l cpuList) countCPUs() (n uint64) {
	for _, r := range l {
		n += r[1] - r[0] + 1
	}
	return n
}

// parseAllowed returns the CPUs that /proc/self/status says the process may
// run on; all where it does not say.
func parseAllowed(status string) (cpuList, error) {
	for line := range strings.Lines(status) {
		list, ok := strings.CutPrefix(line, "Cpus_allowed_list:")
		if !ok {
			continue
		}
		var l cpuList
		for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
			first, last, isRange := strings.Cut(part, "-")
			if !isRange {
				last = first
			}
			a, errA := strconv.ParseUint(first, 10, 64)
			b, errB := strconv.ParseUint(last, 10, 64)
			if errA != nil || errB != nil || a > b || b > maxCPU {
				return nil, errMalformed
			}
			l = append(l, [2]uint64{a, b})
		}
		return l, nil
	}
	return cpuList{{0, maxCPU}}, nil
}

// parseStat sums up the lines of /proc/stat of the CPUs that are allowed. A
// container may be shown CPUs that are numbered anew (lxcfs does that): where
// fewer than there must be are allowed, the share of all of them is taken.
func parseStat(text string, allowed cpuList) (cpuReading, error) {
	var all, own cpuReading
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || !strings.HasPrefix(fields[0], "cpu") || fields[0] == "cpu" {
			continue
		}
		n, err := strconv.ParseUint(fields[0][len("cpu"):], 10, 64)
		if err != nil || len(fields) < 5 {
			return cpuReading{}, errMalformed
		}
		var idle, total uint64
		// user nice system idle iowait irq softirq steal; guest time, which
		// follows, is part of user.
		for i, field := range fields[1:min(len(fields), 9)] {
			ticks, err := strconv.ParseUint(field, 10, 64)
			if err != nil {
				return cpuReading{}, errMalformed
			}
			if total += ticks; i == 3 || i == 4 {
				idle += ticks
			}
		}
		all.addTicks(idle, total)
		if allowed.hasCPU(n) {
			own.addTicks(idle, total)
		}
	}
	if all.cores == 0 {
		return cpuReading{}, errMalformed
	}
	if cores := min(all.cores, allowed.countCPUs()); own.cores < cores {
		all.cores = cores
		return all, nil
	}
	return own, nil
}

func (c *cpuReading) addTicks(idle, total uint64) {
	c.cores, c.idle, c.total = c.cores+1, c.idle+idle, c.total+total
}

// parseQuota reads "quota period", in microseconds, as cpu.max of version 2
// has it; "max", or -1 in version 1, is no quota, and neither is an empty text.
func parseQuota(text string) (milli uint64, limited bool, err error) {
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return 0, false, nil
	}
	if len(fields) != 2 {
		return 0, false, errMalformed
	}
	if fields[0] == "max" || fields[0] == "-1" {
		return 0, false, nil
	}
	quota, errQ := strconv.ParseUint(fields[0], 10, 64)
	period, errP := strconv.ParseUint(fields[1], 10, 64)
	if errQ != nil || errP != nil || period == 0 {
		return 0, false, errMalformed
	}
	return mulDiv(quota, 1000, period), true, nil
}

// parseLimit reads a limit in bytes; "max" is none, and so is an empty text.
func parseLimit(text string) (limit uint64, limited bool, err error) {
	if text == "" || text == "max" {
		return 0, false, nil
	}
	limit, err = strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, false, errMalformed
	}
	return limit, true, nil
}

// parseKeyed finds the number behind a key at the beginning of a line, or with
// no key takes the whole text for one. Unknown if the key is not there.
func parseKeyed(text, key string) (n Value[uint64], err error) {
	for line := range strings.Lines(text) {
		rest := strings.TrimSpace(line)
		if key != "" {
			var ok bool
			if rest, ok = strings.CutPrefix(rest, key+" "); !ok {
				continue
			}
		}
		v, err := strconv.ParseUint(rest, 10, 64)
		if err != nil {
			return n, errMalformed
		}
		return Known(v), nil
	}
	return n, nil
}

// parseMeminfo returns MemTotal and MemAvailable of /proc/meminfo in bytes.
func parseMeminfo(text string) (total, available uint64, err error) {
	found := 0
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "MemTotal:" && fields[0] != "MemAvailable:" {
			continue
		}
		kib, err := strconv.ParseUint(fields[1], 10, 64)
		if err != nil || kib > math.MaxUint64/1024 || len(fields) != 3 || fields[2] != "kB" {
			return 0, 0, errMalformed
		}
		found++
		if fields[0] == "MemTotal:" {
			total = kib * 1024
		} else {
			available = kib * 1024
		}
	}
	if found != 2 || total == 0 {
		return 0, 0, errMalformed
	}
	return total, available, nil
}

// parseUptime reads /proc/uptime: "894.26 629.72", in seconds.
func parseUptime(text string) (time.Duration, error) {
	seconds, _, _ := strings.Cut(text, " ")
	up, err := time.ParseDuration(seconds + "s")
	if err != nil || up < 0 {
		return 0, errMalformed
	}
	return up, nil
}

// mulDiv returns a*b/c without overflow on the way; the largest number if the
// result is none.
func mulDiv(a, b, c uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	if hi >= c {
		return math.MaxUint64
	}
	q, _ := bits.Div64(hi, lo, c)
	return q
}
