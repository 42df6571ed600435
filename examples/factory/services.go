package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/failover"
	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica"
)

const (
	beatEvery = 250 * time.Millisecond
	beatLate  = 10 * time.Second // a service without an acknowledged beat for so long is not well
	badLimit  = 3                // bad readings in a row that make a failure

	heartbeatKey = "heartbeat/" + monitoring
	equipment    = "equipment/"   // equipment/NODE/pump
	maintenance  = "maintenance/" // maintenance/NODE/pump
	scheduleKey  = "schedule"
)

var errNotHere = errors.New("the service does not run here")

// shift is one run of a service at this node.
type shift struct {
	stop context.CancelFunc
	done chan struct{} // closed when nothing of it runs
	beat chan struct{} // closed when its first write is acknowledged
	last atomic.Int64  // the boot clock when the last one was

	mu       sync.Mutex
	readings map[string]int
}

func (s *shift) noteBeat(at time.Duration) {
	if s.last.Swap(int64(at)) == 0 {
		close(s.beat)
	}
}

// serviceOf is a service that does its work from Start to Stop.
func (e *edge) serviceOf(p service.Plan, work func(ctx context.Context, run failover.Run, s *shift)) failover.Service {
	name := p.Service
	return failover.Service{
		Plan: service.Plan{Service: name, Mode: p.Mode, Procedures: p.Procedures}, Address: e.role.ListenAddr(),
		Start: func(_ context.Context, run failover.Run) error {
			e.tellMark(starting, name, run)
			ctx, cancel := context.WithCancel(context.Background()) // what runs outlives the step that starts it
			s := &shift{stop: cancel, done: make(chan struct{}), beat: make(chan struct{}), readings: map[string]int{}}
			e.mu.Lock()
			e.shifts[name] = s
			e.mu.Unlock()
			go func() {
				defer close(s.done)
				work(ctx, run, s)
			}()
			return nil
		},
		Stop: func(ctx context.Context, run failover.Run) error {
			s := e.shiftOf(name)
			if s == nil {
				return nil
			}
			e.tellMark(stopping, name, run)
			s.stop()
			select {
			case <-s.done:
			case <-ctx.Done():
				return ctx.Err()
			}
			e.mu.Lock()
			delete(e.shifts, name)
			e.mu.Unlock()
			e.tellMark(stopped, name, run)
			return nil
		},
		Verify: func(ctx context.Context, run failover.Run) error {
			s := e.shiftOf(name)
			if s == nil {
				return errNotHere
			}
			select {
			case <-s.beat:
				e.tellMark(verified, name, run)
				return nil
			case <-ctx.Done():
				return fmt.Errorf("nothing that it has written was acknowledged: %w", ctx.Err())
			}
		},
		Check: func(context.Context, failover.Run) error {
			s := e.shiftOf(name)
			if s == nil {
				return errNotHere
			}
			if silent := e.clock.Boot() - time.Duration(s.last.Load()); silent > beatLate {
				return fmt.Errorf("nothing that it has written was acknowledged for %v", silent)
			}
			return nil
		},
		Procedures: map[string]failover.Hook{announce: func(ctx context.Context, run failover.Run) error {
			return e.node.Publish(ctx, noticeTopic, []byte(name+" runs at "+e.role.Name+" with token "+run.Began().String()))
		}},
	}
}

func (e *edge) shiftOf(name string) *shift {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.shifts[name]
}

func (e *edge) tellMark(what, name string, run failover.Run) {
	e.parent.Tell(event{Mark: what, Service: name, Token: run.Began().String(), Forced: run.Forced, At: e.clock.Boot()})
}

// putFenced writes under the lead of a run. What is kept on fewer disks than wished counts.
func (e *edge) putFenced(ctx context.Context, run failover.Run, key string, v any) (value []byte, err error) {
	t, err := run.Token()
	if err != nil {
		return nil, err
	}
	if value, err = json.Marshal(v); err != nil {
		return nil, err
	}
	_, err = e.plant.Put(ctx, key, value, &replica.PutOptions{Token: t})
	if errors.Is(err, replica.ErrDegraded) {
		err = nil
	}
	return value, err
}

