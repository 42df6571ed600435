package wire

import (
	"bytes"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

var updateMesh = flag.Bool("update-mesh", false, "write golden files of the mesh that do not exist yet")

// meshFormat is one format of the mesh with a sample of it.
type meshFormat struct {
	name   string
	sample any
	encode func(any) []byte
	decode func([]byte) (any, error)
}

func format[T any](name string, sample T, encode func(T) []byte, decode func([]byte) (T, error)) meshFormat {
	return meshFormat{
		name, sample,
		func(v any) []byte { return encode(v.(T)) },
		func(b []byte) (any, error) { return decode(b) },
	}
}

func appended[T any](fn func([]byte, T) []byte) func(T) []byte {
	return func(v T) []byte { return fn(nil, v) }
}

func encodeHello(h Hello) []byte { return AppendHello(nil, &h) }

func someView() view.View {
	return view.View{
		Mesh: view.MeshID{15: 7}, Self: 5, Version: 70000, Roster: 1 << 60,
		Members: []view.Member{{
			ID: 5, Name: "press-1", Zone: "line-1", Addr: netip.MustParseAddrPort("[fd00::5]:7800"), Weight: 8, Storing: true,
			Status: view.Leaving, State: view.Suspect, Boot: 4, Since: time.UnixMilli(-5).UTC(), RTT: 3 * time.Millisecond,
		}, {ID: 6, State: view.Departed, Status: view.Evicted, Since: time.UnixMilli(1 << 42).UTC()}},
	}
}

func meshFormats() []meshFormat {
	id := Identity{Node: 1<<63 + 1, Mesh: view.MeshID{1, 2, 3}, Seed: [32]byte{31: 9}, Boot: 300, Storing: true, End: EndRolled}
	told := someView()
	told.Members[0].Tags, told.Members[0].Capabilities = map[string]string{"line": "3", "a": ""}, []string{"plc", "press"}
	return []meshFormat{
		format("identity", id, appended(AppendIdentity), DecodeIdentity),
		format("owner", Owner{Node: 77, Initialised: true}, appended(AppendOwner), DecodeOwner),
		format("roster-file.v2", someRosterFile(), appended(AppendRosterFile), DecodeRosterFile),
		format("hello", Hello{Self: someRoster()[0], Met: true, Up: 1 << 40}, encodeHello, DecodeHello),
		format("hello-client", Hello{Self: Member{ID: 3}, Client: true}, encodeHello, DecodeHello),
		format("roster-query", RosterSums{Digest: 1 << 62}, appended(AppendRosterQuery), DecodeRosterQuery),
		format("roster-sums", RosterSums{Sums: []EntrySum{{1, 2}, {3, 1 << 50}}}, appended(AppendRosterSums), DecodeRosterSums),
		format("roster-sums-equal", RosterSums{Equal: true}, appended(AppendRosterSums), DecodeRosterSums),
		format("roster-swap", RosterSwap{Have: someRoster(), Want: []view.NodeID{9, 8}}, appended(AppendRosterSwap), DecodeRosterSwap),
		format("relic-swap", RelicSwap{Digest: 1 << 62, Have: someRelics()}, appended(AppendRelicSwap), DecodeRelicSwap),
		format("reach-query", ReachQuery{IDs: []view.NodeID{3, 1 << 63}}, appended(AppendReachQuery), DecodeReachQuery),
		format("reach-reply", ReachReply{Reach: []Reach{Reached, ReachUnknown, NotReached}}, appended(AppendReachReply), DecodeReachReply),
		format("view.v2", told, viewOf(ViewTraits), DecodeView),
		format("traits-swap.v2", TraitsSwap{Have: []Traits{
			Traits{Node: 1 << 63, Boot: 7, Seq: 300 << 32}.SayNext(EncodeTraits(told.Members[0].Tags, told.Members[0].Capabilities)),
			Traits{Node: 3}.SayNext(EncodeTraits(nil, nil)),
		}, Want: []view.NodeID{8}}, appended(AppendTraitsSwap), decodeAllTraits),
	}
}

func someRosterFile() RosterFile {
	return RosterFile{Mesh: view.MeshID{4}, Roster: []byte("roster"), Places: []Places{
		{ID: 3, Addrs: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.3:7800"), netip.MustParseAddrPort("[fd00::3]:7800")}},
		{ID: 1 << 63, Addrs: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1")}},
	}}
}

// A roster file without places is that of version 1, which stays readable.
func TestRosterFileOfVersion1(t *testing.T) {
	want := someRosterFile()
	want.Places = nil
	data, err := os.ReadFile(filepath.Join("testdata", "mesh", "roster-file.v1"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeRosterFile(data); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("it reads as %+v, %v", got, err)
	}
	if got := AppendRosterFile(nil, want); !bytes.Equal(got, data) {
		t.Errorf("one without places is written as %x, not %x", got, data)
	}
}

// Clients of early releases read a view of version 1, and nodes of them answer with one.
func TestViewOfVersion1(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "mesh", "view.v1"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeView(data); err != nil || !reflect.DeepEqual(got, someView()) {
		t.Errorf("it reads as %+v, %v", got, err)
	}
	told := someView()
	told.Members[0].Tags, told.Members[0].Capabilities = map[string]string{"line": "3"}, []string{"press"}
	if got := AppendView(nil, told, ViewBare); !bytes.Equal(got, data) {
		t.Errorf("it is written as %x, not %x", got, data)
	}
}

// In version 1 traits had numbers that do not tell what was said. A message is read, and
// those are left out.
func TestTraitsSwapOfVersion1(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "mesh", "traits-swap.v1"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeAllTraits(data); err != nil || len(got.Have) != 0 || !slices.Equal(got.Want, []view.NodeID{8}) {
		t.Errorf("it reads as %+v, %v", got, err)
	}
}

func TestMeshFormats(t *testing.T) { roundTrips(t, meshFormats()) }

// roundTrips has each format read what it wrote, and refuse it when it is cut
// short, too long or of the next version.
func roundTrips(t *testing.T, formats []meshFormat) {
	t.Helper()
	for _, f := range formats {
		data := f.encode(f.sample)
		if got, err := f.decode(data); err != nil || !reflect.DeepEqual(got, f.sample) {
			t.Errorf("%s reads as %+v, %v", f.name, got, err)
		}
		for n := range data {
			if _, err := f.decode(data[:n:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s cut to %d of %d bytes: %v", f.name, n, len(data), err)
			}
		}
		if _, err := f.decode(append(bytes.Clone(data), 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s with a byte too many: %v", f.name, err)
		}
		newer := bytes.Clone(data)
		newer[0]++
		if _, err := f.decode(newer); !errors.Is(err, ErrNewerVersion) {
			t.Errorf("%s of the next version: %v", f.name, err)
		}
	}
}

// Golden files are kept for ever: what an old build wrote stays readable.
func TestMeshFormatsGolden(t *testing.T) { goldenFormats(t, "mesh", meshFormats()) }

func goldenFormats(t *testing.T, dir string, formats []meshFormat) {
	t.Helper()
	for _, f := range formats {
		path := filepath.Join("testdata", dir, f.name)
		if filepath.Ext(path) == "" {
			path += ".v1"
		}
		data := f.encode(f.sample)
		if _, err := os.Stat(path); *updateMesh && errors.Is(err, os.ErrNotExist) {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, want) {
			t.Errorf("%s: bytes changed:\n got %x\nwant %x", f.name, data, want)
		}
		if got, err := f.decode(want); err != nil || !reflect.DeepEqual(got, f.sample) {
			t.Errorf("%s: golden file reads as %+v, %v", f.name, got, err)
		}
	}
}

func TestMeshDecodersRefuse(t *testing.T) {
	bad := map[string]error{}
	add := func(what string, err error) { bad[what] = err }
	_, err := DecodeIdentity(AppendIdentity(nil, Identity{}))
	add("identity of no node", err)
	_, err = DecodeIdentity(AppendIdentity(nil, Identity{Node: 1, End: EndRolled + 1}))
	add("identity with an unknown end", err)
	_, err = DecodeRosterSums(AppendRosterSums(nil, RosterSums{Sums: []EntrySum{{2, 0}, {1, 0}}}))
	add("sums out of order", err)
	_, err = DecodeRosterSums([]byte{1, 0xc2, 0x91, 1})
	add("half a sum", err)
	_, err = DecodeRosterSums([]byte{1, 0xc2, 0xdd, 0, 1, 0, 0})
	add("a length beyond the data", err)
	_, err = DecodeHello(encodeHello(Hello{Self: Member{ID: 1, Status: view.Evicted + 1}}))
	add("unknown status", err)
	_, err = DecodeReachQuery(AppendReachQuery(nil, ReachQuery{IDs: []view.NodeID{2, 2}}))
	add("a member asked about twice", err)
	many := ReachQuery{}
	for id := range view.NodeID(MaxReach + 1) {
		many.IDs = append(many.IDs, id+1)
	}
	_, err = DecodeReachQuery(AppendReachQuery(nil, many))
	add("more members than may be asked about", err)
	_, err = DecodeReachReply(AppendReachReply(nil, ReachReply{Reach: []Reach{Reached + 1}}))
	add("an unknown word", err)
	file := someRosterFile()
	file.Places[1].Addrs = nil
	_, err = DecodeRosterFile(AppendRosterFile(nil, file))
	add("a member without a place", err)
	file.Places[1].Addrs = make([]netip.AddrPort, 1)
	_, err = DecodeRosterFile(AppendRosterFile(nil, file))
	add("a place without an address", err)
	file.Places[1].Addrs = slices.Repeat(file.Places[0].Addrs, MaxPlaces)
	_, err = DecodeRosterFile(AppendRosterFile(nil, file))
	add("more places than a member may have", err)
	for what, err := range bad {
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", what, err)
		}
	}
}

// fuzzMesh checks that what decode accepts survives encoding.
func fuzzMesh[T any](f *testing.F, encode func(T) []byte, decode func([]byte) (T, error)) {
	for _, s := range slices.Concat(meshFormats(), partitionFormats(), messageFormats()) {
		f.Add(s.encode(s.sample))
	}
	f.Fuzz(func(t *testing.T, data []byte) { readsBack(t, data, decode, func(v *T) []byte { return encode(*v) }) })
}

func FuzzDecodeIdentity(f *testing.F) { fuzzMesh(f, appended(AppendIdentity), DecodeIdentity) }

func FuzzDecodeOwner(f *testing.F) { fuzzMesh(f, appended(AppendOwner), DecodeOwner) }

func FuzzDecodeRosterFile(f *testing.F) { fuzzMesh(f, appended(AppendRosterFile), DecodeRosterFile) }

func FuzzDecodeHello(f *testing.F) { fuzzMesh(f, encodeHello, DecodeHello) }

func FuzzDecodeRosterQuery(f *testing.F) { fuzzMesh(f, appended(AppendRosterQuery), DecodeRosterQuery) }

func FuzzDecodeRosterSums(f *testing.F) { fuzzMesh(f, appended(AppendRosterSums), DecodeRosterSums) }

func FuzzDecodeRosterSwap(f *testing.F) { fuzzMesh(f, appended(AppendRosterSwap), DecodeRosterSwap) }

func FuzzDecodeRelicSwap(f *testing.F) { fuzzMesh(f, appended(AppendRelicSwap), DecodeRelicSwap) }

func FuzzDecodeReachQuery(f *testing.F) { fuzzMesh(f, appended(AppendReachQuery), DecodeReachQuery) }

func FuzzDecodeReachReply(f *testing.F) { fuzzMesh(f, appended(AppendReachReply), DecodeReachReply) }

func FuzzDecodeView(f *testing.F) { fuzzMesh(f, viewOf(ViewTraits), DecodeView) }
