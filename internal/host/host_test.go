package host

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

const mib = 1 << 20

// tree reads a recorded tree. Files whose name ends in @2 take the place of
// those without, in what the second reading sees.
func tree(t testing.TB, name string) (first, second fstest.MapFS) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	first, second = fstest.MapFS{}, fstest.MapFS{}
	later := fstest.MapFS{}
	var file *fstest.MapFile
	for line := range strings.Lines(string(text)) {
		if p, ok := strings.CutPrefix(line, "-- "); ok {
			p = strings.TrimSuffix(p, " --\n")
			file = &fstest.MapFile{}
			if base, ok := strings.CutSuffix(p, "@2"); ok {
				later[base] = file
			} else {
				first[p] = file
			}
		} else if file != nil {
			file.Data = append(file.Data, line...)
		}
	}
	maps.Copy(second, first)
	maps.Copy(second, later)
	return first, second
}

func disk(dir string) (total, free uint64, err error) {
	if dir != "data" {
		return 0, 0, errors.New("asked about " + dir)
	}
	return 32 << 30, 20 << 30, nil
}

const (
	at1 = 100 * time.Second
	at2 = 110 * time.Second
)

func read(t testing.TB, r *Reader, now time.Duration) Figures {
	t.Helper()
	f, err := r.Read(now)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestRecordedTrees(t *testing.T) {
	for name, want := range map[string]Figures{
		"pc": {
			CPU: Known[uint64](4000), FreeCPU: Known[uint64](3000),
			Memory: Known[uint64](16303428 << 10), FreeMemory: Known[uint64](9981204 << 10),
			Uptime: Known(10003250 * time.Millisecond),
		},
		"pi-v1": {
			CPU: Known[uint64](1500), FreeCPU: Known[uint64](500),
			Memory: Known[uint64](256 * mib), FreeMemory: Known[uint64](160 * mib),
			Uptime: Known(24 * time.Hour),
		},
		"docker-v2": {
			CPU: Known[uint64](500), FreeCPU: Known[uint64](350),
			Memory: Known[uint64](512 * mib), FreeMemory: Known[uint64](362 * mib),
			Uptime: Known(5000000010 * time.Millisecond),
		},
		"gateway": {
			CPU: Known[uint64](1500), FreeCPU: Known[uint64](1000),
			Memory: Known[uint64](192 * mib), FreeMemory: Known[uint64](32 * mib),
			Mains: Known(false), Battery: Known(70),
			Uptime: Known(59090 * time.Millisecond),
		},
		"hybrid": {
			CPU: Known[uint64](2000), FreeCPU: Known[uint64](1000),
			Memory: Known[uint64](1024 * mib), FreeMemory: Known[uint64](0),
			Mains: Known(true), Battery: Known(80),
			Uptime: Known(894260 * time.Millisecond),
		},
	} {
		t.Run(name, func(t *testing.T) {
			want.Storage, want.FreeStorage = Known[uint64](32<<30), Known[uint64](20<<30)
			first, second := tree(t, name)
			r := New(first, "data", disk)
			unknown := want
			unknown.FreeCPU = Value[uint64]{}
			if got := read(t, r, at1); got != unknown {
				t.Errorf("first reading:\n got %+v\nwant %+v", got, unknown)
			}
			r.root = second
			if got := read(t, r, at2); got != want {
				t.Errorf("second reading:\n got %+v\nwant %+v", got, want)
			}
			if got, battery := want.OnMains(), name == "gateway"; got == battery {
				t.Errorf("OnMains is %v", got)
			}
		})
	}
}

// TestDiskFuller: a file system may report more free than it has, while it is
// resized.
func TestDiskFuller(t *testing.T) {
	r := New(fstest.MapFS{}, "data", func(string) (uint64, uint64, error) { return 10, 11, nil })
	if f, _ := r.Read(at1); f.Storage != Known[uint64](10) || f.FreeStorage != Known[uint64](10) {
		t.Errorf("storage %+v, free %+v", f.Storage, f.FreeStorage)
	}
}

// TestNothing is a system without any of the files.
func TestNothing(t *testing.T) {
	r := New(fstest.MapFS{}, "data", func(string) (uint64, uint64, error) { return 0, 0, errors.ErrUnsupported })
	got, err := r.Read(at1)
	if got != (Figures{}) {
		t.Errorf("got %+v", got)
	}
	if !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("error is %v", err)
	}
	if !got.OnMains() {
		t.Error("nothing reports a battery, and it counts as running on one")
	}
}

