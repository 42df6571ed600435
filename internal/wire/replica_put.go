package wire

import "github.com/skeinmesh/skein/replica/version"

// AppendPutRequest appends the encoding of m.
func AppendPutRequest(dst []byte, m *PutRequest) []byte {
	return pack(dst, func(p *packer) {
		p.uint(replicaVersion)
		p.id(m.Bucket)
		p.string(m.Key)
		p.bool(m.Tomb)
		p.bool(m.Informed)
		p.context(m.Ctx, m.HLC)
		p.int(m.Level)
		p.uint(m.MinDurable)
		p.uint(m.TTL)
		p.clock(m.By)
		p.bytes(m.Value)
	})
}

// DecodePutRequest reads what AppendPutRequest wrote.
func DecodePutRequest(data []byte) (m PutRequest, err error) {
	err = unpack(data, "put request", func(u *unpacker) {
		u.version(replicaVersion)
		m.Bucket = u.uint()
		m.Key = u.string(MaxKey)
		m.Tomb = u.bool()
		m.Informed = u.bool()
		m.Ctx, m.HLC = u.context()
		m.Level = u.int()
		m.MinDurable = u.uint()
		m.TTL = u.uint()
		m.By = u.clock()
		m.Value = u.bytes(MaxValue)
		if m.Tomb && len(m.Value) != 0 {
			u.fail("delete with a value")
		}
		if !m.Informed && (m.Ctx != nil || m.HLC != 0) {
			u.fail("blind write with a context")
		}
	})
	return m, err
}

// AppendPutReply appends the encoding of m.
func AppendPutReply(dst []byte, m *PutReply) []byte {
	return pack(dst, func(p *packer) {
		p.uint(replicaVersion)
		p.uint(uint64(m.Code))
		p.string(m.Text)
		p.clock(m.Clock)
		p.uint(m.Durable)
		p.uint(m.Homes)
		p.uint(m.Hinted)
		p.dot(m.Dot)
		p.array(len(m.Covered))
		for _, d := range m.Covered {
			p.dot(d)
		}
		p.context(m.Ctx, m.HLC)
	})
}

// DecodePutReply reads what AppendPutReply wrote.
func DecodePutReply(data []byte) (m PutReply, err error) {
	err = unpack(data, "put reply", func(u *unpacker) {
		u.version(replicaVersion)
		m.Code = u.code()
		m.Text = u.string(1 << 12)
		m.Clock = u.clock()
		m.Durable = u.uint()
		m.Homes = u.uint()
		m.Hinted = u.uint()
		m.Dot = u.dot()
		for range u.array(MaxSiblings) {
			if u.err != nil {
				return
			}
			m.Covered = append(m.Covered, u.dot())
		}
		m.Ctx, m.HLC = u.context()
	})
	return m, err
}

func (p *packer) dot(d version.Dot) {
	p.id(d.A.Store)
	p.id(d.A.Session)
	p.uint(uint64(d.A.Seq))
	p.uint(d.N)
}

func (u *unpacker) dot() version.Dot {
	return version.Dot{
		A: version.Actor{Store: u.uint(), Session: u.uint(), Seq: uint32(u.uintMax(1<<32 - 1))},
		N: u.uint(),
	}
}

func (p *packer) clock(c Clock) {
	p.id(c.Run)
	p.uint(c.Reading)
}

func (u *unpacker) clock() Clock { return Clock{Run: u.uint(), Reading: u.uint()} }
