package host

import (
	"fmt"
	"time"
)

// cpuReading is what two readings are compared by.
type cpuReading struct {
	at          time.Duration
	cores       uint64 // 0: there was none
	idle, total uint64 // ticks
	quotas      []quota
}

// quota is a group's limit on CPU time.
type quota struct {
	group string
	milli uint64 // thousandths of a core
	used  Value[time.Duration]
}

func (r *Reader) readCPU(f *Figures, now time.Duration, own groups) error {
	last := r.last
	r.last = cpuReading{}
	cores, err := r.readCores()
	if err != nil {
		return err
	}
	cores.at = now
	if cores.quotas, err = r.readQuotas(own); err != nil {
		return err
	}
	r.last = cores

	whole := cores.cores * 1000
	for _, q := range cores.quotas {
		whole = min(whole, q.milli)
	}
	f.CPU = Known(whole)
	if free, ok := cores.freeMilli(last); ok {
		f.FreeCPU = Known(min(free, whole))
	}
	return nil
}

// freeMilli returns the thousandths of a core that were idle since the last
// reading: of the machine's, or of the quota that is nearest to its end.
func (c cpuReading) freeMilli(last cpuReading) (milli uint64, ok bool) {
	if last.cores != c.cores || c.at <= last.at || c.total <= last.total {
		return 0, false
	}
	// The kernel lets the time of waiting for I/O go back a little.
	ticks := c.total - last.total
	idle := min(c.idle-min(c.idle, last.idle), ticks)
	milli = mulDiv(c.cores*1000, idle, ticks)
	for _, q := range c.quotas {
		used, known := q.usedSince(last.quotas)
		if !known {
			return 0, false
		}
		rate := mulDiv(uint64(used), 1000, uint64(c.at-last.at))
		milli = min(milli, q.milli-min(q.milli, rate))
	}
	return milli, true
}

// usedSince returns the CPU time that a group has used since the last reading.
func (q quota) usedSince(last []quota) (used time.Duration, known bool) {
	for _, l := range last {
		before, read := l.used.Get()
		now, readNow := q.used.Get()
		if l.group == q.group && read && readNow && now >= before {
			return now - before, true
		}
	}
	return 0, false
}

func (r *Reader) readCores() (cpuReading, error) {
	status, err := r.readOptional("proc/self/status")
	if err != nil {
		return cpuReading{}, err
	}
	allowed, err := parseAllowed(status)
	if err != nil {
		return cpuReading{}, fmt.Errorf("allowed CPUs: %w", err)
	}
	stat, err := r.readFile("proc/stat")
	if err != nil {
		return cpuReading{}, err
	}
	c, err := parseStat(stat, allowed)
	if err != nil {
		return cpuReading{}, fmt.Errorf("proc/stat: %w", err)
	}
	return c, nil
}

func (r *Reader) readQuotas(own groups) (quotas []quota, err error) {
	h, ok := own.hierarchyOf("cpu")
	if !ok {
		return nil, nil
	}
	for _, group := range h.levels() {
		milli, limited, err := r.readQuota(h, group)
		if err != nil {
			return nil, fmt.Errorf("quota of group %s: %w", group, err)
		}
		if !limited {
			continue
		}
		used, err := r.readUsed(own, h, group)
		if err != nil {
			return nil, fmt.Errorf("use of group %s: %w", group, err)
		}
		quotas = append(quotas, quota{group, milli, used})
	}
	return quotas, nil
}

func (r *Reader) readQuota(h hierarchy, group string) (milli uint64, limited bool, err error) {
	if h.unified {
		text, err := r.readOptional(h.filePath(group, "cpu.max"))
		if err != nil {
			return 0, false, err
		}
		return parseQuota(text)
	}
	text, err := r.readOptional(h.filePath(group, "cpu.cfs_quota_us"))
	if err != nil || text == "" {
		return 0, false, err
	}
	period, err := r.readFile(h.filePath(group, "cpu.cfs_period_us"))
	if err != nil {
		return 0, false, err
	}
	return parseQuota(text + " " + period)
}

// readUsed returns the CPU time that a group of the hierarchy of cpu has used. In
// version 1 another controller counts it, often in the same hierarchy.
func (r *Reader) readUsed(own groups, cpu hierarchy, group string) (used Value[time.Duration], err error) {
	name, key, unit := cpu.filePath(group, "cpu.stat"), "usage_usec", time.Microsecond
	if !cpu.unified {
		h, ok := own["cpuacct"]
		if !ok || h.mount == "" || !isInside(group, h.root) {
			return used, nil
		}
		name, key, unit = h.filePath(group, "cpuacct.usage"), "", time.Nanosecond
	}
	n, err := r.readNumber(name, key)
	if known, ok := n.Get(); ok {
		used = Known(time.Duration(known) * unit)
	}
	return used, err
}