// TestSpoiledFiles spoils one file at a time: what depends on it is unknown
// and the error says so; all else is read.
func TestSpoiledFiles(t *testing.T) {
	const (
		cpu = 1 << iota
		freeCPU
		memory
		freeMemory
		uptime
	)
	service, slice := "sys/fs/cgroup/edge.slice/mesh.service/", "sys/fs/cgroup/edge.slice/"
	for _, c := range []struct {
		file, text string // "-": the file is not there
		unknown    int
		fault      string // part of the error; empty: none
	}{
		{"proc/self/cgroup", "nonsense", cpu | freeCPU | memory | freeMemory, "control groups"},
		{"proc/self/cgroup", "0::/" + strings.Repeat("a/", maxGroup), cpu | freeCPU | memory | freeMemory, "control groups"},
		{"proc/stat", "-", cpu | freeCPU, "cpu"},
		{"proc/stat", "cpu 1 2 3 4", cpu | freeCPU, "proc/stat"},
		{"proc/stat", "cpu0 1 2 3", cpu | freeCPU, "proc/stat"},
		{"proc/stat", "cpu0 1 2 3 x", cpu | freeCPU, "proc/stat"},
		{"proc/stat", "cpux 1 2 3 4", cpu | freeCPU, "proc/stat"},
		{"proc/self/status", "Cpus_allowed_list: 3-1", cpu | freeCPU, "allowed CPUs"},
		{"proc/self/status", "Cpus_allowed_list: 0-99999999999", cpu | freeCPU, "allowed CPUs"},
		{"proc/meminfo", "-", memory | freeMemory, "memory"},
		{"proc/meminfo", "MemTotal: 100 kB", memory | freeMemory, "meminfo"},
		{"proc/meminfo", "MemTotal: 100 kB\nMemAvailable: 50 MB", memory | freeMemory, "meminfo"},
		{"proc/meminfo", "MemTotal: 0 kB\nMemAvailable: 0 kB", memory | freeMemory, "meminfo"},
		{"proc/meminfo", "MemTotal: 99999999999999999 kB\nMemAvailable: 0 kB", memory | freeMemory, "meminfo"},
		{"proc/uptime", "-", uptime, "uptime"},
		{"proc/uptime", "-5 1", uptime, "uptime"},
		{"proc/uptime", "soon", uptime, "uptime"},
		{service + "cpu.max", "half", cpu | freeCPU, "quota of group /edge.slice/mesh.service"},
		{service + "cpu.max", "50000 0", cpu | freeCPU, "quota"},
		{slice + "cpu.stat", "usage_usec many", freeCPU | cpu, "use of group"},
		{slice + "cpu.stat", "-", freeCPU, ""},
		{slice + "cpu.stat", "usage_usec 1", freeCPU, ""}, // goes back
		{service + "memory.max", "lots", memory | freeMemory, "memory.max"},
		{slice + "memory.current", "lots", memory | freeMemory, "memory.current"},
		{slice + "memory.current", "-", freeMemory, ""},
		{service + "memory.stat", "inactive_file -1", memory | freeMemory, "memory.stat"},
	} {
		t.Run(strings.ReplaceAll(c.file+" "+c.text[:min(len(c.text), 30)], "/", "_"), func(t *testing.T) {
			first, second := tree(t, "gateway")
			r := New(first, "data", disk)
			read(t, r, at1)
			r.root = second
			if second[c.file] == nil {
				t.Fatal("not in the tree")
			}
			second[c.file] = &fstest.MapFile{Data: []byte(c.text)}
			if c.text == "-" {
				delete(second, c.file)
			}
			f, err := r.Read(at2)
			got := 0
			for i, known := range []bool{f.CPU.known, f.FreeCPU.known, f.Memory.known, f.FreeMemory.known, f.Uptime.known} {
				if !known {
					got |= 1 << i
				}
			}
			if got != c.unknown {
				t.Errorf("unknown are %05b, want %05b: %+v", got, c.unknown, f)
			}
			if !f.Storage.known || !f.Mains.known || !f.Battery.known {
				t.Errorf("what does not depend on it is unknown, too: %+v", f)
			}
			if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Errorf("error is %v, want one about %q", err, c.fault)
			}
		})
	}
}

