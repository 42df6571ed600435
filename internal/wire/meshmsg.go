package wire

import (
	"cmp"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// meshVersion is the format of what nodes tell each other about the mesh.
const meshVersion = 1

// Hello is what two nodes tell each other before they use a connection.
type Hello struct {
	Self   Member // the sender's own entry
	Met    bool   // another node has admitted this run of the sender
	Up     uint64 // milliseconds since the sender's start
	Client bool   // the sender is no node: it only asks, and enters no roster
}

func (h *Hello) codeFields(c *codec) {
	c.codeVersion(meshVersion)
	h.Self.codeFields(c)
	c.codeFlag(&h.Met)
	c.codeNumber(&h.Up)
	c.codeFlag(&h.Client)
}

// AppendHello appends the encoding of h.
func AppendHello(dst []byte, h *Hello) []byte { return appendFields(dst, h, (*Hello).codeFields) }

// DecodeHello reads what AppendHello wrote.
func DecodeHello(data []byte) (Hello, error) { return readFields(data, "hello", (*Hello).codeFields) }

// EntrySum is the digest of one roster entry.
type EntrySum = KeySum[view.NodeID, uint64]

// RosterSums asks a peer how its roster differs, with the digest of the whole of it, or
// answers: equal, or the sums of all entries, sorted by id.
type RosterSums = TableSums[view.NodeID, uint64]

// RosterSwap hands over entries that the peer lacks or has in another state,
// and names those wanted back.
type RosterSwap = TableSwap[view.NodeID, Member]

func rosterQueryFields(q *RosterSums, c *codec) {
	c.codeVersion(meshVersion)
	c.codeWide(&q.Digest)
}

// AppendRosterQuery appends the encoding of q, which has but a digest.
func AppendRosterQuery(dst []byte, q RosterSums) []byte {
	return appendFields(dst, &q, rosterQueryFields)
}

// DecodeRosterQuery reads what AppendRosterQuery wrote.
func DecodeRosterQuery(data []byte) (RosterSums, error) {
	return readFields(data, "roster query", rosterQueryFields)
}

func rosterSumsFields(s *RosterSums, c *codec) {
	c.codeVersion(meshVersion)
	c.codeFlag(&s.Equal)
	for i := range codeList(c, &s.Sums, 2, MaxMembers) {
		c.codeNodeID(&s.Sums[i].Key)
		c.codeWide(&s.Sums[i].Version)
	}
	if !slices.IsSortedFunc(s.Sums, func(a, b EntrySum) int { return cmp.Compare(a.Key, b.Key) }) {
		c.failWith("sums not in order")
	}
}

// AppendRosterSums appends the encoding of s as an answer.
func AppendRosterSums(dst []byte, s RosterSums) []byte {
	return appendFields(dst, &s, rosterSumsFields)
}

// DecodeRosterSums reads what AppendRosterSums wrote.
func DecodeRosterSums(data []byte) (RosterSums, error) {
	return readFields(data, "roster sums", rosterSumsFields)
}

func rosterSwapFields(s *RosterSwap, c *codec) {
	c.codeVersion(meshVersion)
	c.codeMembers(&s.Have)
	c.codeNodeIDs(&s.Want, MaxMembers)
}

// AppendRosterSwap appends the encoding of s.
func AppendRosterSwap(dst []byte, s RosterSwap) []byte {
	return appendFields(dst, &s, rosterSwapFields)
}

// DecodeRosterSwap reads what AppendRosterSwap wrote.
func DecodeRosterSwap(data []byte) (RosterSwap, error) {
	return readFields(data, "roster swap", rosterSwapFields)
}

// RelicSwap hands over relics. Digest is of all that the sender holds, and the answer
// has all that the peer holds unless the two are equal.
type RelicSwap struct {
	Digest uint64
	Have   []Relic // sorted by id
}

func (s *RelicSwap) codeFields(c *codec) {
	c.codeVersion(meshVersion)
	c.codeWide(&s.Digest)
	c.codeRelics(&s.Have)
}

// AppendRelicSwap appends the encoding of s.
func AppendRelicSwap(dst []byte, s RelicSwap) []byte {
	return appendFields(dst, &s, (*RelicSwap).codeFields)
}

// DecodeRelicSwap reads what AppendRelicSwap wrote.
func DecodeRelicSwap(data []byte) (RelicSwap, error) {
	return readFields(data, "relic swap", (*RelicSwap).codeFields)
}

const maxRTT = 1 << 50 // nanoseconds

// Versions of a view as it is told to a client. A node answers in the latest that the
// client understands.
const (
	ViewBare   = 1
	ViewTraits = 2 // members have tags and capabilities
)

// AppendViewQuery asks for a view. Clients of ViewBare ask without a word, and nodes that
// know no other do not read what is asked.
func AppendViewQuery(dst []byte) []byte {
	v := uint64(ViewTraits)
	return appendFields(dst, &v, viewQueryFields)
}

// DecodeViewQuery returns the version in which a client is to be answered.
func DecodeViewQuery(data []byte) (version uint64, err error) {
	if len(data) == 0 {
		return ViewBare, nil
	}
	v, err := readFields(data, "view query", viewQueryFields)
	return min(max(v, ViewBare), ViewTraits), err
}

func viewQueryFields(v *uint64, c *codec) { c.codeNumber(v) }

// toldView is a view in one of the versions.
type toldView struct {
	view.View
	version uint64
}

func (v *toldView) codeFields(c *codec) {
	traits := c.codeEitherVersion(ViewBare, ViewTraits, v.version >= ViewTraits)
	fields := memberFields
	if traits {
		fields += 2
	}
	c.codeFixed(v.Mesh[:])
	c.codeNodeID(&v.Self)
	c.codeNumber(&v.Version)
	c.codeWide(&v.Roster)
	c.factor = looseFactor
	for i := range codeList(c, &v.Members, 1, MaxMembers) {
		m := &v.Members[i]
		c.codeTuple(fields)
		c.codeNodeID(&m.ID)
		c.codeText(&m.Name, MaxName)
		c.codeText(&m.Zone, MaxName)
		c.codeAddress(&m.Addr)
		codeBounded(c, &m.Weight, maxWeight)
		c.codeFlag(&m.Storing)
		codeBounded(c, &m.Status, uint64(view.Evicted))
		codeBounded(c, &m.State, uint64(view.Departed))
		c.codeNumber(&m.Boot)
		c.codeMoment(&m.Since)
		c.codeSpan(&m.RTT, time.Nanosecond, maxRTT)
		if traits {
			c.codeTags(&m.Tags)
			c.codeCapabilities(&m.Capabilities)
		}
	}
}

// AppendView appends the encoding of v in one of its versions.
func AppendView(dst []byte, v view.View, version uint64) []byte {
	return appendFields(dst, &toldView{v, version}, (*toldView).codeFields)
}

// DecodeView reads what AppendView wrote, in any version.
func DecodeView(data []byte) (view.View, error) {
	v, err := readFields(data, "view", (*toldView).codeFields)
	return v.View, err
}
