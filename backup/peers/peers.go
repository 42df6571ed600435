// Package peers is a tier of backups on other nodes of the mesh.
//
// An object goes to Copies nodes, in zones other than this node's as far as there are any. Each node
// that has a Store keeps objects of others there, of each node as much as its quota allows. The
// names of a node's objects begin with the mesh and its NodeID, and nobody else may put or delete
// them, but every node may read them: what a lost node backed up is read by another one. They are
// sealed.
//
// Objects move in pieces, so that what else nodes say to each other is not held up. Copies that are
// lost with a node are not made anew, and objects of nodes that are gone for good stay until they are
// deleted in the Stores.
package peers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	defaultCopies  = 2
	defaultTimeout = 30 * time.Second
)

var (
	// ErrConfig says that the Config has faults; the error lists all of them.
	ErrConfig = errors.New("backup/peers: bad configuration")
	// ErrFewCopies says that fewer nodes than wanted took an object. It may be tried again.
	ErrFewCopies = errors.New("backup/peers: too few nodes took it")
	// ErrAway says that nodes which may have what was asked for are out of reach.
	ErrAway = errors.New("backup/peers: nodes are out of reach")
)

// Mesh is what a Tier needs of its node. *mesh.Node has it.
type Mesh interface {
	// ID returns the NodeID.
	ID() view.NodeID
	// Mesh names the mesh.
	Mesh() view.MeshID
	// View returns who belongs to the mesh and who is alive.
	View() view.View
	// Call sends req to a node's handler of that method and returns its answer.
	Call(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error)
	// Handle serves a method. The handler owns req.
	Handle(method string, h func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error)) error
}

// Config sets up a Tier. Mesh is required.
type Config struct {
	Mesh Mesh
	// Store keeps the objects of others, those that go on behind the mesh's id and a slash. Nothing
	// else is to change them. Nil: this node keeps none, and others pass it over.
	Store backup.Tier
	// Quota is how many bytes one other node may have in Store. 0: as much as there is room for.
	Quota int64
	// Copies is how many nodes take an object. 0: 2.
	Copies int
	// MinCopies is with how many a Put is content where there are no more nodes in contact. While
	// fewer nodes than that are out of reach, each object that was put is found. 0: 1.
	MinCopies int
	// Holders tells which members are asked to keep objects. It must say the same at all nodes, and
	// each of these members must run a Tier. Nil: those that store items.
	Holders func(view.Member) bool
	// Timeout is for how long one piece may take. 0: 30 s.
	Timeout time.Duration
}

// Validate reports every fault of the Config at once; errors.Is finds ErrConfig.
func (c Config) Validate() error {
	var faults []error
	if c.Mesh == nil {
		faults = append(faults, errors.New("no Mesh"))
	}
	if c.Quota < 0 {
		faults = append(faults, fmt.Errorf("a Quota of %d is below 0", c.Quota))
	}
	if c.Copies < 0 || c.Copies > 100 {
		faults = append(faults, fmt.Errorf("the number of Copies %d is not within 0 and 100", c.Copies))
	} else if d := c.withDefaults(); c.MinCopies < 0 || d.MinCopies > d.Copies {
		faults = append(faults, fmt.Errorf("MinCopies %d is not within 0 and the %d of Copies", c.MinCopies, d.Copies))
	}
	if c.Timeout < 0 {
		faults = append(faults, fmt.Errorf("a Timeout of %v is below 0", c.Timeout))
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrConfig, errors.Join(faults...))
}

func (c Config) withDefaults() Config {
	if c.Copies == 0 {
		c.Copies = defaultCopies
	}
	if c.MinCopies == 0 {
		c.MinCopies = 1
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Holders == nil {
		c.Holders = func(m view.Member) bool { return m.Storing }
	}
	return c
}

// Tier is a backup.Tier on other nodes, and serves these. It ends with its node.
type Tier struct {
	cfg Config
}

var _ backup.Tier = (*Tier)(nil)

// New serves the objects of others, and returns the tier that they are to this node. A node has one.
// The error is ErrConfig, or that of Mesh.Handle.
func New(cfg Config) (*Tier, error) {
	return newTier(cfg, func(node view.NodeID) string { return Prefix(cfg.Mesh.Mesh(), node) })
}

func newTier(cfg Config, prefixOf func(view.NodeID) string) (*Tier, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	h := &holder{cfg: cfg, prefixOf: prefixOf, pending: make(map[view.NodeID]int64), uploads: newUploads()}
	if err := cfg.Mesh.Handle(method, h.answerAsk); err != nil {
		return nil, err
	}
	return &Tier{cfg: cfg}, nil
}

// Prefix is that of the names of a node's objects: Put and Delete refuse others, but for pins, see
// backup.IsPin.
func Prefix(mesh view.MeshID, node view.NodeID) string {
	return mesh.String() + "/" + node.String() + "/"
}
