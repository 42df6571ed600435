package backup

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/skeinmesh/skein/internal/retain"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// ErrBadManifest says that a manifest does not read, is signed by nobody, or lies where another
// one belongs.
var ErrBadManifest = errors.New("not the manifest of a backup")

// The names of objects are MESH/NODE/CHAIN/m-SEQUENCE and MESH/NODE/CHAIN/s-RANDOM, in
// hexadecimal digits: each node writes below its own prefix.

func meshPrefix(mesh view.MeshID) string { return hex.EncodeToString(mesh[:]) + "/" }

func chainPrefix(mesh view.MeshID, node view.NodeID, chain uint64) string {
	return fmt.Sprintf("%s%016x/%016x/", meshPrefix(mesh), uint64(node), chain)
}

func manifestName(mesh view.MeshID, id retain.PointID) string {
	return fmt.Sprintf("%sm-%016x", chainPrefix(mesh, id.Node, id.Chain), id.Seq)
}

func segmentName(mesh view.MeshID, node view.NodeID, chain uint64, name [16]byte) string {
	return chainPrefix(mesh, node, chain) + "s-" + hex.EncodeToString(name[:])
}

// objectID is what the name of an object tells.
type objectID struct {
	mesh    view.MeshID
	point   retain.PointID // Seq is 0 for a segment
	segment [16]byte
}

// parseObject reads the name of an object; ok is false if it is none of a backup.
func parseObject(name string) (id objectID, ok bool) {
	parts := strings.Split(name, "/")
	if len(parts) != 4 || len(parts[0]) != 32 || len(parts[1]) != 16 || len(parts[2]) != 16 || len(parts[3]) < 3 {
		return id, false
	}
	node, err1 := strconv.ParseUint(parts[1], 16, 64)
	chain, err2 := strconv.ParseUint(parts[2], 16, 64)
	_, err3 := hex.Decode(id.mesh[:], []byte(parts[0]))
	id.point = retain.PointID{Node: view.NodeID(node), Chain: chain}
	kind, rest := parts[3][:2], parts[3][2:]
	var err4 error
	switch {
	case kind == "m-" && len(rest) == 16:
		id.point.Seq, err4 = strconv.ParseUint(rest, 16, 64)
	case kind == "s-" && len(rest) == 32:
		_, err4 = hex.Decode(id.segment[:], []byte(rest))
	default:
		return id, false
	}
	return id, errors.Join(err1, err2, err3, err4) == nil
}

// signManifest returns the object.
func signManifest(m *wire.Manifest, key ed25519.PrivateKey) []byte {
	copy(m.Key[:], key.Public().(ed25519.PublicKey))
	signed := wire.Signed{Body: wire.AppendManifest(nil, m)}
	copy(signed.Signature[:], ed25519.Sign(key, signed.Body))
	return wire.AppendSigned(nil, &signed)
}

// openManifest reads and verifies an object that was found under a name. The signature shows that
// nobody else has changed the manifest, not who its writer is: see Point.Key.
func openManifest(id objectID, data []byte) (m wire.Manifest, err error) {
	signed, err := wire.DecodeSigned(data)
	if err == nil {
		m, err = wire.DecodeManifest(signed.Body)
	}
	switch {
	case err != nil:
		return m, fmt.Errorf("%w: %w", ErrBadManifest, err)
	case !ed25519.Verify(m.Key[:], signed.Body, signed.Signature[:]):
		return m, fmt.Errorf("%w: the signature is wrong", ErrBadManifest)
	case m.Mesh != id.mesh || m.Node != id.point.Node || m.Chain != id.point.Chain || m.Sequence != id.point.Seq:
		return m, fmt.Errorf("%w: it is that of %s", ErrBadManifest, manifestName(m.Mesh, retain.PointID{Node: m.Node, Chain: m.Chain, Seq: m.Sequence}))
	}
	return m, nil
}

// readManifest fetches a manifest, and returns it with its hash.
func readManifest(ctx context.Context, tier Tier, id objectID) (m wire.Manifest, hash [32]byte, err error) {
	data, err := tier.Get(ctx, manifestName(id.mesh, id.point), MaxObject)
	if err != nil {
		return m, hash, err
	}
	m, err = openManifest(id, data)
	return m, sha256.Sum256(data), err
}

// readSegment fetches the bytes of a segment, and checks that they are those that were put.
func readSegment(ctx context.Context, tier Tier, m *wire.Manifest, ref *wire.SegmentRef) ([]byte, error) {
	name := segmentName(m.Mesh, m.Node, m.Chain, ref.Name)
	data, err := tier.Get(ctx, name, MaxObject)
	if err != nil {
		return nil, fmt.Errorf("segment %s: %w", name, err)
	}
	if uint64(len(data)) != ref.Size || sha256.Sum256(data) != ref.Sum {
		return nil, fmt.Errorf("segment %s: %w: %d bytes, of which the manifest knows %d with another hash", name, ErrChanged, len(data), ref.Size)
	}
	return data, nil
}

// ErrChanged says that an object is not as it was put.
var ErrChanged = errors.New("the object was changed or cut off")
