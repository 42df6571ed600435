package backup

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/skeinmesh/skein/internal/retain"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Point is one backup that is at a tier: a restore can go back to it.
type Point struct {
	ID       string // NODE/CHAIN/SEQUENCE
	Tier     string
	Mesh     view.MeshID
	Node     view.NodeID
	Policy   string
	Time     time.Time // when it began, by its node's clock
	Put      time.Time // by the clock of the tier; zero if it has none
	Segments int
	Bytes    int64 // of all that a restore to it reads
	Partial  bool  // some slices or records could not be backed up
	Key      [32]byte
}

// Query says which points to find. Its zero fields leave all.
type Query struct {
	ID       string // how that of the point begins
	Mesh     view.MeshID
	Nodes    []view.NodeID
	Policies []string
	From, To time.Time
}

// List finds points at tiers, the newest first. Faults are objects that are damaged, and chains that
// were cut off or forked; all else is listed. The error is ErrManyMeshes, or that of ctx.
func List(ctx context.Context, tiers []NamedTier, q Query) (points []Point, faults []error, err error) {
	c, err := readCatalog(ctx, tiers, q.Mesh)
	if err != nil {
		return nil, nil, err
	}
	found := retain.FindPoints(c.points, retain.Query{ID: q.ID, Nodes: q.Nodes, Policies: q.Policies, From: q.From, To: q.To}, time.Now())
	for i := range found {
		p := &found[i]
		if p.Fault != nil {
			continue
		}
		m := c.manifests[retain.Place{Tier: p.Tier, PointID: p.PointID}]
		out := Point{
			ID: p.String(), Tier: tiers[p.Tier].Name, Mesh: m.Mesh, Node: m.Node, Policy: m.Policy, Time: m.Time, Put: p.Put,
			Segments: len(m.Segments), Partial: m.Partial, Key: m.Key,
		}
		for j := range m.Segments {
			out.Bytes += int64(m.Segments[j].Size)
		}
		points = append(points, out)
	}
	return points, append(c.faults, c.chainFaults(time.Now())...), nil
}

// Verified tells what was looked at.
type Verified struct {
	Points, Segments int
	Bytes            int64
	Unnamed          int // segments that no manifest names: of backups that were not finished
	Faults           []error
}

// VerifyConfig says what to verify.
type VerifyConfig struct {
	Tiers []NamedTier
	Mesh  view.MeshID // zero: the only one there is
	// Identities open what is there, as well as reading it. Empty: the hashes are compared, which
	// needs no key.
	Identities []string
	Progress   func(Verified) // told now and then; nil: nobody is
}

