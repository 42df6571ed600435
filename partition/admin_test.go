package partition

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh"
)

var _ Caller = (*mesh.Client)(nil)

// allSet fails if a field of a Status has its zero value: the test it is for would
// not notice that the field was lost.
func allSet(t *testing.T, st Status) {
	t.Helper()
	for v, i := reflect.ValueOf(st), 0; i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not set", v.Type().Field(i).Name)
		}
	}
}

func sameStatus(t *testing.T, got, want Status) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// dial makes a client of a box, as a program on a machine of its own has one.
func (w *world) dial(b *box) *mesh.Client {
	w.t.Helper()
	c, err := mesh.Dial(context.Background(), mesh.ClientConfig{
		Addr: b.mesh.Listen, Secret: b.mesh.Secret, MeshName: b.mesh.MeshName, Shards: b.mesh.Shards,
		Network: w.net.Host(netip.AddrFrom4([4]byte{10, 9, 9, 9})),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// A client is told what the node itself knows, before a cut and during it; on the
// node that opens no Partition nobody answers, on one that closed it an error does.
func TestInspect(t *testing.T) {
	inWorld(t, 3, lan, nil, func(w *world) {
		b, ctx := w.boxes[0], context.Background()
		c := w.dial(b)
		defer func() { _ = c.Close() }()
		compare := func(words ...string) {
			t.Helper()
			got, err := Inspect(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			want := b.part.Status()
			if !reflect.DeepEqual(got.Status.Leader, want.Leader) || !slices.Equal(got.Status.Component, want.Component) || got.Status.Situation != want.Situation ||
				!slices.Equal(got.Status.Evidence, want.Evidence) || got.Status.Mode != want.Mode || got.Status.Since.UnixMilli() != want.Since.UnixMilli() {
				t.Errorf("got  %+v\nwant %+v", got.Status, want)
			}
			if got.Text != b.part.Text() {
				t.Errorf("the client is shown\n%s", got.Text)
			}
			checkWords(t, got.Text, words...)
			svg, err := Draw(ctx, c)
			if err != nil || string(svg) != string(b.part.SVG()) {
				t.Errorf("drawn otherwise, %v:\n%s", err, svg)
			}
		}
		compare("situation whole since", "component 1 (this node's), 3 nodes", "leads mesh (term ")
		w.net.Partition(w.addrs(b), w.addrs(w.boxes[1:]...))
		w.until(time.Minute, "alone, and led by itself", func() bool { return b.part.Status().Mode == Alone && b.leads() })
		w.until(time.Minute, "it says so", func() bool { return b.part.Status().Leader.Here })
		compare("mode alone", "situation partition suspected since", "component 1 (this node's), 1 node", "* node-0 zone-0 alive stores leads mesh (term ", "out of contact, 2 nodes")
		if err := b.part.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Inspect(ctx, c); err == nil || errors.Is(err, mesh.ErrNoHandler) || !strings.Contains(err.Error(), ErrClosed.Error()) {
			t.Errorf("a closed Partition answers with %v", err)
		}
	})
}

func TestInspectWithoutAPartition(t *testing.T) {
	inWorld(t, 2, lan, nil, func(w *world) {
		b := w.boxes[1]
		b.kill()
		w.until(time.Minute, "it is missed", func() bool { return len(w.boxes[0].part.Status().Component) == 1 })
		b.mesh.Network = w.net.Host(b.addr)
		var err error
		if b.node, err = mesh.Start(context.Background(), b.mesh); err != nil {
			t.Fatal(err)
		}
		b.all = append(b.all, b.node)
		c := w.dial(b)
		defer func() { _ = c.Close() }()
		if _, err := Inspect(context.Background(), c); !errors.Is(err, mesh.ErrNoHandler) {
			t.Errorf("a node without a Partition answers with %v", err)
		}
		if svg, err := Draw(context.Background(), c); !errors.Is(err, mesh.ErrNoHandler) || svg != nil {
			t.Errorf("a node without a Partition draws %q, %v", svg, err)
		}
	})
}

// oneAnswer is a node that gives one answer.
type oneAnswer []byte

func (a oneAnswer) Call(context.Context, string, []byte) ([]byte, error) { return a, nil }

func TestInspectOfNonsense(t *testing.T) {
	if r, err := Inspect(t.Context(), oneAnswer("nonsense")); err == nil || !strings.Contains(err.Error(), "admin/partition") {
		t.Errorf("%+v, %v", r, err)
	}
}
