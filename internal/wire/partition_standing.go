package wire

import "encoding/binary"

// preferenceScope marks what stands in a notice's list of elections and is none: a
// preference for the one before it, in its name. Releases that know of no preferences take it
// for an election that nobody stands for but its node, and hand it on. They read lists of
// MaxElections, preferences counted.
const preferenceScope = 127

// codeStanding describes what a node stands for. Who is not preferred takes no room.
func codeStanding(c *codec, list *[]Stand) {
	var flat []Election
	if !c.reading {
		flat = flattenStanding(*list)
	}
	for i := range codeList(c, &flat, 2, 2*MaxElections) {
		flat[i].codeFields(c)
	}
	if !c.reading || len(flat) == 0 || c.err != nil || !c.holdMemory(len(flat)*32) {
		return
	}
	out := make([]Stand, 0, len(flat))
	for _, e := range flat {
		switch last := len(out) - 1; {
		case e.Scope != preferenceScope:
			out = append(out, Stand{Election: e})
		case last < 0 || out[last].Preference != 0 || len(e.Name) > 4 || e.Name[0] == 0:
			c.failWith("a preference of %d bytes for no election, or a second one", len(e.Name))
			return
		default:
			for _, b := range []byte(e.Name) {
				out[last].Preference = out[last].Preference<<8 | uint32(b)
			}
		}
	}
	if len(out) > MaxElections {
		c.failWith("a node stands for %d elections, %d are the most", len(out), MaxElections)
		return
	}
	*list = out
}

// flattenStanding returns the elections, each with the preference for it behind it, if there
// is one.
func flattenStanding(list []Stand) (flat []Election) {
	for _, s := range list {
		flat = append(flat, s.Election)
		if s.Preference != 0 {
			b := binary.BigEndian.AppendUint32(nil, s.Preference)
			for b[0] == 0 {
				b = b[1:]
			}
			flat = append(flat, Election{Name: string(b), Scope: preferenceScope})
		}
	}
	return flat
}
