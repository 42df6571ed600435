package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/mesh/view"
)

// Mesh is what a Ledger needs of the mesh node. *mesh.Node has it.
type Mesh interface {
	// ID returns the NodeID.
	ID() view.NodeID
	// View returns who belongs to the mesh and who is alive.
	View() view.View
	// Call sends req to a node's handler of that method and returns its answer.
	Call(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error)
	// Handle serves a method. The handler owns req.
	Handle(method string, h func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error)) error
	// Subkey returns the mesh's key for a purpose.
	Subkey(purpose string) [32]byte
}

// Config sets up a Ledger. Mesh and Dir are required.
type Config struct {
	// Mesh is the running node.
	Mesh Mesh
	// Dir is a directory for the ledger alone, which is made if its parent is there. With it the
	// log is lost, and its key.
	Dir string
	// Mirror is where the log is copied to after each round of cosigning, as a replicated bucket:
	// peers can read it there, also when the Dir is lost. Nil: nowhere.
	Mirror Tiles
	// Witnesses is how many peers are asked to cosign, 64 at most. Zero: 8.
	Witnesses int
	// OnAlarm is called for each new alarm, and should return soon. Nil: nobody is told.
	OnAlarm func(Alarm)
	// Logger gets what there is to tell. Nil is silent.
	Logger *slog.Logger

	fs vfs.FS
}

const (
	defaultWitnesses = 8
	mostWitnesses    = 64
	callTimeout      = 10 * time.Second // for a peer's answer
)

// Errors of this package.
var (
	// ErrConfig: the Config has faults; the error lists all of them.
	ErrConfig = errors.New("ledger: bad configuration")
	// ErrClosed: the Ledger was closed.
	ErrClosed = errors.New("ledger: closed")
	// ErrLeaf: a Leaf has no known Kind, or its names are too long.
	ErrLeaf = errors.New("ledger: bad leaf")
	// ErrNotFound: no leaf of the log stands for that.
	ErrNotFound = errors.New("ledger: no such leaf")
	// ErrTampered: what is in the Dir is not what the node has signed last, so that the log
	// cannot go on from there.
	ErrTampered = errors.New("ledger: the log is not the one that was signed")
	// ErrUnproven: something is not what it is said to be, or is not signed by who is trusted.
	ErrUnproven = errors.New("ledger: not proven")
)

// Validate reports every fault of the Config at once; errors.Is finds ErrConfig.
func (c Config) Validate() error {
	var faults []error
	if c.Mesh == nil {
		faults = append(faults, errors.New("no Mesh"))
	}
	if c.Dir == "" {
		faults = append(faults, errors.New("no Dir"))
	}
	if c.Witnesses < 0 || c.Witnesses > mostWitnesses {
		faults = append(faults, fmt.Errorf("%d Witnesses, 1 to %d can be", c.Witnesses, mostWitnesses))
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrConfig, errors.Join(faults...))
}

func (c Config) withDefaults() Config {
	if c.Witnesses == 0 {
		c.Witnesses = defaultWitnesses
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if c.fs == nil {
		c.fs = vfs.Default
	}
	return c
}
