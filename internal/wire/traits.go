package wire

import (
	"maps"
	"slices"

	"github.com/skeinmesh/skein/mesh/view"
)

// Limits of what a decoder of traits accepts.
const (
	MaxTags         = 32
	MaxCapabilities = 32
	MaxTraitText    = 256     // bytes of a key, a value or a capability
	maxTraits       = 4 << 10 // bytes of the traits of one node
)

// traitsVersion is the format of the traits of one node, and of what hands them over.
const traitsVersion = 1

// Traits are what a node says of itself for programs. Who holds them must not change
// them.
type Traits struct {
	Node         view.NodeID
	Boot, Seq    uint64            // of two, that with the higher Boot, then Seq, holds
	Tags         map[string]string // nil when there are none
	Capabilities []string          // sorted, each once
}

// Sum tells which traits they are.
func (t Traits) Sum() NoticeSum { return NoticeSum{t.Node, NoticeVersion{t.Boot, t.Seq}} }

// TraitsSwap hands over traits and asks for others. Sums of traits are exchanged in the
// format of those of notices.
type TraitsSwap = TableSwap[view.NodeID, Traits]

// tag is one of the tags as they travel, sorted by key.
type tag struct{ key, value string }

// codeTags describes tags, sorted by key.
func (c *codec) codeTags(tags *map[string]string) {
	var list []tag
	for _, key := range slices.Sorted(maps.Keys(*tags)) {
		list = append(list, tag{key, (*tags)[key]})
	}
	for i := range codeList(c, &list, 2, MaxTags) {
		c.codeText(&list[i].key, MaxTraitText)
		c.codeText(&list[i].value, MaxTraitText)
		if i > 0 && list[i-1].key >= list[i].key {
			c.failWith("tags not in order at %d", i)
		}
	}
	if !c.reading || c.err != nil || len(list) == 0 {
		return
	}
	*tags = make(map[string]string, len(list))
	for _, t := range list {
		(*tags)[t.key] = t.value
	}
}

// codeCapabilities describes capabilities, sorted.
func (c *codec) codeCapabilities(list *[]string) {
	for i := range codeList(c, list, 1, MaxCapabilities) {
		c.codeText(&(*list)[i], MaxTraitText)
		if i > 0 && (*list)[i-1] >= (*list)[i] {
			c.failWith("capabilities not in order at %d", i)
		}
	}
}

// saidFields describes what is said, without who says it and when.
func (t *Traits) saidFields(c *codec) {
	c.codeVersion(traitsVersion)
	c.codeTags(&t.Tags)
	c.codeCapabilities(&t.Capabilities)
}

// traitsSwap is a TraitsSwap of which those traits are kept that wanted says yes to.
type traitsSwap struct {
	TraitsSwap
	wanted func(NoticeSum) bool // in reading
}

func (s *traitsSwap) codeFields(c *codec) {
	c.codeVersion(traitsVersion)
	n := 4 * len(s.Have)
	if c.codeArrayLen(&n, 4*MaxMembers); n%4 != 0 {
		c.failWith("%d fields of records of 4", n)
	}
	for i := range n / 4 {
		if c.reading {
			s.readTraits(c)
		} else {
			t := &s.Have[i]
			c.writeWide(uint64(t.Node))
			c.writeUint(t.Boot)
			c.writeUint(t.Seq)
			c.writeBytes(appendFields(nil, t, (*Traits).saidFields))
		}
	}
	c.codeNodeIDs(&s.Want, MaxMembers)
}

// readTraits reads the traits of one node. Those that cannot be read are left out, and no
// fault of the message: who passes on those of others is not to be judged by them.
func (s *traitsSwap) readTraits(c *codec) {
	var id Traits
	var said []byte
	c.codeNodeID(&id.Node)
	c.codeNumber(&id.Boot)
	c.codeNumber(&id.Seq)
	c.codeBytes(&said, len(c.data))
	if c.err != nil || len(said) > maxTraits || !s.wanted(id.Sum()) {
		return
	}
	t, err := readFields(said, "traits", (*Traits).saidFields)
	if err != nil {
		return
	}
	t.Node, t.Boot, t.Seq = id.Node, id.Boot, id.Seq
	s.Have = append(s.Have, t)
}

// AppendTraitsSwap appends the encoding of s.
//
//	version=1
//	have  array: for each node id, boot, seq, said
//	want  array of ids
//
// said is bytes of their own: version=1, tags (array: key, value, ...), capabilities
// (array), both sorted.
func AppendTraitsSwap(dst []byte, s TraitsSwap) []byte {
	return appendFields(dst, &traitsSwap{TraitsSwap: s}, (*traitsSwap).codeFields)
}

// DecodeTraitsSwap reads what AppendTraitsSwap wrote. Of the traits it keeps those that
// can be read and that wanted says yes to, in their order.
func DecodeTraitsSwap(data []byte, wanted func(NoticeSum) bool) (TraitsSwap, error) {
	s, err := readFields(data, "swap of traits", func(s *traitsSwap, c *codec) {
		s.wanted = wanted
		s.codeFields(c)
	})
	return s.TraitsSwap, err
}
