package host

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"time"
)

// Gauges are how hard a machine works, and how hot it is: what is counted from one reading to
// the next, and what the kernel measures itself. The zero value knows nothing.
type Gauges struct {
	// DiskRead and DiskWritten are bytes a second of all disks together, DiskBusy the part of
	// the time in per mille in which the busiest one had something to do.
	DiskRead, DiskWritten, DiskBusy Value[uint64]
	// NetIn and NetOut are bytes a second of all network interfaces but the loopback.
	NetIn, NetOut Value[uint64]
	// Temperature is that of the hottest sensor in thousandths of a degree Celsius.
	Temperature Value[int]
	// PressureCPU, PressureMemory and PressureIO are the parts of the last ten seconds, in per
	// mille, in which some task had to wait for it (the kernel's Documentation/accounting/psi.rst).
	PressureCPU, PressureMemory, PressureIO Value[int]
}

const (
	sectorSize = 512 // in which the kernel counts, whatever the disk has
	leastMilli = -50_000
	mostMilli  = 200_000 // what lies beyond is no temperature
	maxDevices = 4096
)

// counts are the kernel's counters by which rates are made.
type counts struct {
	at    time.Duration
	disks map[string]diskCount
	nets  map[string][2]uint64 // in and out
}

type diskCount struct{ read, written, busy uint64 } // sectors, sectors, milliseconds

// GaugeReader reads gauges, and remembers the counters of its last reading. It is not safe for
// concurrent use.
type GaugeReader struct {
	r    *Reader
	last counts
}

// NewGauges returns a reader that finds proc and sys in root.
func NewGauges(root fs.FS) *GaugeReader { return &GaugeReader{r: &Reader{root: root}} }

// Read reads all gauges. The time now is that of a clock which never goes back. The first
// reading cannot tell rates, nor one that is not later than the last. What is not there is
// unknown; the error says what could not be read, and the other gauges are good even so.
func (g *GaugeReader) Read(now time.Duration) (out Gauges, err error) {
	next := counts{at: now}
	var errs []error
	note := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("host: %s: %w", what, err))
		}
	}
	next.disks, err = g.readDisks()
	note("disks", err)
	next.nets, err = g.readNets()
	note("network", err)
	if span := now - g.last.at; g.last.at > 0 && span > 0 {
		next.rateDisks(&out, g.last, span)
		next.rateNets(&out, g.last, span)
	}
	g.last = next
	note("temperature", g.readTemperature(&out))
	for name, to := range map[string]*Value[int]{"cpu": &out.PressureCPU, "memory": &out.PressureMemory, "io": &out.PressureIO} {
		note("pressure", g.readPressure(name, to))
	}
	return out, errors.Join(errs...)
}

// readDisks reads the counters of all disks that are made of no other ones.
func (g *GaugeReader) readDisks() (map[string]diskCount, error) {
	text, err := g.r.readOptional("proc/diskstats")
	if text == "" || err != nil {
		return nil, err
	}
	disks := map[string]diskCount{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 13 || len(disks) == maxDevices {
			return nil, errMalformed
		}
		name := f[2]
		if isStacked(name) || !g.isDisk(name) {
			continue
		}
		var n [3]uint64
		for i, at := range [...]int{5, 9, 12} {
			if n[i], err = strconv.ParseUint(f[at], 10, 64); err != nil {
				return nil, errMalformed
			}
		}
		disks[name] = diskCount{n[0], n[1], n[2]}
	}
	return disks, nil
}

// isStacked tells whether a device is in memory, or made of others, which are counted.
func isStacked(name string) bool {
	for _, p := range [...]string{"loop", "ram", "zram", "dm-", "md", "sr", "fd"} {
		if rest, ok := strings.CutPrefix(name, p); ok && strings.Trim(rest, "0123456789") == "" {
			return true
		}
	}
	return false
}

// isDisk tells whether a name is that of a whole disk: partitions are listed below theirs.
func (g *GaugeReader) isDisk(name string) bool {
	_, err := fs.Stat(g.r.root, "sys/block/"+strings.ReplaceAll(name, "/", "!"))
	return err == nil
}

