package replica

import (
	"context"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/slice"
)

func (d adminDesk) answerImport(ctx context.Context, req []byte) ([]byte, error) {
	m, err := wire.DecodeAdminImport(req)
	if err != nil {
		return nil, err
	}
	in := make([]slice.Old, len(m.Records))
	for i := range in {
		r := &m.Records[i]
		in[i] = slice.Old{Key: r.Key, Item: r.Item, Gone: r.Gone, Whole: r.Whole}
		if r.Origin > 0 {
			in[i].Origin = m.Origins[r.Origin-1]
		}
	}
	got, err := d.s.Import(ctx, m.Def, in)
	reply := wire.AdminImported{AdminOutcome: faults.Outcome(err), Brought: uint64(got.Brought), Refused: got.Refused}
	return wire.AppendAdminImported(nil, &reply), nil
}

// importBytes is about how much goes to a node at once, unless one record is larger.
const importBytes = 4 << 20

// Import takes in records of a backup at the node, which must be a storing one; see Store.Import.
// They go there some at a time, and there may be any number of them. What was taken in before an
// error comes beside it.
func (c *Client) Import(ctx context.Context, def []byte, in []slice.Old) (out slice.Imported, err error) {
	for first := 0; ; {
		page := newImportPage(def, in[first:])
		m, err := callAndDecode(ctx, c.node, wire.MethodAdminImport, wire.AppendAdminImport(nil, &page), wire.DecodeAdminImported)
		if err != nil {
			return out, err
		}
		n := len(page.Records)
		if len(m.Refused) > 0 && m.Refused[len(m.Refused)-1] >= n || m.Brought > uint64(n) {
			return out, errWrongAnswer
		}
		out.Brought += int(m.Brought)
		for _, i := range m.Refused {
			out.Refused = append(out.Refused, first+i)
		}
		if err := faults.FromOutcome(m.AdminOutcome); err != nil {
			return out, err
		}
		if first += n; first >= len(in) {
			return out, nil
		}
	}
}

// newImportPage takes as many of the records as go to a node at once: one at least, if there is one.
func newImportPage(def []byte, in []slice.Old) wire.AdminImport {
	m := wire.AdminImport{Def: def}
	places := make(map[string]int) // of origins, counted from 1
	size := 0
	for i := range in {
		r := wire.ImportRecord{Key: in[i].Key, Item: in[i].Item, Whole: in[i].Whole, Gone: in[i].Gone}
		size += len(r.Key) + len(r.Item) + 16
		for _, gone := range r.Gone {
			size += len(gone) + 5
		}
		if i > 0 && size > importBytes || i == wire.MaxImport {
			break
		}
		if origin := in[i].Origin; len(origin) > 0 {
			if places[string(origin)] == 0 {
				m.Origins = append(m.Origins, origin)
				places[string(origin)] = len(m.Origins)
			}
			r.Origin = places[string(origin)]
		}
		m.Records = append(m.Records, r)
	}
	return m
}
