package wire

import (
	"bytes"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

var updateRoster = flag.Bool("update-roster", false, "write the golden file of the roster if it does not exist yet")

func someRoster() []Member {
	return []Member{
		{
			ID: 1, Name: "press-1", Zone: "line-1", Addr: netip.MustParseAddrPort("192.0.2.7:7946"), Weight: 8,
			Storing: true, Status: view.Active, HLC: version.HLC(1<<40 + 7), Boot: 3, Instance: 1 << 63, Predecessor: 99,
		},
		{
			ID: 1<<64 - 1, Name: strings.Repeat("ä", 32), Addr: netip.MustParseAddrPort("[2001:db8::7]:65535"), Weight: 1,
			Status: view.Evicted,
		},
	}
}

func TestRosterFormat(t *testing.T) {
	for _, relics := range [][]Relic{nil, someRelics()} {
		data := AppendRoster([]byte("x"), someRoster(), relics)[1:]
		members, got, err := DecodeRoster(data)
		if err != nil || !reflect.DeepEqual(members, someRoster()) || !reflect.DeepEqual(got, relics) {
			t.Errorf("read %+v, %+v, %v", members, got, err)
		}
		for n := range data {
			if _, _, err := DecodeRoster(data[:n:n]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("cut to %d of %d bytes: %v", n, len(data), err)
			}
		}
		if _, _, err := DecodeRoster(append(bytes.Clone(data), 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("a byte too many: %v", err)
		}
		newer := bytes.Clone(data)
		newer[0] = rosterRelics + 1
		if _, _, err := DecodeRoster(newer); !errors.Is(err, ErrNewerVersion) {
			t.Errorf("next version: %v", err)
		}
	}
	claims := []byte{1, 0xdd, 0, 1, 0, 0} // 65536 members in no bytes
	if _, _, err := DecodeRoster(claims); !errors.Is(err, ErrMalformed) {
		t.Errorf("a length beyond the data: %v", err)
	}
}

func someRelics() []Relic { return []Relic{{ID: 2}, {ID: 1 << 63, Storing: true}} }

func TestRelicsAreReadInOneFormOnly(t *testing.T) {
	for name, relics := range map[string][]Relic{
		"no node":      {{ID: 0}},
		"one twice":    {{ID: 2}, {ID: 2, Storing: true}},
		"out of order": {{ID: 3}, {ID: 2}},
	} {
		if _, _, err := DecodeRoster(AppendRoster(nil, nil, relics)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	data := AppendRelicSwap(nil, RelicSwap{Have: someRelics()})
	data[len(data)-1] = 2
	if _, err := DecodeRelicSwap(data); !errors.Is(err, ErrMalformed) {
		t.Errorf("one that stored twice: %v", err)
	}
	none := handmade(func(c *codec) { c.writeUint(rosterRelics); c.writeArrayLen(0); c.writeBytes(nil) })
	if _, _, err := DecodeRoster(none); !errors.Is(err, ErrMalformed) {
		t.Errorf("a roster of version 2 without relics: %v", err)
	}
}

// Golden files are kept for ever: what an old build wrote stays readable.
func TestRosterGolden(t *testing.T) {
	goldenRoster(t, "roster.v1", nil)
	goldenRoster(t, "roster.v2", someRelics())
}

func goldenRoster(t *testing.T, name string, relics []Relic) {
	t.Helper()
	path := filepath.Join("testdata", "roster", name)
	data := AppendRoster(nil, someRoster(), relics)
	if *updateRoster {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, want) {
		t.Errorf("bytes changed:\n got %x\nwant %x", data, want)
	}
	members, got, err := DecodeRoster(want)
	if err != nil || !reflect.DeepEqual(members, someRoster()) || !reflect.DeepEqual(got, relics) {
		t.Errorf("golden file reads as %+v, %+v, %v", members, got, err)
	}
}

func FuzzDecodeRoster(f *testing.F) {
	f.Add(AppendRoster(nil, nil, nil))
	f.Add(AppendRoster(nil, someRoster(), nil))
	f.Add(AppendRoster(nil, someRoster(), someRelics()))
	f.Fuzz(func(t *testing.T, data []byte) {
		members, relics, err := DecodeRoster(data)
		if err != nil {
			return
		}
		again, reduced, err := DecodeRoster(AppendRoster(nil, members, relics))
		if err != nil || !reflect.DeepEqual(again, members) || !reflect.DeepEqual(reduced, relics) {
			t.Fatalf("%+v, %+v reads as %+v, %+v, %v", members, relics, again, reduced, err)
		}
	})
}
