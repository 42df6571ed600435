package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/skeinmesh/skein/mesh/view"
)

// MaxProof is the longest proof, in hashes.
const MaxProof = 64

// Verdict is what a witness has to say to a checkpoint.
type Verdict uint8

const (
	Agreed     Verdict = 1 + iota // it goes on from what was seen: cosign, and remember it
	SeenOther                     // another size was seen: prove that it goes on from there
	Forked                        // it cannot go on from what was seen: two histories
	RolledBack                    // the log has forgotten leaves, and says so
)

// Judge decides on a checkpoint that a log asks to have cosigned. Known is the last one of that
// log that the witness knows, zero for none; both are signed by the log. The log proves the
// growth from old leaves.
//
//	old is that of known | size    | root or proof | verdict
//	any                  | equal   | differs       | Forked: two signed roots of one size
//	no                   |         |               | SeenOther
//	yes                  | equal   | same          | Agreed
//	yes                  | smaller |               | RolledBack: it knows what it has signed
//	yes                  | larger  | proven        | Agreed
//	yes                  | larger  | not proven    | Forked
//
// A request that was overtaken by a later one names an old size that is not known any more, so it
// is never taken for a rollback.
func Judge(known Checkpoint, old int64, c Checkpoint, proof []tlog.Hash) Verdict {
	switch {
	case c.Size == known.Size && known.Origin != "":
		if c.Root != known.Root {
			return Forked
		}
		if old != known.Size {
			return SeenOther
		}
		return Agreed
	case old != known.Size:
		return SeenOther
	case c.Size < known.Size:
		return RolledBack
	case !GrowsFrom(known, c, proof):
		return Forked
	}
	return Agreed
}

// GrowsFrom tells whether the proof shows that the log of c goes on from that of old.
func GrowsFrom(old, c Checkpoint, proof []tlog.Hash) bool {
	if old.Size == 0 {
		return true
	}
	return len(proof) <= MaxProof && tlog.CheckTree(proof, c.Size, c.Root, old.Size, old.Root) == nil
}

// JudgeHeads decides on two checkpoints that the log has signed and two witnesses have seen. Older
// has no more leaves than newer; where it has fewer, the log was asked to prove that newer goes on
// from it: has is how many leaves it then had.
func JudgeHeads(older, newer Checkpoint, has int64, proof []tlog.Hash) Verdict {
	switch {
	case older.Size == newer.Size && older.Root == newer.Root:
		return Agreed
	case older.Size == newer.Size:
		return Forked
	case has < newer.Size:
		return RolledBack
	case !GrowsFrom(older, newer, proof):
		return Forked
	}
	return Agreed
}

// JudgeOwn decides on a checkpoint of the log itself that a witness has shown to it, and that
// it has signed: now is what the log is, and root what it was at the size of seen.
func JudgeOwn(now, seen Checkpoint, root tlog.Hash) Verdict {
	switch {
	case seen.Size > now.Size:
		return RolledBack
	case root != seen.Root:
		return Forked
	}
	return Agreed
}

// Choose returns which k of the members are the witnesses of a node's log. Who joins or goes changes no
// other.
func Choose(node view.NodeID, members []view.NodeID, k int) []view.NodeID {
	type weighed struct {
		sum [sha256.Size]byte
		id  view.NodeID
	}
	list := make([]weighed, len(members))
	for i, m := range members {
		list[i] = weighed{sha256.Sum256(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(node)), uint64(m))), m}
	}
	slices.SortFunc(list, func(a, b weighed) int { return bytes.Compare(a.sum[:], b.sum[:]) })
	chosen := make([]view.NodeID, min(k, len(list)))
	for i := range chosen {
		chosen[i] = list[i].id
	}
	return chosen
}
