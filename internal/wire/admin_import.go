package wire

// MethodAdminImport is the name of the call by which a program that is no node brings records of
// a backup.
const MethodAdminImport = "admin/import" // AdminImport -> AdminImported

// MaxImport is how many records one AdminImport has at most.
const MaxImport = 4096

// AdminImport has records of a backup, all of one bucket.
type AdminImport struct {
	Def     []byte   // definition of the bucket
	Origins [][]byte // of the records, each of which many have; see AppendOrigin
	Records []ImportRecord
}

// ImportRecord is one record of a backup on its way back.
type ImportRecord struct {
	Key    string
	Item   []byte
	Origin int // which of Origins it has, counted from 1; 0: none
	Whole  bool
	Gone   [][]byte // items of the key that were purged since
}

// AdminImported answers it.
type AdminImported struct {
	AdminOutcome
	Brought uint64
	Refused []int // places of the records that were not taken in whole, each once and in order
}

func (m *AdminImport) codeFields(c *codec) {
	c.codeVersion(adminVersion)
	c.codeBytes(&m.Def, maxDef)
	for i := range codeList(c, &m.Origins, 1, MaxImport) {
		c.codeBytes(&m.Origins[i], maxOrigin)
	}
	for i := range codeList(c, &m.Records, 5, MaxImport) {
		r := &m.Records[i]
		c.codeText(&r.Key, MaxKey)
		c.codeBytes(&r.Item, MaxSegment)
		codeBounded(c, &r.Origin, uint64(len(m.Origins)))
		c.codeFlag(&r.Whole)
		for j := range codeList(c, &r.Gone, 1, MaxEntries) {
			c.codeBytes(&r.Gone[j], MaxSegment)
		}
	}
}

// AppendAdminImport appends the encoding of m.
//
//	version=1, def, array of origins, array of: key, item, origin, whole, array of gone
func AppendAdminImport(dst []byte, m *AdminImport) []byte {
	return appendFields(dst, m, (*AdminImport).codeFields)
}

// DecodeAdminImport reads what AppendAdminImport wrote. Byte strings lie in data.
func DecodeAdminImport(data []byte) (AdminImport, error) {
	return readFields(data, "admin import", (*AdminImport).codeFields)
}

func (m *AdminImported) codeFields(c *codec) {
	c.codeVersion(adminVersion)
	m.outcomeFields(c)
	codeBounded(c, &m.Brought, MaxImport)
	c.factor = looseFactor
	for i := range codeList(c, &m.Refused, 1, MaxImport) {
		codeBounded(c, &m.Refused[i], MaxImport-1)
		if i > 0 && m.Refused[i] <= m.Refused[i-1] {
			c.failWith("places not in order at %d", i)
		}
	}
}

// AppendAdminImported appends the encoding of m.
//
//	version=1, faults, text, brought, array of refused
func AppendAdminImported(dst []byte, m *AdminImported) []byte {
	return appendFields(dst, m, (*AdminImported).codeFields)
}

// DecodeAdminImported reads what AppendAdminImported wrote.
func DecodeAdminImported(data []byte) (AdminImported, error) {
	return readFields(data, "admin imported", (*AdminImported).codeFields)
}
