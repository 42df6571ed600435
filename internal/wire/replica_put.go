package wire

import "github.com/skeinmesh/skein/replica/version"

// AppendPutRequest appends the encoding of m.
func AppendPutRequest(dst []byte, m *PutRequest) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeID(m.Bucket)
		p.writeString(m.Key)
		p.writeBool(m.Tomb)
		p.writeBool(m.Informed)
		p.writeContext(m.Ctx, m.HLC)
		p.writeInt(m.Level)
		p.writeUint(m.MinDurable)
		p.writeUint(m.TTL)
		p.writeClock(m.By)
		p.writeBytes(m.Value)
	})
}

// DecodePutRequest reads what AppendPutRequest wrote.
func DecodePutRequest(data []byte) (m PutRequest, err error) {
	err = unpackWhole(data, "put request", func(u *unpacker) {
		u.readVersion(replicaVersion)
		m.Bucket = u.readUint()
		m.Key = u.readString(MaxKey)
		m.Tomb = u.readBool()
		m.Informed = u.readBool()
		m.Ctx, m.HLC = u.readContext()
		m.Level = u.readInt()
		m.MinDurable = u.readUint()
		m.TTL = u.readUint()
		m.By = u.readClock()
		m.Value = u.readBytes(MaxValue)
		if m.Tomb && len(m.Value) != 0 {
			u.failWith("delete with a value")
		}
		if !m.Informed && (m.Ctx != nil || m.HLC != 0) {
			u.failWith("blind write with a context")
		}
	})
	return m, err
}

// AppendPutReply appends the encoding of m.
func AppendPutReply(dst []byte, m *PutReply) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeUint(uint64(m.Code))
		p.writeString(m.Text)
		p.writeClock(m.Clock)
		p.writeUint(m.Durable)
		p.writeUint(m.Homes)
		p.writeUint(m.Hinted)
		p.writeDot(m.Dot)
		p.writeArrayLen(len(m.Covered))
		for _, d := range m.Covered {
			p.writeDot(d)
		}
		p.writeContext(m.Ctx, m.HLC)
	})
}

// DecodePutReply reads what AppendPutReply wrote.
func DecodePutReply(data []byte) (m PutReply, err error) {
	err = unpackWhole(data, "put reply", func(u *unpacker) {
		u.readVersion(replicaVersion)
		m.Code = u.readCode()
		m.Text = u.readString(1 << 12)
		m.Clock = u.readClock()
		m.Durable = u.readUint()
		m.Homes = u.readUint()
		m.Hinted = u.readUint()
		m.Dot = u.readDot()
		for range u.readArrayLen(MaxSiblings) {
			if u.err != nil {
				return
			}
			m.Covered = append(m.Covered, u.readDot())
		}
		m.Ctx, m.HLC = u.readContext()
	})
	return m, err
}

func (p *packer) writeDot(d version.Dot) {
	p.writeID(d.A.Store)
	p.writeID(d.A.Session)
	p.writeUint(uint64(d.A.Seq))
	p.writeUint(d.N)
}

func (u *unpacker) readDot() version.Dot {
	return version.Dot{
		A: version.Actor{Store: u.readUint(), Session: u.readUint(), Seq: uint32(u.readUintMax(1<<32 - 1))},
		N: u.readUint(),
	}
}

func (p *packer) writeClock(c Clock) {
	p.writeID(c.Run)
	p.writeUint(c.Reading)
}

func (u *unpacker) readClock() Clock { return Clock{Run: u.readUint(), Reading: u.readUint()} }