func (g *GaugeReader) readNets() (map[string][2]uint64, error) {
	text, err := g.r.readOptional("proc/net/dev")
	if text == "" || err != nil {
		return nil, err
	}
	nets := map[string][2]uint64{}
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, ":")
		if !ok {
			continue // the header
		}
		f := strings.Fields(rest)
		if name = strings.TrimSpace(name); name == "lo" {
			continue
		}
		if len(f) < 9 || len(nets) == maxDevices {
			return nil, errMalformed
		}
		in, errIn := strconv.ParseUint(f[0], 10, 64)
		out, errOut := strconv.ParseUint(f[8], 10, 64)
		if errIn != nil || errOut != nil {
			return nil, errMalformed
		}
		nets[name] = [2]uint64{in, out}
	}
	return nets, nil
}

// rateDisks compares two readings. A disk that is new, or whose counters have begun anew, does
// not count.
func (c counts) rateDisks(out *Gauges, last counts, span time.Duration) {
	if c.disks == nil || last.disks == nil {
		return
	}
	var read, written, busiest uint64
	for name, now := range c.disks {
		was, known := last.disks[name]
		if !known || now.read < was.read || now.written < was.written || now.busy < was.busy {
			continue
		}
		read, written = read+now.read-was.read, written+now.written-was.written
		busiest = max(busiest, now.busy-was.busy)
	}
	out.DiskRead, out.DiskWritten = perSecond(mulDiv(read, sectorSize, 1), span), perSecond(mulDiv(written, sectorSize, 1), span)
	out.DiskBusy = Known(min(mulDiv(busiest, 1000, uint64(max(span.Milliseconds(), 1))), 1000))
}

func (c counts) rateNets(out *Gauges, last counts, span time.Duration) {
	if c.nets == nil || last.nets == nil {
		return
	}
	var sum [2]uint64
	for name, now := range c.nets {
		was, known := last.nets[name]
		if !known || now[0] < was[0] || now[1] < was[1] {
			continue
		}
		sum[0], sum[1] = sum[0]+now[0]-was[0], sum[1]+now[1]-was[1]
	}
	out.NetIn, out.NetOut = perSecond(sum[0], span), perSecond(sum[1], span)
}

func perSecond(n uint64, span time.Duration) Value[uint64] {
	return Known(mulDiv(n, uint64(time.Second), uint64(span)))
}

// readTemperature finds the hottest of the thermal zones and of the sensors of chips. A sensor
// that does not answer, as one that sleeps, is left out.
func (g *GaugeReader) readTemperature(out *Gauges) error {
	for _, pattern := range [...]string{"sys/class/thermal/thermal_zone*/temp", "sys/class/hwmon/hwmon*/temp*_input"} {
		names, err := fs.Glob(g.r.root, pattern)
		if err != nil {
			return err
		}
		for _, name := range names[:min(len(names), maxDevices)] {
			text, err := g.r.readFile(name)
			if err != nil {
				continue
			}
			milli, err := strconv.Atoi(text)
			if err != nil || milli < leastMilli || milli > mostMilli {
				continue
			}
			if most, known := out.Temperature.Get(); !known || milli > most {
				out.Temperature = Known(milli)
			}
		}
	}
	return nil
}

// readPressure reads the share of the last ten seconds from a line like
// "some avg10=1.53 avg60=1.28 avg300=0.90 total=1184".
func (g *GaugeReader) readPressure(name string, to *Value[int]) error {
	text, err := g.r.readFile("proc/pressure/" + name)
	if err != nil {
		return nil // kernels are built without it, or have it switched off
	}
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, "some avg10=")
		if !ok {
			continue
		}
		share, _, _ := strings.Cut(rest, " ")
		percent, err := strconv.ParseFloat(share, 64)
		if err != nil || math.IsNaN(percent) || percent < 0 || percent > 100 {
			return errMalformed
		}
		*to = Known(int(math.Round(percent * 10)))
		return nil
	}
	return errMalformed
}
