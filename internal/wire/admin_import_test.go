package wire

import (
	"errors"
	"testing"
)

func adminImportSamples() []sample {
	ask := AdminImport{
		Def: []byte{1, 2}, Origins: [][]byte{[]byte("origin")},
		Records: []ImportRecord{
			{Key: "k\x00", Item: []byte("item"), Origin: 1, Whole: true, Gone: [][]byte{[]byte("gone"), {}}},
			{Key: "l", Item: []byte{}},
		},
	}
	answer := AdminImported{AdminOutcome: AdminOutcome{AdminOther, "too few homes"}, Brought: 2, Refused: []int{0, 1, MaxImport - 1}}
	return []sample{
		{"import", AppendAdminImport(nil, &ask), ask, as(DecodeAdminImport)},
		{"imported", AppendAdminImported(nil, &answer), answer, as(DecodeAdminImported)},
		{"imported-none", AppendAdminImported(nil, &AdminImported{}), AdminImported{}, as(DecodeAdminImported)},
	}
}

func FuzzDecodeAdminImport(f *testing.F) {
	fuzzAdmin(f, "import", DecodeAdminImport, func(m *AdminImport) []byte { return AppendAdminImport(nil, m) })
}

func FuzzDecodeAdminImported(f *testing.F) {
	fuzzAdmin(f, "imported", DecodeAdminImported, func(m *AdminImported) []byte { return AppendAdminImported(nil, m) })
}

// A page has as many records as may be, and no origin that is not there; an answer names places once.
func TestAdminImportsAreBounded(t *testing.T) {
	page := func(n int) []byte {
		m := AdminImport{Records: make([]ImportRecord, n)}
		for i := range m.Records {
			m.Records[i].Item = make([]byte, 40)
		}
		return AppendAdminImport(nil, &m)
	}
	answer := func(brought uint64, refused ...int) []byte {
		return AppendAdminImported(nil, &AdminImported{Brought: brought, Refused: refused})
	}
	for _, c := range []struct {
		name   string
		data   []byte
		decode func([]byte) (any, error)
		fits   bool
	}{
		{"a full page", page(MaxImport), as(DecodeAdminImport), true},
		{"one record too many", page(MaxImport + 1), as(DecodeAdminImport), false},
		{"an origin that is not there", AppendAdminImport(nil, &AdminImport{Records: []ImportRecord{{Origin: 1}}}), as(DecodeAdminImport), false},
		{"an origin too long", AppendAdminImport(nil, &AdminImport{Origins: [][]byte{make([]byte, maxOrigin+1)}}), as(DecodeAdminImport), false},
		{"all brought", answer(MaxImport), as(DecodeAdminImported), true},
		{"more brought than asked for", answer(MaxImport + 1), as(DecodeAdminImported), false},
		{"a place beyond", answer(0, MaxImport), as(DecodeAdminImported), false},
		{"a place twice", answer(0, 7, 7), as(DecodeAdminImported), false},
	} {
		if _, err := c.decode(c.data); (err == nil) != c.fits || !c.fits && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