// TestFirstOfTwo: what lies between two readings must be one time, on the same
// CPUs.
func TestFirstOfTwo(t *testing.T) {
	first, second := tree(t, "pc")
	for _, c := range []struct {
		name string
		now  time.Duration
		stat string // empty: that of the second reading
		want Value[uint64]
	}{
		{name: "later", now: at2, want: Known[uint64](3000)},
		{name: "same time", now: at1},
		{name: "earlier", now: at1 - 1},
		{name: "no tick", now: at2, stat: string(first["proc/stat"].Data)},
		{name: "a CPU gone", now: at2, stat: "cpu0 90000 0 0 900000\ncpu1 90000 0 0 900000\ncpu2 90000 0 0 900000"},
		{name: "counters back", now: at2, stat: "cpu0 9 0 0 9\ncpu1 9 0 0 9\ncpu2 9 0 0 9\ncpu3 9 0 0 9"},
		{name: "idle time back", now: at2, want: Known[uint64](0), stat: "cpu0 99999999 0 0 9\ncpu1 9 0 0 9\ncpu2 9 0 0 9\ncpu3 9 0 0 9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := New(first, "data", disk)
			read(t, r, at1)
			r.root = second
			if c.stat != "" {
				later := maps.Clone(second)
				later["proc/stat"] = &fstest.MapFile{Data: []byte(c.stat)}
				r.root = later
			}
			if got := read(t, r, c.now).FreeCPU; got != c.want {
				t.Errorf("free CPU is %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestMovedGroup: a process that was moved to another group has no past there.
func TestMovedGroup(t *testing.T) {
	first, second := tree(t, "gateway")
	r := New(first, "data", disk)
	read(t, r, at1)
	moved := maps.Clone(second)
	moved["proc/self/cgroup"] = &fstest.MapFile{Data: []byte("0::/edge.slice/other")}
	for _, name := range []string{"cpu.max", "cpu.stat"} {
		moved["sys/fs/cgroup/edge.slice/other/"+name] = second["sys/fs/cgroup/edge.slice/mesh.service/"+name]
	}
	r.root = moved
	if f := read(t, r, at2); f.FreeCPU.known || f.CPU != Known[uint64](1500) {
		t.Errorf("CPU %+v, free %+v", f.CPU, f.FreeCPU)
	}
}

func TestMains(t *testing.T) {
	yes, no, unknown := Known(true), Known(false), Value[bool]{}
	for _, c := range []struct {
		name     string
		supplies []string // type, and its file
		want     Value[bool]
	}{
		{"none", nil, unknown},
		{"mains", []string{"Mains online 1"}, yes},
		{"programmable", []string{"USB online 2", "Battery status Discharging"}, yes},
		{"unplugged", []string{"Mains online 0", "Battery status Discharging"}, no},
		{"one of two plugged in", []string{"Mains online 0", "USB online 1", "Battery status Not charging"}, yes},
		{"only a battery, full", []string{"Battery status Full"}, yes},
		{"only a battery, in use", []string{"Battery status Discharging"}, no},
		{"one of two in use", []string{"Battery status Full", "Battery status Discharging"}, no},
		{"uninterruptible", []string{"UPS status Discharging"}, no},
		{"unplugged, battery silent", []string{"Mains online 0", "Battery status Unknown"}, no},
		{"unplugged, no battery", []string{"USB online 0"}, unknown},
		{"silent", []string{"Battery status Unknown", "BMS status Discharging"}, unknown},
		{"odd", []string{"Mains online maybe", "Battery capacity 400"}, no},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for i, s := range c.supplies {
				fields := strings.SplitN(s, " ", 3)
				dir := supplies + "/" + string(rune('a'+i)) + "/"
				root[dir+"type"] = &fstest.MapFile{Data: []byte(fields[0] + "\n")}
				root[dir+fields[1]] = &fstest.MapFile{Data: []byte(fields[2] + "\n")}
			}
			var f Figures
			if err := New(root, "", disk).readPower(&f); err != nil {
				t.Fatal(err)
			}
			if f.Mains != c.want || f.Battery.known {
				t.Errorf("mains is %+v, want %+v; battery %+v", f.Mains, c.want, f.Battery)
			}
		})
	}
}
