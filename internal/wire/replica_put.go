package wire

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
		p.uint(m.Durable)
		p.uint(m.Homes)
		p.uint(m.Hinted)
		p.uint(m.Covered)
		p.context(m.Ctx, m.HLC)
	})
}

// DecodePutReply reads what AppendPutReply wrote.
func DecodePutReply(data []byte) (m PutReply, err error) {
	err = unpack(data, "put reply", func(u *unpacker) {
		u.version(replicaVersion)
		m.Code = u.code()
		m.Text = u.string(1 << 12)
		m.Durable = u.uint()
		m.Homes = u.uint()
		m.Hinted = u.uint()
		m.Covered = u.uint()
		m.Ctx, m.HLC = u.context()
	})
	return m, err
}
