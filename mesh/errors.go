package mesh

import (
	"errors"
	"fmt"
)

// Errors of Start.
var (
	// ErrConfig: the Config has faults; the error lists all of them.
	ErrConfig = errors.New("mesh: bad configuration")
	// ErrNoSecret: no mesh secret was given. There is no mode without one.
	ErrNoSecret = errors.New("mesh: no secret")
	// ErrLocked: another node, here or in another process, has the directory
	// open.
	ErrLocked = errors.New("mesh: data directory is in use")
	// ErrNewerFormat: a newer release wrote the directory. It was left as it
	// is.
	ErrNewerFormat = errors.New("mesh: data directory has a newer format")
	// ErrOtherMesh: the directory belongs to another mesh than that of the secret,
	// MeshName and Shards. It was left as it is.
	ErrOtherMesh = errors.New("mesh: data directory belongs to another mesh")
	// ErrOtherDir: the directory belongs to a node that stores where this one is not
	// to. It was left as it is.
	ErrOtherDir = errors.New("mesh: data directory belongs to a node that stores")
	// ErrPortTaken: the port to listen on is in use.
	ErrPortTaken = errors.New("mesh: port is taken")
)

// Reasons for which a running node stops by itself; see Node.Err.
var (
	// ErrIdentityConflict: another node runs under the same NodeID or the
	// same Name, and it was there first. If it is the same NodeID, this
	// directory is a copy: the next Start sets its data aside and takes a new
	// NodeID.
	ErrIdentityConflict = errors.New("mesh: identity is in use by another node")
	// ErrRolledBack: others have seen a later life of this NodeID, so the
	// directory was restored from an old image or copied. The next Start sets
	// its data aside and takes a new NodeID.
	ErrRolledBack = errors.New("mesh: data directory was rolled back or copied")
	// ErrEvicted: the mesh gave this node up for good, for example because a
	// new disk took over its name, and it has heard of it while it ran. The next
	// Start sets its data aside and takes a new NodeID, as does the first one where
	// others can say so at once.
	ErrEvicted = errors.New("mesh: node was evicted")

	// ErrInContact: the member is there, so it cannot be given up.
	ErrInContact = errors.New("mesh: member is in contact")

	// ErrNoMember: nobody of that id belongs to the mesh.
	ErrNoMember = errors.New("mesh: no such member")
)

// Errors of a running node's methods.
var (
	// ErrClosed: the node was closed or has stopped; see Node.Err.
	ErrClosed = errors.New("mesh: node is closed")
	// ErrUnreachable: the other node could not be reached, or the connection
	// broke before the reply came: a request may have been carried out.
	ErrUnreachable = errors.New("mesh: node is unreachable")
	// ErrNoHandler: the other node has no handler for the method.
	ErrNoHandler = errors.New("mesh: no handler for method")
	// ErrOverloaded: the other node has no room for the request, which was
	// not carried out.
	ErrOverloaded = errors.New("mesh: node is overloaded")
	// ErrTooLarge: the request or the reply is too large.
	ErrTooLarge = errors.New("mesh: message is too large")
	// ErrMethod: the name of a method is empty, too long, reserved or taken.
	ErrMethod = errors.New("mesh: bad method name")
	// ErrTopic: the name of a topic is empty, too long or not printable.
	ErrTopic = errors.New("mesh: bad topic")
	// ErrNoSubscription: the node does not keep the subscription of this Client any
	// more, because nobody has read it for half a minute.
	ErrNoSubscription = errors.New("mesh: the node has ended the subscription")
	// ErrAdminOff: the node does not answer admin requests; see
	// Config.AllowAdmin.
	ErrAdminOff = errors.New("mesh: admin requests are not allowed")
)

// RemoteError is what a handler on another node failed with. A handler may
// return one to choose the code; any other error arrives with code "error".
type RemoteError struct {
	Code string // for programs; at most 64 bytes
	Text string // for people; at most 1 KiB
}

// Error returns the code and the text.
func (e *RemoteError) Error() string { return fmt.Sprintf("mesh: remote error %s: %s", e.Code, e.Text) }
