package ledger

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	proofHeader = "c2sp.org/tlog-proof@v1\n"
	// MaxBundle is the longest proof that is read, in bytes.
	MaxBundle = MaxNote + 2*MaxNames + MaxProof*64 + 1<<10
)

// Proof shows offline what a leaf of a log stands for. It is in the form of C2SP's tlog-proof.
// Its extra data are the leaf as it is hashed, the salt, the SHA-256 of the value, the
// length of the bucket's name (4 bytes), that name, and the key.
type Proof struct {
	Index   int64
	Leaf    []byte
	Opening Opening
	Hashes  []tlog.Hash
	Note    []byte // the checkpoint, signed
}

// AppendProof appends the encoding of p.
func AppendProof(dst []byte, p Proof) []byte {
	extra := append(p.Leaf[:len(p.Leaf):len(p.Leaf)], p.Opening.Salt[:]...)
	extra = append(extra, p.Opening.Sum[:]...)
	extra = binary.BigEndian.AppendUint32(extra, uint32(len(p.Opening.Bucket)))
	extra = append(append(extra, p.Opening.Bucket...), p.Opening.Key...)
	dst = fmt.Appendf(dst, "%sextra %s\nindex %d\n", proofHeader, base64.StdEncoding.EncodeToString(extra), p.Index)
	for _, h := range p.Hashes {
		dst = append(append(dst, h.String()...), '\n')
	}
	return append(append(dst, '\n'), p.Note...)
}

// ParseProof reads what AppendProof wrote. It proves nothing before it was verified.
func ParseProof(data []byte) (p Proof, err error) {
	fail := func(what string) (Proof, error) {
		return Proof{}, fmt.Errorf("%w: %s of a proof of %d bytes", ErrMalformed, what, len(data))
	}
	head, msg, ok := strings.Cut(string(data), "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || len(data) > MaxBundle || len(lines) < 3 || len(lines) > 3+MaxProof || lines[0]+"\n" != proofHeader {
		return fail("lines")
	}
	extra, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	const fixed = leafSize + 32 + 32
	if err != nil || len(extra) < fixed+4 {
		return fail("extra data")
	}
	p.Leaf = extra[:leafSize:leafSize]
	copy(p.Opening.Salt[:], extra[leafSize:])
	copy(p.Opening.Sum[:], extra[leafSize+32:])
	length, names := binary.BigEndian.Uint32(extra[fixed:]), extra[fixed+4:]
	if uint64(length) > uint64(len(names)) || len(names) > MaxNames {
		return fail("names")
	}
	p.Opening.Bucket, p.Opening.Key = string(names[:length]), string(names[length:])
	if p.Index, err = strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64); err != nil || p.Index < 0 {
		return fail("index")
	}
	for _, line := range lines[3:] {
		h, err := tlog.ParseHash(line)
		if err != nil {
			return fail("hash")
		}
		p.Hashes = append(p.Hashes, h)
	}
	p.Note = []byte(msg)
	if string(AppendProof(nil, p)) != string(data) {
		return fail("form")
	}
	return p, nil
}

// Verify tells of which checkpoint the proof shows that the leaf is in it, and which of the witnesses
// have signed that. The leaf stands for what the Opening says.
func (p Proof) Verify(log Key, witnesses ...Key) (l Leaf, c Checkpoint, by []Cosigned, err error) {
	if c, by, err = OpenNote(p.Note, log, witnesses...); err != nil {
		return l, c, nil, err
	}
	if err := tlog.CheckRecord(p.Hashes, c.Size, c.Root, p.Index, tlog.RecordHash(p.Leaf)); err != nil {
		return l, c, nil, fmt.Errorf("%w: leaf %d of %d: %w", ErrUnproven, p.Index, c.Size, err)
	}
	if l, err = ParseLeaf(p.Leaf); err != nil {
		return l, c, nil, err
	}
	if !p.Opening.Opens(l) {
		return l, c, nil, fmt.Errorf("%w: leaf %d stands for something else", ErrUnproven, p.Index)
	}
	return l, c, by, nil
}
