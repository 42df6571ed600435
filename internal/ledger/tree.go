package ledger

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	height = 8 // of tiles
	// Width is how many hashes a full tile has, and how many entries a full bundle.
	Width    = 1 << height
	tileSize = Width * tlog.HashSize
	// MaxTile is the longest tile or bundle that is read, in bytes.
	MaxTile = Width * (2 + leafSize)
)

// Read returns the bytes that a log keeps under a path.
type Read func(path string) ([]byte, error)

// Tile is something that a log keeps: hashes of one level, or entries.
type Tile struct {
	Path string
	Data []byte
}

// Path is where a tile of that level is kept: the path that C2SP gives the full tile. One that is
// not full yet is kept there, too, and only ever grows: whoever serves tiles to others cuts
// them to the width that is asked for.
func Path(level int, n int64) string {
	path := tlog.Tile{H: height, L: level, N: n, W: Width}.Path()
	path = strings.TrimPrefix(path, fmt.Sprintf("tile/%d/", height))
	return "tile/" + strings.Replace(path, "data", "entries", 1)
}

// EntriesPath is where the n-th bundle of 256 entries is kept.
func EntriesPath(n int64) string { return Path(-1, n) }

// PathsSince are the paths of all that a log of to leaves keeps and one of from does not.
func PathsSince(from, to int64) (paths []string) {
	for n := from / Width; n*Width < to; n++ {
		paths = append(paths, EntriesPath(n))
	}
	for _, tile := range tlog.NewTiles(height, from, to) {
		paths = append(paths, Path(tile.L, tile.N))
	}
	return paths
}

// AppendEntry appends an entry to a bundle.
func AppendEntry(bundle, entry []byte) []byte {
	return append(binary.BigEndian.AppendUint16(bundle, uint16(len(entry))), entry...)
}

// ParseEntries returns the entries of a bundle, which lie in data.
func ParseEntries(data []byte) (entries [][]byte, err error) {
	for rest := data; len(rest) > 0; {
		if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) || len(entries) == Width {
			return nil, fmt.Errorf("%w: bundle of %d bytes", ErrMalformed, len(data))
		}
		n := 2 + int(binary.BigEndian.Uint16(rest))
		entries, rest = append(entries, rest[2:n:n]), rest[n:]
	}
	return entries, nil
}

// Tree is the right edge of a tree: what it takes to add leaves. The zero Tree is empty.
type Tree struct {
	size  int64
	edges [][]byte // by level, the last tile, which is not full
}

// Size is how many leaves the tree has.
func (t *Tree) Size() int64 { return t.size }

// Add adds an entry, and returns the tiles of hashes that are full with it.
func (t *Tree) Add(entry []byte) (full []Tile) {
	t.size++
	h := tlog.RecordHash(entry)
	for level := 0; ; level++ {
		if level == len(t.edges) {
			t.edges = append(t.edges, nil)
		}
		data := append(t.edges[level], h[:]...)
		if len(data) < tileSize {
			t.edges[level] = data
			return full
		}
		t.edges[level] = nil
		full = append(full, Tile{Path(level, t.size>>(height*(level+1))-1), data})
		h = rootOf(data)
	}
}

// rootOf returns the hash of a full tile.
func rootOf(data []byte) tlog.Hash {
	hashes := make([]tlog.Hash, len(data)/tlog.HashSize)
	for i := range hashes {
		copy(hashes[i][:], data[i*tlog.HashSize:])
	}
	for ; len(hashes) > 1; hashes = hashes[:len(hashes)/2] {
		for i := range len(hashes) / 2 {
			hashes[i] = tlog.NodeHash(hashes[2*i], hashes[2*i+1])
		}
	}
	return hashes[0]
}

// Edges returns the tiles of hashes that are not full, as they are now.
func (t *Tree) Edges() (tiles []Tile) {
	for level, data := range t.edges {
		if len(data) > 0 {
			tiles = append(tiles, Tile{Path(level, t.size>>(height*(level+1))), slices.Clone(data)})
		}
	}
	return tiles
}

