package partition

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/mode"
	"github.com/skeinmesh/skein/mesh/view"
)

// What a notice says of the cloud.
const (
	noProbes      = 0
	reachable     = 1
	unreachable   = 2
	ableToProbe   = 3
	probersOfSite = 3
)

// cloudWatch probes the cloud, where it is this node's turn, and keeps what it has found.
type cloudWatch struct {
	*ground
	notices *notices
	value   atomic.Uint32
}

func (c *cloudWatch) noticeCode() uint8 { return uint8(c.value.Load()) }

// probeCloud probes for as long as this node is one of the few of its component
// that do.
func (c *cloudWatch) probeCloud(ctx context.Context) {
	r := mode.NewReachability(c.cfg.modeParams())
	c.value.Store(ableToProbe)
	for {
		if !clock.Sleep(ctx, r.Pause(rand.Float64())) {
			return
		}
		if !c.chosenToProbe() {
			r = mode.NewReachability(c.cfg.modeParams())
			c.reportCloud(ableToProbe)
			continue
		}
		verdict, _ := r.Result(c.anyAnswers(ctx))
		if ctx.Err() != nil {
			return
		}
		switch verdict {
		case mode.Reachable:
			c.reportCloud(reachable)
		case mode.Unreachable:
			c.reportCloud(unreachable)
		}
	}
}

// reportCloud has the others know what the probes say, and again before that has aged.
func (c *cloudWatch) reportCloud(code uint32) {
	changed := c.value.Swap(code) != code
	now := c.uptime()
	if !changed && code != ableToProbe && now-c.notices.ownNotice().at > c.cfg.modeParams().FreshFor/3 {
		c.notices.repeatOwn()
		changed = true
	}
	if changed {
		c.lookBell.Ring()
	}
}

// chosenToProbe tells whether this node is one of those that probe.
func (c *cloudWatch) chosenToProbe() bool {
	s := c.scene.Load()
	if s == nil {
		return false
	}
	var able []view.NodeID
	for _, id := range s.component {
		if id == c.id || s.notices[id].Cloud != noProbes {
			able = append(able, id)
		}
	}
	return slices.Contains(mode.Probers(able, probersOfSite), c.id)
}

// anyAnswers tries the probes in turn until one succeeds.
func (c *cloudWatch) anyAnswers(ctx context.Context) bool {
	for _, probe := range c.cfg.Cloud {
		ctx, cancel := context.WithTimeout(ctx, c.cfg.ProbeTimeout)
		err := probe.Check(ctx)
		cancel()
		if err == nil {
			return true
		}
		c.log.Debug("the cloud does not answer", "error", err)
	}
	return false
}

// cloudReports reads what the nodes say of the cloud out of their notices.
func cloudReports(told map[view.NodeID]heardNotice) (out []mode.Report) {
	for id, n := range told {
		switch n.Cloud {
		case reachable:
			out = append(out, mode.Report{Node: id, Cloud: mode.Reachable, At: n.at})
		case unreachable:
			out = append(out, mode.Report{Node: id, Cloud: mode.Unreachable, At: n.at})
		}
	}
	return out
}
