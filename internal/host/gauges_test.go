package host

import (
	"maps"
	"math"
	"testing"
	"testing/fstest"
	"time"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

// gateway is a box with a flash disk of two partitions, an encrypted one on top, and two cards.
func gateway() fstest.MapFS {
	return fstest.MapFS{
		"proc/diskstats": file(`   7       0 loop0 10 0 8000 5 0 0 0 0 0 5 5 0 0 0 0 0 0
 179       0 mmcblk0 1000 5 20000 300 500 10 40000 900 0 5000 1200 0 0 0 0 0 0
 179       1 mmcblk0p1 900 5 19000 300 500 10 40000 900 0 5000 1200 0 0 0 0 0 0
 254       0 dm-0 1000 0 20000 300 500 0 40000 900 0 5000 1200
   8       0 sda 10 0 100 5 0 0 0 0 0 10 5 0 0 0 0 0 0
`),
		"sys/block/mmcblk0/size": file(""), "sys/block/dm-0/size": file(""), "sys/block/loop0/size": file(""), "sys/block/sda/size": file(""),
		"proc/net/dev": file(`Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 999999    1000    0    0    0     0          0         0   999999    1000    0    0    0     0       0          0
  eth0: 5000000 4000    0    0    0     0          0         0  2000000    3000    0    0    0     0       0          0
 wlan0:1000 4000    0    0    0     0          0         0  500    3000    0    0    0     0       0          0
`),
		"sys/class/thermal/thermal_zone0/temp": file("48312\n"), "sys/class/thermal/thermal_zone1/temp": file("999999\n"),
		"sys/class/hwmon/hwmon0/temp1_input": file("61000\n"), "sys/class/hwmon/hwmon0/temp2_input": file("sleeping"),
		"proc/pressure/cpu":    file("some avg10=12.34 avg60=1.28 avg300=0.90 total=1184\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"),
		"proc/pressure/memory": file("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"),
		"proc/pressure/io":     file("some avg10=100.00 avg60=1.28 avg300=0.90 total=1184\n"),
	}
}

func TestGaugesOfAGateway(t *testing.T) {
	root := gateway()
	g := NewGauges(root)
	got, err := g.Read(10 * time.Second)
	want := Gauges{Temperature: Known(61000), PressureCPU: Known(123), PressureMemory: Known(0), PressureIO: Known(1000)}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	root["proc/diskstats"] = file(` 179       0 mmcblk0 1100 5 24000 300 600 10 60000 900 0 8000 1200 0 0 0 0 0 0
 179       1 mmcblk0p1 1000 5 23000 300 600 10 60000 900 0 8000 1200 0 0 0 0 0 0
   8       0 sda 1 0 10 5 0 0 0 0 0 1 5 0 0 0 0 0 0
   8      16 sdb 100000 0 1000000 5 0 0 0 0 0 10000 5 0 0 0 0 0 0
`)
	root["sys/block/sdb/size"] = file("")
	root["proc/net/dev"] = file("lo: 2999999 1 0 0 0 0 0 0 2999999 1 0 0 0 0 0 0\neth0: 5400000 1 0 0 0 0 0 0 2000400 1 0 0 0 0 0 0\nusb0: 77 1 0 0 0 0 0 0 77 1 0 0 0 0 0 0\n")
	want.DiskRead, want.DiskWritten, want.DiskBusy = Known[uint64](512*4000/4), Known[uint64](512*20000/4), Known[uint64](750)
	want.NetIn, want.NetOut = Known[uint64](100000), Known[uint64](100)
	if got, err = g.Read(14 * time.Second); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	want.DiskRead, want.DiskWritten, want.DiskBusy, want.NetIn, want.NetOut = Value[uint64]{}, Value[uint64]{}, Value[uint64]{}, Value[uint64]{}, Value[uint64]{}
	if got, err = g.Read(14 * time.Second); err != nil || got != want {
		t.Errorf("in no time: %+v, %v", got, err)
	}
}

// A machine of which nothing is known, and files that say nothing, do no harm to the rest.
func TestGaugesThatCannotBeRead(t *testing.T) {
	if got, err := NewGauges(fstest.MapFS{}).Read(time.Second); err != nil || got != (Gauges{}) {
		t.Errorf("%+v, %v", got, err)
	}
	for name, text := range map[string]string{
		"proc/diskstats": "1 2 sda", "proc/net/dev": "eth0: 1 2 3", "proc/pressure/io": "some avg10=x avg60=1", "proc/pressure/cpu": "some avg10=101.00 avg60=1",
	} {
		root := gateway()
		root[name] = file(text)
		got, err := NewGauges(root).Read(time.Second)
		if _, known := got.Temperature.Get(); err == nil || !known {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func FuzzGauges(f *testing.F) {
	for name, file := range gateway() {
		f.Add(name, string(file.Data))
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		root := gateway()
		if _, ok := root[name]; !ok {
			return
		}
		g := NewGauges(root)
		_, _ = g.Read(time.Second)
		later := maps.Clone(root)
		later[name] = file(text)
		g.r.root = later
		got, _ := g.Read(2 * time.Second)
		if busy, _ := got.DiskBusy.Get(); busy > 1000 {
			t.Errorf("busy %d", busy)
		}
		if p, _ := got.PressureIO.Get(); p < 0 || p > 1000 {
			t.Errorf("pressure %d", p)
		}
	})
}

func TestUseOfAProcessGroup(t *testing.T) {
	stat := func(group, ticks, pages string) *fstest.MapFile {
		return file("42 (a) b (c)) S 1 " + group + " 42 0 -1 4194560 1 2 3 4 " + ticks + " 5 6 7 20 0 1 0 100 1000000 " + pages + " 18446744073709551615 1 1\n")
	}
	root := fstest.MapFS{"proc/42/stat": stat("7", "100", "50"), "proc/43/stat": stat("7", "200", "1"), "proc/44/stat": stat("8", "100", "50"), "proc/self/stat": stat("7", "1", "1"), "proc/meminfo": file("")}
	got, err := ReadGroupUse(root, 7, 4096)
	if want := (GroupUse{Processes: 2, CPU: 3360 * time.Millisecond, Memory: 51 * 4096}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := ReadGroupUse(root, 9, 4096); err != nil || got != (GroupUse{}) {
		t.Errorf("of nobody: %+v, %v", got, err)
	}
	root["proc/45/stat"] = file("45 (x) S 1")
	if _, err := ReadGroupUse(root, 7, 4096); err == nil {
		t.Error("half a line is read")
	}
	if got, err := ReadGroupUse(fstest.MapFS{"proc/1/stat": stat("7", "1", "18446744073709551615")}, 7, math.MaxInt32); err != nil || got.Memory != math.MaxUint64 {
		t.Errorf("%+v, %v", got, err)
	}
}