// Root returns the hash of the tree.
func (t *Tree) Root() tlog.Hash {
	root, err := tlog.TreeHash(t.size, tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, at := range indexes {
			tile := tlog.TileForIndex(height, at)
			tile.W = len(t.edges[tile.L]) / tlog.HashSize
			var err error
			if hashes[i], err = tlog.HashFromTile(tile, t.edges[tile.L], at); err != nil {
				return nil, err
			}
		}
		return hashes, nil
	}))
	if err != nil {
		panic(fmt.Sprintf("ledger: root of %d leaves: %v", t.size, err)) // the edges are ours
	}
	return root
}

// LoadTree reads the right edge of the tree of a checkpoint.
func LoadTree(c Checkpoint, read Read) (*Tree, error) {
	t := &Tree{size: c.Size}
	for level := 0; c.Size>>(height*level) > 0; level++ {
		t.edges = append(t.edges, nil)
		n := c.Size >> (height * level)
		width := int(n%Width) * tlog.HashSize
		if width == 0 {
			continue
		}
		path := Path(level, n/Width)
		data, err := read(path)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if len(data) < width {
			return nil, fmt.Errorf("%w: %s has %d bytes, not %d", ErrUnproven, path, len(data), width)
		}
		t.edges[level] = slices.Clone(data[:width])
	}
	if t.Root() != c.Root {
		return nil, fmt.Errorf("%w: the last tiles are not those of the checkpoint of %d leaves", ErrUnproven, c.Size)
	}
	return t, nil
}

// VerifyAll reads a whole log and tells the first place at which it is not that of the checkpoint.
func VerifyAll(c Checkpoint, read Read) error {
	t := &Tree{}
	for t.size < c.Size {
		path := EntriesPath(t.size / Width)
		data, err := read(path)
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		entries, err := ParseEntries(data)
		want := int(min(Width, c.Size-t.size))
		if err != nil || len(entries) < want {
			return fmt.Errorf("%w: %s has not %d entries", ErrUnproven, path, want)
		}
		for _, entry := range entries[:want] {
			if err := compareTiles(t.Add(entry), read); err != nil {
				return err
			}
		}
	}
	if err := compareTiles(t.Edges(), read); err != nil {
		return err
	}
	if t.Root() != c.Root {
		return fmt.Errorf("%w: the entries are not those of the checkpoint of %d leaves", ErrUnproven, c.Size)
	}
	return nil
}

// compareTiles tells which of these tiles is kept with other hashes.
func compareTiles(tiles []Tile, read Read) error {
	for _, tile := range tiles {
		kept, err := read(tile.Path)
		if err != nil {
			return fmt.Errorf("read %s: %w", tile.Path, err)
		}
		if len(kept) < len(tile.Data) || string(kept[:len(tile.Data)]) != string(tile.Data) {
			return fmt.Errorf("%w: %s is not the hash of what lies below it", ErrUnproven, tile.Path)
		}
	}
	return nil
}

// reader reads tiles for proofs.
type reader Read

func (r reader) Height() int { return height }

func (r reader) SaveTiles([]tlog.Tile, [][]byte) {}

func (r reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	all := make([][]byte, len(tiles))
	for i, tile := range tiles {
		path := Path(tile.L, tile.N)
		data, err := r(path)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if len(data) < tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%w: %s has %d bytes", ErrUnproven, path, len(data))
		}
		all[i] = data[:tile.W*tlog.HashSize]
	}
	return all, nil
}

// hashesOf reads hashes of the tree of a checkpoint, none that is not in it.
func hashesOf(c Checkpoint, read Read) tlog.HashReader {
	return tlog.TileHashReader(tlog.Tree{N: c.Size, Hash: c.Root}, reader(read))
}

// RootAt returns the hash that the tree of a checkpoint had at that size.
func RootAt(c Checkpoint, size int64, read Read) (tlog.Hash, error) {
	return tlog.TreeHash(size, hashesOf(c, read))
}

// ProveLeaf proves that the leaf of that index is in the tree of a checkpoint.
func ProveLeaf(c Checkpoint, index int64, read Read) ([]tlog.Hash, error) {
	return tlog.ProveRecord(c.Size, index, hashesOf(c, read))
}

// ProveGrowth proves that the tree of a checkpoint goes on from that of a size.
func ProveGrowth(c Checkpoint, size int64, read Read) ([]tlog.Hash, error) {
	if size == 0 {
		return nil, nil
	}
	return tlog.ProveTree(c.Size, size, hashesOf(c, read))
}
