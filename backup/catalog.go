package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/retain"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// catalog is what is at some tiers, of one mesh.
type catalog struct {
	mesh      view.MeshID
	tiers     []NamedTier
	points    []retain.Point
	manifests map[retain.Place]wire.Manifest
	listed    []objectID             // those of points
	segments  [][]retain.Segment     // by tier
	keep      map[string]retain.Keep // by policy, as manifests say
	faults    []error
	unlisted  error // why a tier could not be listed whole
}

// NamedTier is a tier to read from. The first ones are preferred.
type NamedTier struct {
	Name string
	Tier Tier
}

// ErrNoBackup says that there is nothing to restore.
var ErrNoBackup = errors.New("there is no backup")

// ErrManyMeshes says that tiers have backups of several meshes, and none was named.
var ErrManyMeshes = errors.New("there are backups of several meshes: name one")

// readCatalog lists tiers and reads all manifests of a mesh.
func readCatalog(ctx context.Context, tiers []NamedTier, mesh view.MeshID) (*catalog, error) {
	c, err := listCatalog(ctx, tiers, mesh)
	if err == nil {
		err = c.readPoints(ctx)
	}
	return c, err
}

// listCatalog lists tiers for a mesh; the zero one stands for the only mesh that there is. A tier that
// cannot be listed is a fault, and the others count.
func listCatalog(ctx context.Context, tiers []NamedTier, mesh view.MeshID) (*catalog, error) {
	c := &catalog{tiers: tiers, manifests: make(map[retain.Place]wire.Manifest), keep: make(map[string]retain.Keep), segments: make([][]retain.Segment, len(tiers))}
	meshes := make(map[view.MeshID]bool)
	for i, t := range tiers {
		prefix := ""
		if mesh != (view.MeshID{}) {
			prefix = meshPrefix(mesh)
		}
		for o, err := range t.Tier.List(ctx, prefix) {
			if err != nil {
				c.unlisted = fmt.Errorf("tier %s: list: %w", t.Name, err)
				c.faults = append(c.faults, c.unlisted)
				break
			}
			id, ok := parseObject(o.Name)
			if !ok {
				continue // somebody else's
			}
			meshes[id.mesh] = true
			if id.point.Seq > 0 {
				c.listed = append(c.listed, id)
				c.points = append(c.points, retain.Point{PointID: id.point, Tier: i, Put: o.Time})
			} else {
				c.segments[i] = append(c.segments[i], retain.Segment{SegmentID: retain.SegmentID{Node: id.point.Node, Chain: id.point.Chain, ID: id.segment}, Put: o.Time})
			}
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	switch {
	case mesh != (view.MeshID{}):
		c.mesh = mesh
	case len(meshes) > 1:
		var names []string
		for m := range meshes {
			names = append(names, m.String())
		}
		slices.Sort(names)
		return nil, fmt.Errorf("%w: %v", ErrManyMeshes, names)
	}
	for m := range meshes {
		c.mesh = m
	}
	return c, nil
}

// readPoints reads all manifests.
func (c *catalog) readPoints(ctx context.Context) error {
	for i, id := range c.listed {
		if err := c.readPoint(ctx, &c.points[i], id); err != nil {
			return err
		}
	}
	return nil
}

// readPoint reads one manifest. One that does not read, or verify, is told.
func (c *catalog) readPoint(ctx context.Context, p *retain.Point, id objectID) error {
	m, hash, err := readManifest(ctx, c.tiers[p.Tier].Tier, id)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		p.Fault = err
		c.faults = append(c.faults, fmt.Errorf("tier %s: manifest %s: %w", c.tiers[p.Tier].Name, p.PointID, err))
		return nil
	}
	p.Policy, p.Time, p.Hash, p.Previous = m.Policy, m.Time, hash, m.Previous
	for i := range m.Segments {
		p.Segments = append(p.Segments, m.Segments[i].Name)
	}
	c.manifests[retain.Place{Tier: p.Tier, PointID: p.PointID}] = m
	if k, ok := c.keep[m.Policy]; !ok || m.Keep > 0 && (k.For == 0 || m.Keep < k.For) {
		c.keep[m.Policy] = retain.Keep{For: m.Keep} // the shortest there ever was
	}
	return nil
}

// Faults of chains. What is beside them can be restored.
var (
	ErrMissing  = errors.New("manifests before this one are missing, and too young to have been deleted")
	ErrUnlinked = errors.New("the manifest follows another one than there is")
	ErrForked   = errors.New("there are two manifests of this number")
)

// refuseSigners has no manifest count that others have signed; none of them: all count.
func (c *catalog) refuseSigners(signers [][32]byte) (faults []error) {
	for i := range c.points {
		p := &c.points[i]
		m, ok := c.manifests[retain.Place{Tier: p.Tier, PointID: p.PointID}]
		if ok && len(signers) > 0 && !slices.Contains(signers, m.Key) {
			p.Fault = fmt.Errorf("%w: %x", ErrSigner, m.Key)
			faults = append(faults, fmt.Errorf("tier %s: manifest %s: %w", c.tiers[p.Tier].Name, p.PointID, p.Fault))
		}
	}
	return faults
}

// ErrSigner says that a manifest is signed by somebody else than it should be.
var ErrSigner = errors.New("the manifest is signed with another key")

// signerFaults tells where the key changes within a chain.
func (c *catalog) signerFaults() (faults []error) {
	first := make(map[retain.Place][32]byte) // by chain: Seq is 0
	for _, p := range slices.SortedFunc(maps.Keys(c.manifests), func(a, b retain.Place) int { return cmp.Compare(a.Seq, b.Seq) }) {
		of := p
		of.Seq = 0
		key := c.manifests[p].Key
		if k, ok := first[of]; ok && k != key {
			faults = append(faults, fmt.Errorf("tier %s: manifest %s: %w than those before", c.tiers[p.Tier].Name, p.PointID, ErrSigner))
		} else if !ok {
			first[of] = key
		}
	}
	return faults
}

// chainFaults tells of chains that were cut off or forked.
func (c *catalog) chainFaults(now time.Time) (out []error) {
	byTier := make([][]retain.Point, len(c.tiers))
	for _, p := range c.points {
		byTier[p.Tier] = append(byTier[p.Tier], p)
	}
	words := map[retain.FaultKind]error{retain.Missing: ErrMissing, retain.Unlinked: ErrUnlinked, retain.Forked: ErrForked}
	for i, points := range byTier {
		for _, f := range retain.CheckChains(points, nil, c.keep, now) {
			if err := words[f.Kind]; err != nil { // what does not read is told already
				out = append(out, fmt.Errorf("tier %s: %s: %w", c.tiers[i].Name, f.Point, err))
			}
		}
	}
	return append(out, c.signerFaults()...)
}
