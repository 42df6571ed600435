package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/ledger"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

var (
	_ Handler = (*mesh.Node)(nil)
	_ Caller  = (*mesh.Client)(nil)
)

// A proof of which any bit is flipped proves nothing.
func TestAnyFlippedBitIsFound(t *testing.T) {
	ctx := context.Background()
	l := openLone(t, vfs.NewMem())
	appendLeaves(t, l, 0, 20)
	index, err := l.Find(ctx, testLeaf(7))
	if err != nil {
		t.Fatal(err)
	}
	proof, err := l.Prove(ctx, index, testLeaf(7))
	if err != nil {
		t.Fatal(err)
	}
	log, _ := l.Keys()
	for i := range proof {
		for bit := range 8 {
			bad := bytes.Clone(proof)
			bad[i] ^= 1 << bit
			if got, err := Verify(bad, Trust{Log: log}); !errors.Is(err, ErrUnproven) {
				t.Fatalf("byte %d, bit %d: %+v, %v", i, bit, got, err)
			}
		}
	}
}

// desk is a node that Clients ask. forge changes its answers.
type desk struct {
	answer func(context.Context, view.NodeID, []byte) ([]byte, error)
	forge  func([]byte) []byte
}

func (d *desk) Handle(_ string, h func(context.Context, view.NodeID, []byte) ([]byte, error)) error {
	d.answer = h
	return nil
}

func (d *desk) Call(ctx context.Context, _ string, req []byte) ([]byte, error) {
	text, err := d.answer(ctx, 0, req)
	if err == nil && d.forge != nil {
		text = d.forge(text)
	}
	return text, err
}

// A program gets proofs of the buckets that were named, and believes no answer that proves something else.
func TestClientsAskForProofs(t *testing.T) {
	ctx := context.Background()
	l := openLone(t, vfs.NewMem())
	m := &bucketModel{keys: map[string][]version.Sibling{}}
	for i, key := range []string{"k1\xff", "k2"} {
		m.keys[key] = []version.Sibling{{Dot: version.Dot{A: version.Actor{Store: 7, Session: 1, Seq: uint32(i)}, N: 1}, Value: []byte("v")}}
		if _, err := l.Append(ctx, leafOf("model", key, &m.keys[key][0])); err != nil {
			t.Fatal(err)
		}
	}
	d := &desk{}
	if err := l.HandleAdmin(d, m); err != nil {
		t.Fatal(err)
	}
	c := NewClient(d)
	got, err := c.ProveKey(ctx, "model", "k1\xff")
	log, cosign := l.Keys()
	if err != nil || got.Log != log || got.Node != 7 || got.Proven.Leaf.Key != "k1\xff" {
		t.Fatalf("%+v, %v", got, err)
	}
	if a, b, err := c.Keys(ctx); err != nil || a != log || b != cosign {
		t.Error(a, b, err)
	}
	if _, err := c.ProveKey(ctx, "model", "k3"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := c.ProveKey(ctx, "other", "k2"); err == nil || !strings.Contains(err.Error(), "has not named it") {
		t.Error(err)
	}
	if _, err := d.answer(ctx, 0, make([]byte, maxRequest+1)); err == nil {
		t.Error("a request of any size is read")
	}
	if _, err := d.answer(ctx, 0, []byte("{")); err == nil {
		t.Error("a request that does not read is answered")
	}
	other, err := l.ProveKey(ctx, m, "k2")
	if err != nil {
		t.Fatal(err)
	}
	for name, forge := range map[string]func([]byte) []byte{
		"of another key": func([]byte) []byte { return mustJSON(adminAnswer{Proof: other.Proof, Of: log}) },
		"none":           func([]byte) []byte { return mustJSON(adminAnswer{Of: log}) },
		"no JSON":        func(b []byte) []byte { return b[1:] },
		"too long":       func([]byte) []byte { return make([]byte, maxAnswer+1) },
	} {
		d.forge = forge
		if got, err := c.ProveKey(ctx, "model", "k1\xff"); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func mustJSON(a adminAnswer) []byte {
	text, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	return text
}

// A whole log is verified with its cosignatures, also when it has grown since. One that somebody has
// written anew by the same key, or that nobody has cosigned, is not.
func TestWholeLogIsVerifiedByItsWitnesses(t *testing.T) {
	inWorld(t, 3, 0, func(w *world) {
		ctx, b := context.Background(), w.boxes[0]
		log, _ := b.Keys()
		trust := Trust{Log: log, Quorum: 2}
		for _, other := range w.boxes[1:] {
			_, cosign := other.Keys()
			trust.Witnesses = append(trust.Witnesses, cosign)
		}
		files := b.own.files
		b.append(t, 0, 300)
		if _, err := b.Checkpoint(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := VerifyLog(ctx, files, trust); !errors.Is(err, ErrUnproven) {
			t.Errorf("without cosignatures: %v", err)
		}
		w.round()
		b.append(t, 300, 400)
		if _, err := b.Checkpoint(ctx); err != nil {
			t.Fatal(err)
		}
		if v, err := VerifyLog(ctx, files, trust); err != nil || v.Size != 400 || v.CosignedSize != 300 || len(v.Cosigned) != 2 {
			t.Errorf("%+v, %v", v, err)
		}
		trust.Quorum = 3
		if _, err := VerifyLog(ctx, files, trust); !errors.Is(err, ErrUnproven) {
			t.Errorf("three of two: %v", err)
		}
		trust.Quorum = 2
		forged := &shared{tiles: map[string][]byte{}} // by who has the key of the log
		m := memoryLog{tiles: map[string][]byte{}}
		bundle := []byte(nil)
		for i := range 200 {
			entry := ledger.AppendLeaf(nil, ledger.Leaf{Kind: ledger.Event, Dot: testLeaf(i).Dot})
			m.add(string(entry))
			bundle = ledger.AppendEntry(bundle, entry)
		}
		for path, data := range m.tiles {
			forged.tiles[b.own.key.Path()+path] = data
		}
		forged.tiles[b.own.key.Path()+ledger.EntriesPath(0)] = bundle
		forged.tiles[b.own.key.Path()+checkpointPath] = b.own.signer.Sign(200, m.tree.Root())
		forged.tiles[b.own.key.Path()+cosignedPath] = b.asker.cosigned().note
		if v, err := VerifyLog(ctx, forged, Trust{Log: log}); err != nil || v.Size != 200 {
			t.Errorf("by its key alone: %+v, %v", v, err)
		}
		if v, err := VerifyLog(ctx, forged, trust); !errors.Is(err, ErrUnproven) {
			t.Errorf("a log that was written anew: %+v, %v", v, err)
		}
	})
}
