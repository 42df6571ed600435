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
	data := AppendRoster([]byte("x"), someRoster())[1:]
	if got, err := DecodeRoster(data); err != nil || !reflect.DeepEqual(got, someRoster()) {
		t.Errorf("read %+v, %v", got, err)
	}
	for n := range data {
		if _, err := DecodeRoster(data[:n:n]); !errors.Is(err, ErrMalformed) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(data), err)
		}
	}
	if _, err := DecodeRoster(append(bytes.Clone(data), 0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("a byte too many: %v", err)
	}
	newer := bytes.Clone(data)
	newer[0]++
	if _, err := DecodeRoster(newer); !errors.Is(err, ErrNewerVersion) {
		t.Errorf("next version: %v", err)
	}
	claims := []byte{1, 0xdd, 0, 1, 0, 0} // 65536 members in no bytes
	if _, err := DecodeRoster(claims); !errors.Is(err, ErrMalformed) {
		t.Errorf("a length beyond the data: %v", err)
	}
}

// Golden files are kept for ever: what an old build wrote stays readable.
func TestRosterGolden(t *testing.T) {
	path := filepath.Join("testdata", "roster", "roster.v1")
	data := AppendRoster(nil, someRoster())
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
	if got, err := DecodeRoster(want); err != nil || !reflect.DeepEqual(got, someRoster()) {
		t.Errorf("golden file reads as %+v, %v", got, err)
	}
}

func FuzzDecodeRoster(f *testing.F) {
	f.Add(AppendRoster(nil, nil))
	f.Add(AppendRoster(nil, someRoster()))
	f.Fuzz(func(t *testing.T, data []byte) {
		members, err := DecodeRoster(data)
		if err != nil {
			return
		}
		again, err := DecodeRoster(AppendRoster(nil, members))
		if err != nil || !reflect.DeepEqual(again, members) {
			t.Fatalf("%+v reads as %+v, %v", members, again, err)
		}
	})
}
