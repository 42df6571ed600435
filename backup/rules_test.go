package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/retain"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/slice"
)

func originAt(acked, from uint64) []byte {
	return wire.AppendOrigin(nil, wire.Origin{
		Mesh: view.MeshID{1}, Stamp: wire.Stamp{Acked: wire.Round{Counter: acked, Proposer: 1}, Committed: wire.Round{Counter: acked, Proposer: 1}}, From: wire.Round{Counter: from, Proposer: 1},
	})
}

// A record is lifted from log to log, as long as each reaches back to where it is.
func TestLineage(t *testing.T) {
	for _, c := range []struct {
		read uint64
		logs [][2]uint64 // acked, from
		want uint64
	}{
		{1, nil, 1},
		{1, [][2]uint64{{5, 1}}, 5},
		{1, [][2]uint64{{5, 2}}, 1},
		{3, [][2]uint64{{5, 2}}, 5},
		{1, [][2]uint64{{9, 4}, {5, 1}}, 9},
		{1, [][2]uint64{{9, 6}, {5, 1}}, 5},
		{7, [][2]uint64{{5, 1}}, 7},
	} {
		line := lineage{gone: make(map[string][][]byte)}
		for _, l := range c.logs {
			if err := line.addSection(&wire.Section{Origin: originAt(l[0], l[1])}); err != nil {
				t.Fatal(err)
			}
		}
		at, err := readTold(originAt(c.read, 0))
		if err != nil {
			t.Fatal(err)
		}
		if got := line.liftRecord(at).at.Acked; got != (purge.Round{Counter: c.want, Proposer: 1}) {
			t.Errorf("read at %d, logs %v: lifted to %v, want %d", c.read, c.logs, got, c.want)
		}
	}
}

// In a list a key that was there and is not is gone, one that has changed is not, and what was
// purged of a key is none.
func TestGoneKeys(t *testing.T) {
	var first seenVersions
	first.addVersion("stays", false, 1)
	first.addVersion("goes", false, 2)
	first.addVersion("changes", false, 3)
	first.addVersion("buried", true, 4)
	if gone := first.endList(); len(gone) > 0 {
		t.Errorf("in the first list %v is gone", gone)
	}
	second := seenVersions{before: first.now}
	if second.addVersion("stays", false, 1) || !second.addVersion("changes", false, 5) || !second.addVersion("new", false, 6) || !second.addVersion("goes", true, 7) {
		t.Error("what has changed is not known")
	}
	if gone := second.endList(); len(gone) != 1 || gone[0] != hashOfKey("goes") {
		t.Errorf("%v is gone, want %v", gone, hashOfKey("goes"))
	}
	// And what is gone is not restored, though the base has it.
	tier := newMemory()
	r := restoreOf(t, tier, []wire.Section{
		{Origin: originAt(1, 0), Records: []wire.BackupRecord{{Key: "stays", Item: []byte{1}}, {Key: "goes", Item: []byte{2}}}},
		{Origin: originAt(2, 0), Records: []wire.BackupRecord{{Key: "new", Item: []byte{3}}}, Gone: []uint64{hashOfKey("goes")}},
	})
	line := lineage{gone: make(map[string][][]byte)}
	items, err := r.readChoice(context.Background(), retain.Choice{Slice: retain.Slice{Bucket: "def"}, Points: []retain.Place{{}}}, &line)
	if err != nil || len(items) != 2 || items["stays"].item == nil || items["new"].item == nil {
		t.Errorf("%v, %v", items, err)
	}
}

// target notes what is to be imported.
type target struct{ got []slice.Old }

func (g *target) Import(_ context.Context, _ []byte, in []slice.Old) (slice.Imported, error) {
	g.got = append(g.got, in...)
	return slice.Imported{}, nil
}

// A record comes as one of which all is known only if all that was backed up reads, and a later
// backup can tell what was purged since.
func TestRecordsThatNobodyVouchesFor(t *testing.T) {
	for _, c := range []struct {
		from        uint64
		torn, whole bool
	}{{3, false, false}, {2, false, true}, {2, true, false}} {
		g := &target{}
		r := restoreOf(t, newMemory(), nil)
		r.catalog.mesh = view.MeshID{1}
		r.cfg = &RestoreConfig{Target: g}
		line := lineage{gone: make(map[string][][]byte), torn: c.torn}
		if err := line.addSection(&wire.Section{Origin: originAt(5, c.from)}); err != nil {
			t.Fatal(err)
		}
		at, err := readTold(originAt(2, 0))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.importItems(context.Background(), retain.Slice{}, map[string]oldItem{"k": {[]byte{1}, at}}, &line); err != nil {
			t.Fatal(err)
		}
		if len(g.got) != 1 || g.got[0].Whole != c.whole {
			t.Errorf("%+v: %+v", c, g.got)
		}
	}
}