// monitoringService follows what all nodes measure, and acts when a pump fails.
func (e *edge) monitoringService() failover.Service {
	var failed map[string]bool // nodes whose pump is known to have failed; hooks are called one at a time
	s := e.serviceOf(monitoringPlan(), func(ctx context.Context, run failover.Run, s *shift) {
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() { e.followSensors(ctx, run, s, failed) })
		for ctx.Err() == nil {
			if _, err := e.putFenced(ctx, run, heartbeatKey, e.role.Name); err == nil {
				s.noteBeat(e.clock.Boot())
			}
			clock.Sleep(ctx, beatEvery)
		}
	})
	s.Sync = func(ctx context.Context, _ failover.Run) error {
		failed = map[string]bool{}
		for entry, err := range e.plant.Scan(ctx, replica.ScanOptions{Prefix: equipment}) {
			if err != nil && !errors.Is(err, replica.ErrDegraded) {
				return err
			}
			if name, _, ok := strings.Cut(strings.TrimPrefix(entry.Key, equipment), "/"); ok {
				failed[name] = true
			}
		}
		return nil
	}
	return s
}

// followSensors is the work of the monitoring service. A watch that was too slow goes on where
// it was.
func (e *edge) followSensors(ctx context.Context, run failover.Run, s *shift, failed map[string]bool) {
	bad := map[string]int{}
	opts := replica.WatchOptions{Prefix: sensors, Present: true}
	for ctx.Err() == nil {
		for change, err := range e.telemetry.Watch(ctx, opts) {
			if opts.From = change.Cursor(); errors.Is(err, replica.ErrClosed) {
				return
			}
			value, ok := change.Value()
			var r reading
			if !ok || json.Unmarshal(value, &r) != nil {
				continue
			}
			name, _, _ := strings.Cut(strings.TrimPrefix(change.Key, sensors), "/")
			s.mu.Lock()
			s.readings[name]++
			s.mu.Unlock()
			if bad[name]++; r.Pressure >= leastPressure {
				bad[name] = 0
			}
			if bad[name] >= badLimit && !failed[name] {
				failed[name] = e.handleFailure(ctx, run, name, r) == nil // else by the next reading
			}
		}
	}
}

func pumpNotice(name string) string { return "the pump of " + name + " has failed: line B stands" }

// handleFailure tells all nodes that a pump has failed, and writes down what follows. The
// record of the equipment is the last: who finds that one does not do the rest again.
func (e *edge) handleFailure(ctx context.Context, run failover.Run, name string, r reading) error {
	if err := e.node.Publish(ctx, noticeTopic, []byte(pumpNotice(name))); err != nil {
		return err
	}
	for _, record := range []struct {
		key   string
		value any
	}{
		{maintenance + name + "/pump", map[string]any{"job": "replace the pump", "by": r.At.Add(4 * time.Hour)}},
		{scheduleKey, map[string]any{"line-b": "stands", "line-a": "takes its orders over"}},
		{equipment + name + "/pump", map[string]any{"state": "failed", "pressure": r.Pressure, "since": r.At}},
	} {
		value, err := e.putFenced(ctx, run, record.key, record.value)
		if err != nil {
			return err
		}
		e.parent.Tell(event{Key: record.key, Value: string(value)})
	}
	return nil
}

// answerReport answers for a service that runs here.
func (e *edge) answerReport(_ context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	s := e.shiftOf(string(req))
	if s == nil {
		return nil, errNotHere
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return json.Marshal(report{Node: e.role.Name, Readings: maps.Clone(s.readings)})
}

// qualityService counts, in its part of the factory, the pumps that are as they should be.
func (e *edge) qualityService() failover.Service {
	return e.serviceOf(qualityPlan(), func(ctx context.Context, run failover.Run, s *shift) {
		for ctx.Err() == nil {
			good := 0
			for entry, err := range e.telemetry.Scan(ctx, replica.ScanOptions{Prefix: sensors}) {
				value, _ := entry.Value()
				var r reading
				if err == nil && json.Unmarshal(value, &r) == nil && r.Pressure >= leastPressure {
					good++
				}
			}
			if _, err := e.putFenced(ctx, run, "inspection/"+e.role.Name, good); err == nil {
				s.noteBeat(e.clock.Boot())
			}
			clock.Sleep(ctx, beatEvery)
		}
	})
}
