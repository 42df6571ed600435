package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/mesh/identity/charter"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

func someCharter() SignedCharter {
	key := func(b byte) charter.Key { return charter.Key{b, 31: 7} }
	return SignedCharter{
		Charter: charter.Charter{
			Mesh: view.MeshID{1, 15: 2}, Name: "plant", Shards: 271, Epoch: 300, Prev: charter.Hash{5},
			Roots: []charter.Key{key(1), key(2), key(3)}, Threshold: 2,
			Issuers: []charter.Issuer{{
				Key:           key(4),
				Scope:         charter.Scope{Names: []string{"press-*"}, Zones: []string{"*"}, Roles: []string{"camera", "press"}, Caps: charter.AllCaps, Max: 500},
				MinGeneration: 3,
			}, {Key: key(5)}},
			Revokers: []charter.Revoker{{Key: key(6), Through: charter.InOffice}, {Key: key(7), Through: 9}},
			Signers:  []charter.Key{key(8)}, TokenIssuers: []charter.TokenIssuer{{Key: key(9), Roles: []string{"*"}, MaxTTL: 86400}},
			Voters: []view.NodeID{1, 1 << 63}, SecretMode: true, DenyByDefault: true, Knock: [32]byte{31: 1}, Written: 1700000000123,
		},
		Signatures: []Signature{{key(1), [64]byte{1}}, {key(3), [64]byte{63: 3}}},
	}
}

func somePassport() SignedPassport {
	return SignedPassport{charter.Passport{
		Issuer: charter.Key{4}, Generation: 3, Serial: 70000, Device: charter.Key{31: 9}, Name: "press-1", Zone: "line-1",
		Roles: []string{"press", "camera"}, Caps: charter.Member | charter.Store, MaxWeight: 8,
	}, [64]byte{1, 63: 2}}
}

func someEntry() SignedEntry {
	return SignedEntry{Entry{
		Passport: somePassport(), Node: 1 << 63, Claim: 2, Addr: netip.MustParseAddrPort("192.0.2.7:7946"), Zone: "line-1", Weight: 8,
		Storing: true, Status: view.Active, HLC: version.HLC(1<<40 + 7), Boot: 3, Instance: 1 << 62, PacketKey: [32]byte{8}, Predecessor: 99,
	}, [64]byte{4}}
}

func trustFormats() []meshFormat {
	return []meshFormat{
		format("charter", someCharter(), appended(AppendSignedCharter), DecodeSignedCharter),
		format("passport", somePassport(), appended(AppendSignedPassport), DecodeSignedPassport),
		format("statement", SignedStatement{charter.Statement{
			Kind: charter.EvictNode, Target: charter.Key{1}, Number: 1 << 63, Signer: charter.Key{6}, Seq: 300, Reason: "stolen", Written: -1,
		}, [64]byte{5}}, appended(AppendSignedStatement), DecodeSignedStatement),
		format("entry", someEntry(), appended(AppendSignedEntry), DecodeSignedEntry),
	}
}

func TestTrustFormatsGolden(t *testing.T) { goldenFormats(t, "trust", trustFormats()) }

// What is signed is how the signed form begins: nothing beside it is vouched for.
func TestSignedFormsBeginWithWhatIsSigned(t *testing.T) {
	ch, p, e := someCharter(), somePassport(), someEntry()
	for name, c := range map[string][2][]byte{
		"charter":  {AppendCharter(nil, &ch.Charter), AppendSignedCharter(nil, ch)},
		"passport": {AppendPassport(nil, &p.Passport), AppendSignedPassport(nil, p)},
		"entry":    {AppendEntry(nil, &e.Entry), AppendSignedEntry(nil, e)},
	} {
		if !bytes.HasPrefix(c[1], c[0]) {
			t.Errorf("%s: %x does not begin with %x", name, c[1], c[0])
		}
	}
	t.Logf("passport of %d bytes, entry of %d, charter of %d", len(AppendSignedPassport(nil, p)), len(AppendSignedEntry(nil, e)), len(AppendSignedCharter(nil, ch)))
}