// restoreOf is a restore that has read one manifest, of segments with one section each.
func restoreOf(t *testing.T, tier *memory, sections []wire.Section) *restore {
	t.Helper()
	r := &restore{catalog: &catalog{tiers: []NamedTier{{"t", tier}}, manifests: make(map[retain.Place]wire.Manifest)}, inventories: make(map[retain.Place]*wire.Inventory)}
	m := wire.Manifest{}
	ref := wire.SliceRef{}
	r.cache.all = make(map[segmentAt]cachedSegment)
	for i, s := range sections {
		s.Def = []byte("def")
		name := [16]byte{byte(i + 1)}
		m.Segments = append(m.Segments, wire.SegmentRef{Name: name})
		ref.Segments = append(ref.Segments, i)
		r.cache.all[segmentAt{0, name}] = cachedSegment{segment: wire.Segment{Sections: []wire.Section{s}}}
	}
	r.catalog.manifests[retain.Place{}] = m
	r.inventories[retain.Place{}] = &wire.Inventory{Buckets: [][]byte{[]byte("def")}, Slices: []wire.SliceRef{ref}}
	return r
}

// A manifest that was changed, or that lies where another one belongs, is not taken.
func TestManifestOfAnother(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tier := newMemory()
		old := w.newMesh(1, 16, "old")
		w.put(old[0], "k", "v")
		time.Sleep(time.Minute)
		w.open(old[0], 0, map[string]Tier{"t": tier})
		w.backUp("t", old[0])
		name := tier.names()[0]
		id, ok := parseObject(name)
		if !ok || id.point.Seq != 1 {
			t.Fatalf("%s is %+v", name, id)
		}
		data := tier.objects[name]
		if _, err := openManifest(id, data); err != nil {
			t.Fatal(err)
		}
		signed, err := wire.DecodeSigned(bytes.Clone(data))
		if err != nil {
			t.Fatal(err)
		}
		signed.Body[len(signed.Body)-40]++
		if _, err := openManifest(id, wire.AppendSigned(nil, &signed)); !errors.Is(err, ErrBadManifest) {
			t.Errorf("one that was changed: %v", err)
		}
		for i, other := range []objectID{{id.mesh, retain.PointID{Node: id.point.Node, Chain: id.point.Chain, Seq: 2}, id.segment}, {view.MeshID{}, id.point, id.segment}} {
			if _, err := openManifest(other, data); !errors.Is(err, ErrBadManifest) {
				t.Errorf("%d: in the place of another one: %v", i, err)
			}
		}
	})
}

// A node that joins leads slices of others: what these have backed up stays in their manifests.
func TestWhatOthersLeadNowIsKept(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tier := newMemory()
		old := w.newMesh(1, 16, "old")
		for i := range 40 {
			w.put(old[0], fmt.Sprint("k", i), "v")
		}
		time.Sleep(time.Minute)
		w.open(old[0], 0, map[string]Tier{"t": tier})
		w.backUp("t", old[0])
		joined := w.start(1, 16, "old")
		w.openBuckets([]*box{joined})
		w.put(old[0], "k0", "w")
		time.Sleep(time.Minute)
		d, err := old[0].backup.Now(context.Background(), "all", "t")
		if err != nil || d.Slices == 0 || d.Slices == 16 {
			t.Fatalf("%+v, %v", d, err)
		}
		if n := len(old[0].backup.tiers["t"].chains["all"].inventory.Slices); n != 16 {
			t.Errorf("%d slices of 16 are named, of which it leads %d", n, d.Slices)
		}
		want := w.items(old[0])
		if d.Changed == 0 {
			want["k0"] = "v" // the other one leads it, and has not backed it up
		}
		fresh := w.newMesh(1, 8, "new")
		w.restore(fresh[0], old[0].node.Mesh(), tier)
		w.wantItems(fresh[0], want)
	})
}

// halfList lists some objects, and fails.
type halfList struct{ *memory }

func (h halfList) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		for o, err := range h.memory.List(ctx, prefix) {
			if strings.Contains(o.Name, "/s-") || err != nil {
				break
			}
			if !yield(o, nil) {
				return
			}
		}
		yield(Object{}, errors.New("the link is gone"))
	}
}

func TestPruneOfHalfAList(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tier := newMemory()
		old := w.newMesh(1, 16, "old")
		w.put(old[0], "k", "v")
		time.Sleep(time.Minute)
		w.open(old[0], 0, map[string]Tier{"t": tier})
		w.backUp("t", old[0])
		if _, err := Prune(context.Background(), PruneConfig{Tier: NamedTier{"t", halfList{tier}}}); err == nil || !strings.Contains(err.Error(), "the link is gone") {
			t.Errorf("%v", err)
		}
	})
}