// Verify reads all that is at tiers and tells what is damaged. The error is as that of List, or
// ErrNoIdentity.
func Verify(ctx context.Context, cfg VerifyConfig) (Verified, error) {
	ids, err := parseIdentities(cfg.Identities)
	if err != nil {
		return Verified{}, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c, err := readCatalog(ctx, cfg.Tiers, cfg.Mesh)
	if err != nil {
		return Verified{}, err
	}
	out := Verified{Faults: append(c.faults, c.chainFaults(time.Now())...)}
	done := make(map[segmentAt]bool)
	sealed := 0 // to others
	for at, m := range c.manifests {
		name := cfg.Tiers[at.Tier].Name
		if len(ids) > 0 {
			plain, err := unsealBytes(m.Inventory, ids, wire.MaxSegment)
			if err == nil {
				_, err = wire.DecodeInventory(plain)
			}
			if errors.Is(err, ErrNoIdentity) {
				sealed++
			}
			if err != nil {
				out.Faults = append(out.Faults, fmt.Errorf("tier %s: manifest %s: %w", name, at.PointID, err))
			}
		}
		out.Points++
		for i := range m.Segments {
			ref := &m.Segments[i]
			if done[segmentAt{at.Tier, ref.Name}] {
				continue
			}
			done[segmentAt{at.Tier, ref.Name}] = true
			data, err := readSegment(ctx, cfg.Tiers[at.Tier].Tier, &m, ref)
			if ctx.Err() != nil {
				return out, ctx.Err()
			}
			if err == nil && len(ids) > 0 {
				var plain []byte
				if plain, err = unsealBytes(data, ids, wire.MaxSegment); err == nil {
					_, err = wire.DecodeSegment(plain)
				}
			}
			if err != nil {
				out.Faults = append(out.Faults, fmt.Errorf("tier %s: %w", name, err))
			}
			out.Segments++
			if out.Bytes += int64(len(data)); cfg.Progress != nil {
				cfg.Progress(out)
			}
		}
	}
	if sealed > 0 && sealed == out.Points {
		return out, ErrNoIdentity
	}
	for tier, all := range c.segments {
		for _, s := range all {
			if !done[segmentAt{tier, s.ID}] {
				out.Unnamed++
			}
		}
	}
	return out, nil
}

// Keep is for how long a policy's backups are kept, as a Level says. The last good one of each
// node stays for ever; of a node that has left the mesh for Lost, if that is longer, zero: for ever.
type Keep struct{ For, Lost, Every time.Duration }

// PruneConfig says what may be deleted at one tier.
type PruneConfig struct {
	Tier NamedTier
	Mesh view.MeshID
	// Keep is by policy; what is of others stays.
	Keep map[string]Keep
	// Nodes are those whose backups may be deleted. Empty: all.
	Nodes []view.NodeID
	// Left are nodes that have left the mesh for good.
	Left []view.NodeID
	// Pinned are the ids of points that stay in any case.
	Pinned []string
	// Now is what this machine's clock says. Zero: its present time.
	Now time.Time
	// Dry only tells what would be deleted.
	Dry bool
}

// Pruned tells what was deleted, or would be.
type Pruned struct {
	Now     time.Time // by what it was decided: what most nodes and the tier say
	Objects []string
	More    bool // there is more: prune again
	Held    bool // a restore may run: what it may read stays, for three days
	Faults  []error
}

// Prune deletes what a tier need not keep, the manifests before their segments. The error is
// ErrWrongClock when this machine's clock, or that of the tier, differs from what most say: then nothing
// is deleted; or that of the first call to the tier that has failed.
func Prune(ctx context.Context, cfg PruneConfig) (Pruned, error) {
	c, err := readCatalog(ctx, []NamedTier{cfg.Tier}, cfg.Mesh)
	if err != nil {
		return Pruned{}, err
	}
	out := Pruned{Faults: c.faults}
	if c.unlisted != nil {
		return out, c.unlisted // what is not listed may name what is
	}
	if cfg.Now.IsZero() {
		cfg.Now = time.Now()
	}
	pins, err := listPins(ctx, cfg.Tier.Tier, c.mesh) // last: reading manifests takes time
	if err != nil {
		return out, fmt.Errorf("tier %s: list: %w", cfg.Tier.Name, err)
	}
	h := retain.Holdings{Points: c.points, Segments: c.segments[0], Keep: make(map[string]retain.Keep), Left: cfg.Left, Own: cfg.Now, Tier: newestPut(c), Most: math.MaxInt, Pins: pins}
	for policy, k := range cfg.Keep {
		h.Keep[policy] = retain.Keep{For: k.For, Lost: k.Lost, Every: k.Every}
	}
	for _, p := range c.points {
		for _, id := range cfg.Pinned {
			if p.String() == id {
				h.Pinned = append(h.Pinned, p)
			}
		}
	}
	pruning, err := retain.Prune(h)
	if err != nil {
		return out, fmt.Errorf("%w: %w", ErrWrongClock, err)
	}
	out.Now, out.Held = pruning.Now, pruning.Held
	if err := out.deletePins(ctx, &cfg, pruning.Unpin); err != nil {
		return out, err
	}
	of := make(map[view.NodeID]bool)
	for _, id := range cfg.Nodes {
		of[id] = true
	}
	most := 1000
	denied := make(map[view.NodeID]bool)
	for _, o := range pruning.Delete {
		if len(of) > 0 && !of[o.Node] || denied[o.Node] {
			continue
		}
		if out.More = len(out.Objects) == most; out.More {
			break
		}
		name := segmentName(c.mesh, o.Node, o.Chain, o.Segment)
		if o.Seq > 0 {
			name = manifestName(c.mesh, o.PointID)
		}
		if !cfg.Dry {
			err := cfg.Tier.Tier.Delete(ctx, name)
			if errors.Is(err, ErrDenied) && len(of) > 1 {
				denied[o.Node] = true // others may be allowed
				continue
			}
			if err != nil {
				return out, fmt.Errorf("delete %s: %w", name, err)
			}
		}
		out.Objects = append(out.Objects, name)
	}
	return out, nil
}

// ErrWrongClock says that nothing is deleted, for the clocks differ.
var ErrWrongClock = errors.New("backup: clocks differ: nothing is deleted")

// newestPut is the latest time that the tier has told: its date is no earlier.
func newestPut(c *catalog) (t time.Time) {
	for _, p := range c.points {
		if p.Put.After(t) {
			t = p.Put
		}
	}
	for _, all := range c.segments {
		for _, s := range all {
			if s.Put.After(t) {
				t = s.Put
			}
		}
	}
	return t
}