// A charter is read in one form only, and within its bounds.
func TestChartersThatCannotBeRead(t *testing.T) {
	many := make([]charter.Key, charter.MaxKeys+1)
	for i := range many {
		many[i][0] = byte(i + 1)
	}
	long := strings.Repeat("x", charter.MaxText+1)
	for name, change := range map[string]func(*SignedCharter){
		"a root twice":       func(s *SignedCharter) { s.Roots[1] = s.Roots[0] },
		"roots in disorder":  func(s *SignedCharter) { slices.Reverse(s.Roots) },
		"a key of zeros":     func(s *SignedCharter) { s.Roots[0] = charter.Key{} },
		"many roots":         func(s *SignedCharter) { s.Roots = many },
		"an issuer twice":    func(s *SignedCharter) { s.Issuers[1].Key = s.Issuers[0].Key },
		"a revoker twice":    func(s *SignedCharter) { s.Revokers[1].Key = s.Revokers[0].Key },
		"a signature twice":  func(s *SignedCharter) { s.Signatures[1] = s.Signatures[0] },
		"a long pattern":     func(s *SignedCharter) { s.Issuers[0].Scope.Names[0] = long },
		"an empty pattern":   func(s *SignedCharter) { s.Issuers[0].Scope.Names[0] = "" },
		"unknown caps":       func(s *SignedCharter) { s.Issuers[0].Scope.Caps = charter.AllCaps + 1 },
		"many voters":        func(s *SignedCharter) { s.Voters = []view.NodeID{1, 2, 3, 4, 5, 6, 7, 8} },
		"voters in disorder": func(s *SignedCharter) { slices.Reverse(s.Voters) },
	} {
		s := someCharter()
		change(&s)
		if _, err := DecodeSignedCharter(AppendSignedCharter(nil, s)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Bytes that were written in another way are read as the same value, and so are the same.
func TestSpellingsAreNotOfTheValue(t *testing.T) {
	p := somePassport()
	data := AppendSignedPassport(nil, p)
	spelt := slices.Concat([]byte{codeUint8, 1}, data[1:]) // the version in two bytes
	got, err := DecodeSignedPassport(spelt)
	if err != nil || !reflect.DeepEqual(got, p) || !bytes.Equal(AppendSignedPassport(nil, got), data) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestEntriesThatCannotBeRead(t *testing.T) {
	for name, change := range map[string]func(*SignedEntry){
		"no node":          func(e *SignedEntry) { e.Node = 0 },
		"evicted":          func(e *SignedEntry) { e.Status = view.Evicted },
		"a long name":      func(e *SignedEntry) { e.Passport.Name = strings.Repeat("x", charter.MaxText+1) },
		"many roles":       func(e *SignedEntry) { e.Passport.Roles = slices.Repeat([]string{"r"}, charter.MaxRoles+1) },
		"a heavy passport": func(e *SignedEntry) { e.Passport.MaxWeight = maxWeight + 1 },
	} {
		e := someEntry()
		change(&e)
		if _, err := DecodeSignedEntry(AppendSignedEntry(nil, e)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func fuzzTrust[T any](f *testing.F, encode func([]byte, T) []byte, decode func([]byte) (T, error)) {
	for _, s := range trustFormats() {
		f.Add(s.encode(s.sample))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		readsBack(t, data, decode, func(v *T) []byte { return encode(nil, *v) })
	})
}

func FuzzDecodeSignedCharter(f *testing.F) { fuzzTrust(f, AppendSignedCharter, DecodeSignedCharter) }

func FuzzDecodeSignedPassport(f *testing.F) { fuzzTrust(f, AppendSignedPassport, DecodeSignedPassport) }

func FuzzDecodeSignedStatement(f *testing.F) {
	fuzzTrust(f, AppendSignedStatement, DecodeSignedStatement)
}

func FuzzDecodeSignedEntry(f *testing.F) { fuzzTrust(f, AppendSignedEntry, DecodeSignedEntry) }
