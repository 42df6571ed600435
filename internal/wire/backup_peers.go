package wire

import "time"

// Limits of what decoders of messages about objects of backups accept.
const (
	MaxObject      = 16 << 20 // bytes
	MaxObjectPiece = 1 << 20  // bytes of an object in one message
	MaxObjectPage  = 1000     // objects of a list in one message
	maxObjectName  = 4*64 + 3
	maxObjectFault = 1 << 10 // bytes of its text
)

const objectVersion = 1

// ObjectMethod asks a node about objects of backups that it keeps: ObjectAsk -> ObjectAnswer.
const ObjectMethod = "backup/object"

// ObjectDeed is what is asked.
type ObjectDeed uint64

// Deeds, which keep their numbers.
const (
	PutObject    ObjectDeed = 1 // Upload, Offset, Size, Data
	GetObject    ObjectDeed = 2 // Offset
	StatObject   ObjectDeed = 3
	ListObjects  ObjectDeed = 4 // Name is a prefix; After
	DeleteObject ObjectDeed = 5
)

// ObjectAsk asks about one object, or for a page of a list.
type ObjectAsk struct {
	Deed   ObjectDeed
	Name   string
	After  string // the last name of the page before
	Upload uint64 // names the pieces of one object that is put; random
	Offset int    // of the piece that is put or asked for
	Size   int    // of the whole object
	Data   []byte // lies in the message
}

// ObjectTold is one object.
type ObjectTold struct {
	Name string
	Size int
	Time time.Time // whole milliseconds
}

// ObjectAnswer answers ObjectAsk.
type ObjectAnswer struct {
	Fault   uint64 // what failed, by the table of package backup/peers; 0: nothing
	Text    string // of the fault
	Data    []byte // a piece of an object; lies in the message
	Objects []ObjectTold
	More    bool // objects follow
}

func (m *ObjectAsk) codeFields(c *codec) {
	c.codeVersion(objectVersion)
	c.codeNumber((*uint64)(&m.Deed))
	c.codeText(&m.Name, maxObjectName)
	c.codeText(&m.After, maxObjectName)
	c.codeWide(&m.Upload)
	codeBounded(c, &m.Offset, MaxObject)
	codeBounded(c, &m.Size, MaxObject)
	c.codeBytesOrNil(&m.Data, MaxObjectPiece)
}

// AppendObjectAsk appends the encoding of m.
//
//	version=1, deed, name, after, upload, offset, size, data
func AppendObjectAsk(dst []byte, m ObjectAsk) []byte {
	return appendFields(dst, &m, (*ObjectAsk).codeFields)
}

// DecodeObjectAsk reads what AppendObjectAsk wrote.
func DecodeObjectAsk(data []byte) (ObjectAsk, error) {
	return readFields(data, "question about an object", (*ObjectAsk).codeFields)
}

func (m *ObjectAnswer) codeFields(c *codec) {
	c.codeVersion(objectVersion)
	c.codeNumber(&m.Fault)
	c.codeText(&m.Text, maxObjectFault)
	c.codeBytesOrNil(&m.Data, MaxObjectPiece)
	c.factor = looseFactor
	for i := range codeList(c, &m.Objects, 3, MaxObjectPage) {
		o := &m.Objects[i]
		c.codeText(&o.Name, maxObjectName)
		codeBounded(c, &o.Size, MaxObject)
		c.codeMoment(&o.Time)
	}
	c.codeFlag(&m.More)
}

// AppendObjectAnswer appends the encoding of m, whose text is cut where it is too long.
//
//	version=1, fault, text, data, array of: name, size, time; more
func AppendObjectAnswer(dst []byte, m ObjectAnswer) []byte {
	m.Text = m.Text[:min(len(m.Text), maxObjectFault)]
	return appendFields(dst, &m, (*ObjectAnswer).codeFields)
}

// DecodeObjectAnswer reads what AppendObjectAnswer wrote.
func DecodeObjectAnswer(data []byte) (ObjectAnswer, error) {
	return readFields(data, "answer about an object", (*ObjectAnswer).codeFields)
}
