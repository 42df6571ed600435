package failover

import (
	"slices"
	"testing"

	"github.com/skeinmesh/skein/internal/host"
)

func TestUseOfThisMachine(t *testing.T) {
	f := host.Figures{CPU: host.Known[uint64](4000), FreeCPU: host.Known[uint64](1000), Memory: host.Known[uint64](100), Storage: host.Known[uint64](1000), FreeStorage: host.Known[uint64](990)}
	if got := usedOf(f); !slices.Equal(got, []int{750, 10}) {
		t.Errorf("%v", got)
	}
	for _, used := range MachineUse(t.TempDir())() {
		if used < 0 || used > 1000 {
			t.Errorf("%d", used)
		}
	}
}

func TestAMachineThatIsTooHot(t *testing.T) {
	hot := false
	for _, c := range []struct {
		milli int
		want  bool
	}{{79_000, false}, {80_001, true}, {76_000, true}, {75_000, false}, {80_000, false}} {
		if hot = isTooHot(host.Gauges{Temperature: host.Known(c.milli)}, hot, 80); hot != c.want {
			t.Errorf("%d: %v", c.milli, hot)
		}
	}
	if isTooHot(host.Gauges{}, true, 80) {
		t.Error("without a sensor")
	}
	if HotterThan(250)(t.Context()) {
		t.Error("this machine burns")
	}
}
