package host

import (
	"maps"
	"math"
	"math/big"
	"slices"
	"testing"
	"testing/fstest"
	"time"
)

func TestMulDiv(t *testing.T) {
	numbers := []uint64{0, 1, 2, 999, 1000, 1 << 31, 1 << 32, 1<<53 + 1, math.MaxUint64 - 1, math.MaxUint64}
	for _, a := range numbers {
		for _, b := range numbers {
			for _, c := range numbers {
				want := uint64(math.MaxUint64)
				if c > 0 {
					n := new(big.Int).Mul(new(big.Int).SetUint64(a), new(big.Int).SetUint64(b))
					if n.Div(n, new(big.Int).SetUint64(c)); n.IsUint64() {
						want = n.Uint64()
					}
				}
				if got := mulDiv(a, b, c); got != want {
					t.Errorf("%d*%d/%d = %d, want %d", a, b, c, got, want)
				}
			}
		}
	}
}

// FuzzTree puts any content into any file of a recorded tree, for one or both
// readings: nothing panics, and figures keep to their bounds.
func FuzzTree(f *testing.F) {
	names := []string{"pc", "pi-v1", "docker-v2", "gateway", "hybrid"}
	for i, name := range names {
		first, _ := tree(f, name)
		for j, file := range slices.Sorted(maps.Keys(first)) {
			f.Add(uint8(i), uint8(j), first[file].Data, true)
		}
	}
	for _, odd := range []string{"", "\x00", "-1", "max", "18446744073709551615", "1 0", "cpu0 18446744073709551615 1 1 18446744073709551615", "0::/../..", ":::", "0-,", "usage_usec 9223372036854775807"} {
		f.Add(uint8(3), uint8(3), []byte(odd), false)
	}
	f.Fuzz(func(t *testing.T, at, which uint8, data []byte, both bool) {
		first, second := tree(t, names[int(at)%len(names)])
		files := slices.Sorted(maps.Keys(first))
		file := files[int(which)%len(files)]
		second[file] = &fstest.MapFile{Data: data}
		if both {
			first[file] = second[file]
		}
		r := New(first, "data", disk)
		for i, root := range []fstest.MapFS{first, second} {
			r.root = root
			got, _ := r.Read(time.Duration(i+1) * time.Second)
			for _, pair := range [][2]Value[uint64]{{got.CPU, got.FreeCPU}, {got.Memory, got.FreeMemory}, {got.Storage, got.FreeStorage}} {
				if pair[1].known && (!pair[0].known || pair[1].v > pair[0].v) {
					t.Errorf("more is free than there is: %+v", got)
				}
			}
			if got.Battery.v < 0 || got.Battery.v > 100 || got.Uptime.v < 0 {
				t.Errorf("out of bounds: %+v", got)
			}
		}
	})
}

// FuzzParse feeds every parser with the same text.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "0-3,5", "cpu0 1 2 3 4 5 6 7 8 9 10", "max 100000", "MemTotal: 1 kB\nMemAvailable: 1 kB", "1.5 2", "Cpus_allowed_list:\t0-1", "4:cpu:/a\n0::/", "1 2 0:3 / /cg rw - cgroup2 c rw"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if l, err := parseAllowed(text); err == nil {
			for _, r := range l {
				if r[0] > r[1] || !l.hasCPU(r[0]) || !l.hasCPU(r[1]) {
					t.Errorf("allowed %v", l)
				}
			}
			if c, err := parseStat(text, l); err == nil && c.cores == 0 && l.countCPUs() > 0 {
				t.Errorf("no core in %q", text)
			}
		}
		if own, err := parseGroups(text); err == nil {
			own.fillMounts(text)
			for controller := range own {
				h, ok := own.hierarchyOf(controller)
				if !ok {
					continue
				}
				for i, group := range h.levels() {
					if i > 0 && !isInside(h.group, group) && group != h.root {
						t.Errorf("%s is not above %s", group, h.group)
					}
				}
			}
		}
		_, _, _ = parseQuota(text)
		_, _, _ = parseLimit(text)
		_, _ = parseKeyed(text, "")
		_, _ = parseKeyed(text, "usage_usec")
		if total, _, err := parseMeminfo(text); err == nil && total == 0 {
			t.Error("no memory")
		}
		if up, err := parseUptime(text); err == nil && up < 0 {
			t.Errorf("up for %v", up)
		}
	})
}
