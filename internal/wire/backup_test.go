package wire

import (
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// backupSamples are what backups consist of.
func backupSamples(item []byte) []sample {
	origin := Origin{Mesh: view.MeshID{1, 15: 9}, Shard: 270, Stamp: Stamp{Acked: Round{7, 1 << 63}, Committed: Round{6, 5}}, From: Round{1, 1}}
	def := AppendBucketDef(nil, &BucketDef{Name: "b", Copies: 3})
	segment := Segment{Sections: []Section{
		{Def: def, Origin: AppendOrigin(nil, origin), Records: []BackupRecord{{Key: "k", Item: item}, {Purged: true, Item: []byte{}}}},
		{Def: def, Origin: []byte{}, Gone: []uint64{1 << 63, 2}},
	}}
	manifest := Manifest{
		Mesh: view.MeshID{1}, Node: 1 << 63, Chain: 5, Sequence: 300, Previous: [32]byte{7}, Time: time.UnixMilli(-5).UTC(), Policy: "production", Keep: 5 * time.Hour, Partial: true,
		Segments: []SegmentRef{{Name: [16]byte{1}, Size: 1 << 24, Sum: [32]byte{31: 2}}}, Inventory: []byte{1, 2}, Key: [32]byte{3},
	}
	signed := Signed{Body: []byte("body"), Signature: [64]byte{63: 1}}
	inventory := Inventory{Buckets: [][]byte{def}, Slices: []SliceRef{{Bucket: 0, Shard: 270, Key: 1 << 63, Version: 2, Origin: 7, Records: 3, Base: 4, Deltas: []uint64{5, 6}, List: 6, Segments: []int{0, 300}}, {Shard: 1}}}
	state := BackupState{Chain: 1 << 63, Selection: 4, Sequence: 5, Hash: [32]byte{1}, Segments: manifest.Segments, Inventory: []byte{3}, Due: time.UnixMilli(7).UTC(), Begun: time.UnixMilli(8).UTC(), Pending: []byte{9}}
	versions := VersionList{Versions: []ListedVersion{{1, 1 << 63}, {1 << 62, 2}}}
	file := SourceFile{Size: 1 << 40, Pieces: 300, Sum: [32]byte{31: 4}}
	return []sample{
		{"backup-file", AppendSourceFile(nil, &file), file, as(DecodeSourceFile)},
		{"backup-state", AppendBackupState(nil, &state), state, as(DecodeBackupState)},
		{"backup-versions", AppendVersionList(nil, &versions), versions, as(DecodeVersionList)},
		{"backup-origin", AppendOrigin(nil, origin), origin, as(DecodeOrigin)},
		{"backup-segment", AppendSegment(nil, &segment), segment, as(DecodeSegment)},
		{"backup-manifest", AppendManifest(nil, &manifest), manifest, as(DecodeManifest)},
		{"backup-signed", AppendSigned(nil, &signed), signed, as(DecodeSigned)},
		{"backup-inventory", AppendInventory(nil, &inventory), inventory, as(DecodeInventory)},
	}
}

// An inventory whose slices name a bucket that it does not has been damaged, or made up.
func TestSliceOfNoBucketIsRefused(t *testing.T) {
	bad := Inventory{Slices: []SliceRef{{Bucket: 0}}}
	if _, err := DecodeInventory(AppendInventory(nil, &bad)); err == nil {
		t.Error("it is taken")
	}
}

func FuzzDecodeOrigin(f *testing.F) {
	fuzzFormat(f, DecodeOrigin, func(m Origin) []byte { return AppendOrigin(nil, m) })
}

func FuzzDecodeSegment(f *testing.F) {
	fuzzFormat(f, DecodeSegment, func(m Segment) []byte { return AppendSegment(nil, &m) })
}

func FuzzDecodeManifest(f *testing.F) {
	fuzzFormat(f, DecodeManifest, func(m Manifest) []byte { return AppendManifest(nil, &m) })
}

func FuzzDecodeSigned(f *testing.F) {
	fuzzFormat(f, DecodeSigned, func(m Signed) []byte { return AppendSigned(nil, &m) })
}

func FuzzDecodeSourceFile(f *testing.F) {
	fuzzFormat(f, DecodeSourceFile, func(m SourceFile) []byte { return AppendSourceFile(nil, &m) })
}

func FuzzDecodeInventory(f *testing.F) {
	fuzzFormat(f, DecodeInventory, func(m Inventory) []byte { return AppendInventory(nil, &m) })
}

func FuzzDecodeBackupState(f *testing.F) {
	fuzzFormat(f, DecodeBackupState, func(m BackupState) []byte { return AppendBackupState(nil, &m) })
}

func FuzzDecodeVersionList(f *testing.F) {
	fuzzFormat(f, DecodeVersionList, func(m VersionList) []byte { return AppendVersionList(nil, &m) })
}

// A list of versions is searched by its order.
func TestVersionsOutOfOrderAreRefused(t *testing.T) {
	for _, bad := range [][]ListedVersion{{{2, 0}, {1, 0}}, {{1, 0}, {1, 0}}} {
		if _, err := DecodeVersionList(AppendVersionList(nil, &VersionList{bad})); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}

// An inventory of many slices, each with many deltas, reads: small numbers take a byte each, and
// far more in memory.
func TestLargeInventoryReads(t *testing.T) {
	m := Inventory{Buckets: [][]byte{{1}}}
	for i := range 4096 {
		s := SliceRef{Shard: i}
		for j := range 17 {
			s.Segments = append(s.Segments, j)
			s.Deltas = append(s.Deltas, 64)
		}
		m.Slices = append(m.Slices, s)
	}
	if _, err := DecodeInventory(AppendInventory(nil, &m)); err != nil {
		t.Error(err)
	}
}
