package wire

import (
	"hash/crc32"
	"maps"
	"slices"

	"github.com/skeinmesh/skein/mesh/view"
)

// Limits of what a decoder of traits accepts.
const (
	MaxTags         = 32
	MaxCapabilities = 32
	MaxTraitText    = 256     // bytes of a key, a value or a capability
	maxTraits       = 4 << 10 // bytes that are passed on of one node: no later release can raise it
)

const (
	traitsVersion = 1 // the format of what one node says
	// traitsSwapVersion is that of what hands it over. In version 1 the number of a word
	// was a count alone: such a message can be read, and brings nothing.
	traitsSwapVersion = 2
)

// Traits are what a node says of itself for programs, in the bytes in which it said it: a
// node passes on what a later release says, too, though it cannot read that.
type Traits struct {
	Node      view.NodeID
	Boot, Seq uint64 // of two, that with the higher Boot, then Seq, holds
	Said      string // tags and capabilities: see EncodeTraits
}

// SayNext returns what the node of t says next. Its number is a count in the upper half,
// and in the lower one a hash of what is said: so two words of one count, as of a faulty
// node or a copied one, are told apart, and give way to each other everywhere alike.
func (t Traits) SayNext(said string) Traits {
	t.Said = said
	t.Seq = (t.Seq>>32+1)<<32 | uint64(hashTraits(said))
	return t
}

func hashTraits(said string) uint32 { return crc32.ChecksumIEEE([]byte(said)) }

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

// saidTraits is what a node says of itself, without who says it and when.
type saidTraits struct {
	tags         map[string]string
	capabilities []string
}

func (t *saidTraits) codeFields(c *codec) {
	c.codeVersion(traitsVersion)
	c.codeTags(&t.tags)
	c.codeCapabilities(&t.capabilities)
}

// EncodeTraits returns what a node says that has such tags and capabilities: version=1,
// tags (array: key, value, ...), capabilities (array). Capabilities are sorted, each once.
func EncodeTraits(tags map[string]string, capabilities []string) string {
	return string(appendFields(nil, &saidTraits{tags, capabilities}, (*saidTraits).codeFields))
}

// DecodeTraits reads what EncodeTraits wrote. What there is none of is nil.
func DecodeTraits(said string) (tags map[string]string, capabilities []string, err error) {
	t, err := readFields([]byte(said), "traits", (*saidTraits).codeFields)
	if err != nil {
		return nil, nil, err
	}
	return t.tags, t.capabilities, nil
}

// traitsSwap is a TraitsSwap of which those traits are kept that wanted says yes to.
type traitsSwap struct {
	TraitsSwap
	wanted func(NoticeSum) bool // in reading
}

func (s *traitsSwap) codeFields(c *codec) {
	c.codeVersion(traitsSwapVersion)
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
			c.writeBytes([]byte(t.Said))
		}
	}
	c.codeNodeIDs(&s.Want, MaxMembers)
}

// readTraits reads the traits of one node. What it said is not read here: who passes on
// the words of others is not to be judged by them. Those that are too large, or were
// changed on the way, are left out.
func (s *traitsSwap) readTraits(c *codec) {
	var t Traits
	var said []byte
	c.codeNodeID(&t.Node)
	c.codeNumber(&t.Boot)
	c.codeNumber(&t.Seq)
	c.codeBytes(&said, len(c.data))
	t.Said = string(said[:min(len(said), maxTraits+1)])
	if c.err != nil || len(said) > maxTraits || hashTraits(t.Said) != uint32(t.Seq) || !s.wanted(t.Sum()) {
		return
	}
	s.Have = append(s.Have, t)
}

// AppendTraitsSwap appends the encoding of s.
//
//	version=2
//	have  array: for each node id, boot, seq, said
//	want  array of ids
//
// said is bytes of their own: see EncodeTraits.
func AppendTraitsSwap(dst []byte, s TraitsSwap) []byte {
	return appendFields(dst, &traitsSwap{TraitsSwap: s}, (*traitsSwap).codeFields)
}

// DecodeTraitsSwap reads what AppendTraitsSwap wrote. Of the traits it keeps those that
// are not too large, have the number that they must, and that wanted says yes to, in
// their order.
func DecodeTraitsSwap(data []byte, wanted func(NoticeSum) bool) (TraitsSwap, error) {
	s, err := readFields(data, "swap of traits", func(s *traitsSwap, c *codec) {
		s.wanted = wanted
		s.codeFields(c)
	})
	return s.TraitsSwap, err
}
