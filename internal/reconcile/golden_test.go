package reconcile

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

// golden returns the fingerprint of the i-th of a fixed sequence of elements.
func golden(i uint64) Fingerprint { return Element{mix(2 * i), mix(2*i + 1)}.Fingerprint() }

// TestGoldenSketch compares with what another program computed, with integers
// of any size. Stores of different architectures depend on every bit.
func TestGoldenSketch(t *testing.T) {
	s := NewSketch(64)
	for i := range uint64(1000) {
		s.Add(golden(i))
	}
	for i, want := range strings.Fields(goldenSymbols) {
		if got := hex.EncodeToString(AppendSymbols(nil, s.Symbols()[i:i+1])); got != want {
			t.Errorf("symbol %d is %s, want %s", i, got, want)
		}
	}
	for _, want := range goldenWalks {
		w, alone := symbolOf(want.print)
		got := []uint64{w.index}
		for w.index < horizon {
			w.moveToNext()
			got = append(got, w.index)
		}
		if alone.Check != want.check || !slices.Equal(got, want.indices) {
			t.Errorf("%#x: check %#x, indices %d; want %#x, %d", want.print, alone.Check, got, want.check, want.indices)
		}
	}
}

var goldenWalks = []struct {
	print   Fingerprint
	check   uint32
	indices []uint64 // up to the first that no sketch reaches
}{
	{Element{0x0, 0x0}.Fingerprint(), 0xb6fe22, []uint64{
		0, 6, 7, 13, 15, 24, 40, 47, 66, 81, 127, 133,
		415, 926, 2343, 4444, 4970, 6527, 24340, 38849, 169154, 194145, 204526, 288899,
		763393, 856838, 1338914, 2454766, 3783770, 4677229, 4783684, 4879629, 6301679, 7738231, 9024098, 9429191,
		12184952, 15980321, 16509145, 18317572, 50242327, 1368375363, 1696298912, 3211435735,
	}},
	{Element{0x1, 0x2}.Fingerprint(), 0x64563a, []uint64{
		0, 1, 2, 4, 20, 26, 40, 41, 55, 61, 65, 155,
		157, 414, 1106, 1177, 5584, 9337, 18956, 46636, 53647, 63005, 72604, 2974608,
		3307868, 4567325, 12111504, 20349825, 44464005, 47613235, 49286803, 57454971, 145951957, 241019072, 541979215, 705810603,
		3361509481,
	}},
	{Element{0xffffffffffffffff, 0xffffffffffffffff}.Fingerprint(), 0x595b17, []uint64{
		0, 1, 5, 15, 16, 20, 23, 31, 59, 415, 770, 997,
		1336, 1609, 1797, 1833, 2578, 3448, 3477, 14297, 20375, 29432, 80226, 106265,
		112099, 135935, 139162, 164935, 715179, 909070, 1096616, 1343248, 2119577, 2190979, 5652502, 9613379,
		10133113, 20281447, 111871525, 197455567, 269317716, 306053970, 393750632, 1201452023, 1282478349, 1431948930, 1678238391, 6801180029,
	}},
	{golden(7), 0xaddab5, []uint64{
		0, 1, 2, 4, 6, 8, 18, 24, 33, 40, 94, 138,
		425, 968, 2734, 12783, 13058, 14604, 32024, 62335, 77824, 100710, 156947, 250078,
		257490, 407190, 1093185, 4965925, 9360435, 16440328, 25890495, 59062568, 102116091, 198042214, 227847972, 258483009,
		473197793, 990673145, 2486663157,
	}},
}

// goldenSymbols are the first symbols of 1 000 golden elements: sum, check,
// count.
const goldenSymbols = `
fca4c03793406e18b20c83e8
a932e5674ef082c624077090
3908b751228207085e35abee
dd387389321b0de1e7a1ec86
ddde341644c688c2f998a352
c6929447de70152d8e26d109
12d7365e45ddf2abebaa660f
25ab58576ad7646cac0ab3db
38fb3f839e10b9539d3d85cf
c3fd9acd7f8a4db7ca84afb2
e373f594d0c5c63afc71cea1
7f567584bd1f6f491a930798
5db372b20f5df0edbfd4958d
34f7293cf426d76918f1c48e
2825c7f351d2225a5e3a9a85
5a7fc9154684a6750dcd9e69
ee1f3d5f47cd70967133f662
53025da86c9dc00a2830c469
5d230b160a76c09d356dc75e
8b1c635eefac095de63fda65
98a9614fe6975a1cb2f2955d
60a2f66596eefac4d9f03e54
c86e8924e8428541077d424e
c369bc93e407d0f7f755674f
5959f8ea94de0f1be7febe47
148cf66566a9c41e3f90104a
0010ba666e18cd7b032cb542
5d4cf4f4aeeae32c63791b44
dada32f24739a7a6cdb98c42
b7385ef6c166492a07775f40
65b30b8740e0c8c30bad953a
1620fa15fde89df7b156bd3c
b7225d00c8471cb445cec030
4d527744457454cdd753a44b
6ab08ebb650bc29696f31836
74396857ff91dbf82361bf2d
f367a7dc7ad6f980e2e47531
cc9e62bc58a6764c24cf2732
f66ed9a7a2c8ec12f1dbac37
350d612ec5de2c8e13c6e228
bd28bc8faf3ed450fe023d2d
00721e6e891ccb6212b8fb2d
9a81515ca587664a356a7e2c
dd80dc835d62c3712026da30
269aaad45a44fec7053e732f
b5d49f04e7553565d5c7702b
1fd1685d13b44fb1ea376a2b
52552aeb430c17f3a12c5737
b91bc628ddf1972455d5c325
fd62c9fc33ee0b45941fc82a
aefaa507761e61f354ee7025
98fab4ee0247fe64d465d51f
a8f954f5904241fe33a79b25
8776e7cd96d19badf4484725
8f3d99aafa8048824077112c
7dd8e1baaa0584d9ca566d1d
ae170519be3e67945d5a2820
5fdd9c1bff9da9f2f5adcf1d
b3e03fe33da3db3462586f1a
afaafbf3e3ecfba16ac74c24
84621490a86d2d4fc9ef511e
f8ae8bf958322c81b2f97427
a5cf4ef1b72af6df3ede3020
788ee967cfb83622164e841e
`
