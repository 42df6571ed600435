package failover

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/skeinmesh/skein/failover/service"
)

const (
	maxPlan  = 64 << 10 // bytes of a plan in the records
	maxPlans = 1024     // that are looked at
)

// planKey is where a plan lies. Each mode has its place, so that both are seen where two sides
// of a cut have one each.
func planKey(name string, mode service.Mode) string {
	return planPrefix + mode.String() + "/" + name
}

// readPlan reads a plan as the records hold it. Who the nodes are was looked at when it was set.
func readPlan(key string, value []byte) (p service.Plan, err error) {
	if len(value) > maxPlan {
		return p, fmt.Errorf("%d bytes, %d are the most", len(value), maxPlan)
	}
	if err := json.Unmarshal(value, &p); err != nil {
		return p, err
	}
	if _, err := p.Validate(nil); err != nil {
		return p, err
	}
	if key != planKey(p.Service, p.Mode) {
		return p, fmt.Errorf("it is that of %q, %s", p.Service, p.Mode)
	}
	return p, nil
}

// planBook is what the records hold of plans, as far as that can be read.
type planBook struct {
	mu    sync.Mutex
	pages map[string]planPage // by key
}

type planPage struct {
	text string
	plan service.Plan // the last one that could be read
	read bool         // there is one
}

func newPlanBook() *planBook { return &planBook{pages: map[string]planPage{}} }

// noteValue takes in what a key has now. A plan that cannot be read leaves the one before.
func (b *planBook) noteValue(key string, value []byte) (changed bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	page, known := b.pages[key]
	text := string(value[:min(len(value), maxPlan+1)]) // of what is too long, enough to know it again
	switch {
	case value == nil:
		delete(b.pages, key)
		return known, nil
	case known && page.text == text:
		return false, nil
	case !known && len(b.pages) == maxPlans:
		return false, fmt.Errorf("there are more than %d", maxPlans)
	}
	p, err := readPlan(key, value)
	if page.text = text; err == nil {
		page.plan, page.read = p, true
	}
	b.pages[key] = page
	return err == nil, err
}

func (b *planBook) allKeys() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Keys(b.pages))
}

// plansOf returns the plans of a service, one of each mode at most.
func (b *planBook) plansOf(name string) (plans []service.Plan) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, mode := range [...]service.Mode{service.Exclusive, service.PerComponent} {
		if page := b.pages[planKey(name, mode)]; page.read {
			plans = append(plans, page.plan)
		}
	}
	return plans
}

// notePlan has the service go by what the records hold now.
func (f *Failover) notePlan(key string, value []byte) {
	changed, err := f.plans.noteValue(key, value)
	if err != nil {
		f.log.Warn("a plan in the records is ignored", "key", key, "error", err)
	}
	_, name, _ := strings.Cut(strings.TrimPrefix(key, planPrefix), "/")
	if r, err := f.findRunner(name); changed && err == nil {
		r.followPlans(f.plans)
	}
}

// SetPlan gives all nodes another plan for a service, by the records: those that are away
// follow it when they are back. This node need not serve it. The errors are ErrPlan, which
// names all faults, ErrNoRecords, ErrClosed, and those of the records; warnings say what
// keeps the service from running as things are.
//
// A service has one mode for ever. Where two sides of a cut have given it both, the exclusive
// plan counts: nodes that serve it per component end it and raise an Alarm, and the next
// SetPlan of the exclusive one drops the other.
func (f *Failover) SetPlan(ctx context.Context, p service.Plan) (warnings []*service.Fault, err error) {
	records, err := f.openRecords("set the plan of", p.Service)
	if err != nil {
		return nil, err
	}
	warnings, faults := p.Validate(f.knownNodes())
	if r, err := f.findRunner(p.Service); err == nil {
		faults = errors.Join(faults, r.checkMode(p))
	}
	if len(p.Requires) > 0 {
		plans, _ := f.Plans(ctx) // those that could be reached
		faults = errors.Join(faults, p.ValidateRequires(plans))
	}
	own, err := records.Read(ctx, planKey(p.Service, p.Mode))
	other, otherErr := records.Read(ctx, planKey(p.Service, otherMode(p.Mode)))
	if err = errors.Join(err, otherErr); err != nil && faults == nil {
		return nil, fmt.Errorf("failover: set the plan of %.60q: %w", p.Service, err)
	}
	if counts := p.Mode == service.Exclusive && own != nil; other != nil && !counts {
		faults = errors.Join(faults, fmt.Errorf("mode %s: there is a plan of the other one for %.60q", p.Mode, p.Service))
	}
	if faults != nil {
		return nil, fmt.Errorf("%w: %w", ErrPlan, faults)
	}
	text, err := json.Marshal(p)
	if err == nil {
		err = records.Write(ctx, planKey(p.Service, p.Mode), text, 0)
	}
	if err == nil && other != nil {
		err = records.Erase(ctx, planKey(p.Service, otherMode(p.Mode)))
	}
	if err != nil {
		return nil, fmt.Errorf("failover: set the plan of %.60q: %w", p.Service, err)
	}
	return warnings, nil
}

func otherMode(m service.Mode) service.Mode {
	if m == service.PerComponent {
		return service.Exclusive
	}
	return service.PerComponent
}

// DropPlan takes the plan of a service and mode out of the records. Nodes that go by it go on
// so until they are started anew. The errors are ErrNoRecords, ErrClosed, and those of the
// records.
func (f *Failover) DropPlan(ctx context.Context, name string, mode service.Mode) error {
	records, err := f.openRecords("drop the plan of", name)
	if err != nil {
		return err
	}
	if err := records.Erase(ctx, planKey(name, mode)); err != nil {
		return fmt.Errorf("failover: drop the plan of %.60q: %w", name, err)
	}
	return nil
}

// Plans returns the plans in the records that can be read, by service, at most 1 024. An error
// of the records may come beside those that could be reached.
func (f *Failover) Plans(ctx context.Context) (plans []service.Plan, err error) {
	records, err := f.openRecords("list plans", "")
	if err != nil {
		return nil, err
	}
	err = records.Each(ctx, planPrefix, func(key string, value []byte) bool {
		if p, err := readPlan(key, value); err == nil {
			plans = append(plans, p)
		}
		return len(plans) < maxPlans
	})
	slices.SortFunc(plans, func(a, b service.Plan) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Mode, b.Mode))
	})
	if err != nil {
		err = fmt.Errorf("failover: list plans: %w", err)
	}
	return plans, err
}
