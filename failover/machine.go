package failover

import (
	"context"
	"os"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/internal/host"
)

// coolBy is by how many degrees a machine that was too hot must be below the limit.
const coolBy = 5

// MachineUse returns what Config.Used takes: how much is used of the processing power, the memory
// and the storage that this process may use, in per mille. Limits of control groups count, and
// the storage is that of the file system that holds dir. What cannot be told, as the processing
// power at first, is left out. On Linux; elsewhere storage alone is known.
func MachineUse(dir string) func() []int {
	reader, begin := host.New(os.DirFS("/"), dir, host.Disk), time.Now()
	return func() []int {
		f, _ := reader.Read(time.Since(begin)) // what could be read
		return usedOf(f)
	}
}

func usedOf(f host.Figures) (used []int) {
	for _, r := range [...]struct{ all, free host.Value[uint64] }{{f.CPU, f.FreeCPU}, {f.Memory, f.FreeMemory}, {f.Storage, f.FreeStorage}} {
		all, known := r.all.Get()
		free, freeKnown := r.free.Get()
		if known && freeKnown && all > 0 {
			used = append(used, int(service.WholeUse*(1-float64(free)/float64(all))))
		}
	}
	return used
}

// HotterThan returns a condition for Config.Conditions, as for service.ConditionHardware: that
// the hottest sensor of this machine is above so many degrees Celsius, and since then not five
// degrees below. It does not hold where no temperature is known. On Linux alone. It is for one
// Failover.
func HotterThan(celsius int) func(ctx context.Context) bool {
	gauges, begin := host.NewGauges(os.DirFS("/")), time.Now()
	hot := false
	return func(context.Context) bool {
		g, _ := gauges.Read(time.Since(begin))
		hot = isTooHot(g, hot, celsius)
		return hot
	}
}

func isTooHot(g host.Gauges, was bool, celsius int) bool {
	milli, known := g.Temperature.Get()
	if was {
		celsius -= coolBy
	}
	return known && milli > 1000*celsius
}
