package backup

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/retain"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	// pinEvery is the time from one pin of a restore to the next.
	pinEvery = 20 * time.Minute
	// pinWait is how long a tier has for one.
	pinWait = 10 * time.Second
	pinText = "a restore reads here\n"
)

// A pin is an object "MESH/p-TIME-RANDOM" at a tier, which a restore puts before it reads manifests there.
// As long as one is young, Prune deletes nothing that a restore may need.

func pinPrefix(mesh view.MeshID) string { return meshPrefix(mesh) + "p-" }

func newPinName(mesh view.MeshID, now time.Time) string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	return fmt.Sprintf("%s%016x-%x", pinPrefix(mesh), max(now.UnixMilli(), 0), random)
}

// parsePin returns when a pin was put, by the clock of who restores.
func parsePin(name string) (at time.Time, ok bool) {
	mesh, rest, ok := strings.Cut(name, "/p-")
	when, random, ok2 := strings.Cut(rest, "-")
	if !ok || !ok2 || len(mesh) != 32 || len(when) != 16 || len(random) != 32 {
		return at, false
	}
	_, err1 := hex.DecodeString(mesh + random)
	ms, err2 := strconv.ParseUint(when, 16, 63)
	return time.UnixMilli(int64(ms)), errors.Join(err1, err2) == nil
}

// IsPin tells whether an object is a pin: the small one that a restore puts at a tier so that nobody
// deletes what it reads. Whoever may read somewhere should be allowed to put and delete pins there. A
// Tier that keeps some names only, as package peers does, asks it.
func IsPin(name string) bool {
	_, ok := parsePin(name)
	return ok
}

// listPins returns the pins that are at a tier.
func listPins(ctx context.Context, tier Tier, mesh view.MeshID) (found []retain.Pin, err error) {
	for o, err := range tier.List(ctx, pinPrefix(mesh)) {
		if err != nil {
			return nil, err
		}
		at, ok := parsePin(o.Name)
		if !o.Time.IsZero() {
			at = o.Time
		}
		if ok {
			found = append(found, retain.Pin{Name: o.Name, Put: at})
		}
	}
	return found, nil
}

// deletePins deletes what restores have left that broke off, where that is allowed.
func (out *Pruned) deletePins(ctx context.Context, cfg *PruneConfig, names []string) error {
	for _, name := range names {
		if !cfg.Dry {
			err := cfg.Tier.Tier.Delete(ctx, name)
			if errors.Is(err, ErrDenied) {
				continue
			}
			if err != nil {
				return fmt.Errorf("delete %s: %w", name, err)
			}
		}
		out.Objects = append(out.Objects, name)
	}
	return nil
}

// pins are those of one restore.
type pins struct {
	group *lifecycle.Group
	end   func() bool // of the wait for the restore's context
	all   []*pin
}

// pin is that of one tier. Its goroutine alone touches it.
type pin struct {
	tier NamedTier
	mesh view.MeshID
	name string // empty: there is none
	err  error  // why the last one could not be put
}

// putPins pins all tiers where there is something, and goes on with that until removeAll.
func putPins(ctx context.Context, c *catalog) *pins {
	p := &pins{group: lifecycle.NewGroup(context.WithoutCancel(ctx))}
	p.end = context.AfterFunc(ctx, p.group.Cancel)
	used := make(map[int]bool)
	for i := range c.points {
		used[c.points[i].Tier] = true
	}
	var first sync.WaitGroup
	for i := range used {
		one := &pin{tier: c.tiers[i], mesh: c.mesh}
		p.all = append(p.all, one)
		first.Add(1)
		begun := p.group.Go(func(ctx context.Context) {
			one.putAnother(ctx)
			first.Done()
			for clock.Sleep(ctx, pinEvery) {
				one.putAnother(ctx)
			}
			one.removePin(ctx, one.name)
		})
		if !begun { // the restore was broken off already
			first.Done()
		}
	}
	first.Wait()
	return p
}

// removeAll ends them, and tells which tiers were not pinned in the end.
func (p *pins) removeAll() (failed []error) {
	p.end()
	p.group.Close()
	for _, one := range p.all {
		if one.err != nil {
			failed = append(failed, fmt.Errorf("tier %s: %w", one.tier.Name, one.err))
		}
	}
	return failed
}

// putAnother puts a pin in the place of the one before, which stays where that fails.
func (p *pin) putAnother(ctx context.Context) {
	putting, cancel := context.WithTimeout(ctx, pinWait)
	defer cancel()
	name, before := newPinName(p.mesh, time.Now()), p.name
	err := p.tier.Tier.Put(putting, name, []byte(pinText))
	if ctx.Err() == nil {
		p.err = err
	}
	if err != nil {
		p.removePin(ctx, name) // it may be there all the same
		return
	}
	p.name = name
	p.removePin(ctx, before)
}

// removePin removes a pin, also when the restore was broken off. One that stays is deleted by Prune, in some days.
func (p *pin) removePin(ctx context.Context, name string) {
	if name == "" || errors.Is(p.err, ErrDenied) && p.name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pinWait)
	defer cancel()
	_ = p.tier.Tier.Delete(ctx, name)
}
