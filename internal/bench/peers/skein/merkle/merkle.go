// Package merkle finds the differences between two sets of records by
// comparing hash trees, as most replicated stores do. It exists to be measured
// beside what the library does.
package merkle

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/internal/reconcile"
)

const (
	fan          = 16
	fanBits      = 4
	hashBytes    = 16
	elementBytes = 16
)

type hash [hashBytes]byte

// Tree is a 16-ary hash tree. An element lies in the leaf that the first bits
// of its key name.
type Tree struct {
	depth  int
	leaves [][]reconcile.Element // each in the order of the keys
	levels [][]hash              // levels[l] has 16^l nodes; the last one are the leaves'
}

// New builds the tree of the elements, whose keys differ, with 16^depth leaves.
func New(elements []reconcile.Element, depth int) *Tree {
	t := &Tree{depth: depth, leaves: make([][]reconcile.Element, 1<<(fanBits*depth)), levels: make([][]hash, depth+1)}
	for _, e := range elements {
		at := t.leafOf(e.Key)
		t.leaves[at] = append(t.leaves[at], e)
	}
	for level := range t.levels {
		t.levels[level] = make([]hash, 1<<(fanBits*level))
	}
	for i := range t.leaves {
		slices.SortFunc(t.leaves[i], func(a, b reconcile.Element) int { return cmp.Compare(a.Key, b.Key) })
		t.levels[depth][i] = hashOf(appendElements(nil, t.leaves[i]))
	}
	for level := depth - 1; level >= 0; level-- {
		for i := range t.levels[level] {
			t.levels[level][i] = t.innerHash(level, i)
		}
	}
	return t
}

// Depth is the depth whose leaves hold about 16 of n elements each: with as many
// as a node has children, one more level saves what it costs.
func Depth(n int) int {
	depth := 1
	for n>>(fanBits*depth) > 2*fan {
		depth++
	}
	return depth
}

// Replace gives the element of e's key, which must be there, e's version.
func (t *Tree) Replace(e reconcile.Element) error {
	at := t.leafOf(e.Key)
	i, ok := slices.BinarySearchFunc(t.leaves[at], e.Key, func(x reconcile.Element, key uint64) int { return cmp.Compare(x.Key, key) })
	if !ok {
		return fmt.Errorf("merkle: no element of key %x", e.Key)
	}
	t.leaves[at][i] = e
	t.levels[t.depth][at] = hashOf(appendElements(nil, t.leaves[at]))
	for level := t.depth - 1; level >= 0; level-- {
		at >>= fanBits
		t.levels[level][at] = t.innerHash(level, at)
	}
	return nil
}

func (t *Tree) leafOf(key uint64) int { return int(key >> (64 - fanBits*t.depth)) }

func (t *Tree) children(level, i int) []hash { return t.levels[level+1][i*fan : (i+1)*fan] }

func (t *Tree) innerHash(level, i int) hash {
	var b [fan * hashBytes]byte
	for n, child := range t.children(level, i) {
		copy(b[n*hashBytes:], child[:])
	}
	return hashOf(b[:])
}

func hashOf(b []byte) hash {
	full := sha256.Sum256(b)
	return hash(full[:hashBytes])
}

func appendElements(dst []byte, list []reconcile.Element) []byte {
	for _, e := range list {
		dst = binary.BigEndian.AppendUint64(dst, e.Key)
		dst = binary.BigEndian.AppendUint64(dst, e.Version)
	}
	return dst
}

var errMalformed = errors.New("merkle: malformed message")

// appendRequest asks for what is below nodes of a level, whose numbers rise:
//
//	level   1 byte
//	nodes   each as the distance from the one before, uvarint
func appendRequest(dst []byte, level int, nodes []int) []byte {
	dst = append(dst, byte(level))
	last := -1
	for _, n := range nodes {
		dst = binary.AppendUvarint(dst, uint64(n-last-1))
		last = n
	}
	return dst
}

func (t *Tree) decodeRequest(b []byte) (level int, nodes []int, err error) {
	if len(b) == 0 || int(b[0]) > t.depth {
		return 0, nil, errMalformed
	}
	level, b = int(b[0]), b[1:]
	last, limit := -1, len(t.levels[level])
	for len(b) > 0 {
		skip, size := binary.Uvarint(b)
		if size <= 0 || skip >= uint64(limit-last-1) {
			return 0, nil, errMalformed
		}
		last += 1 + int(skip)
		nodes, b = append(nodes, last), b[size:]
	}
	return level, nodes, nil
}

// Answer answers a request of Find. Of an inner node it tells the hashes of the
// 16 children, of a leaf the number of its elements (uvarint) and those.
func (t *Tree) Answer(request []byte) ([]byte, error) {
	level, nodes, err := t.decodeRequest(request)
	if err != nil {
		return nil, err
	}
	var reply []byte
	for _, n := range nodes {
		if level == t.depth {
			reply = binary.AppendUvarint(reply, uint64(len(t.leaves[n])))
			reply = appendElements(reply, t.leaves[n])
			continue
		}
		for _, child := range t.children(level, n) {
			reply = append(reply, child[:]...)
		}
	}
	return reply, nil
}

// Find returns the keys whose elements differ between t and the tree of the
// same depth that ask reaches, in rising order. It takes one request for each
// level; of the root it asks at once what is below.
func (t *Tree) Find(ask func(request []byte) (reply []byte, err error)) (keys []uint64, err error) {
	nodes := []int{0}
	for level := range t.depth {
		reply, err := ask(appendRequest(nil, level, nodes))
		if err != nil {
			return nil, err
		}
		if len(reply) != len(nodes)*fan*hashBytes {
			return nil, errMalformed
		}
		var differ []int
		for _, n := range nodes {
			for i, child := range t.children(level, n) {
				if hash(reply[:hashBytes]) != child {
					differ = append(differ, n*fan+i)
				}
				reply = reply[hashBytes:]
			}
		}
		if nodes = differ; len(nodes) == 0 {
			return nil, nil
		}
	}
	reply, err := ask(appendRequest(nil, t.depth, nodes))
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		theirs, rest, err := cutElements(reply)
		if err != nil {
			return nil, err
		}
		keys, reply = append(keys, differing(t.leaves[n], theirs)...), rest
	}
	if len(reply) > 0 {
		return nil, errMalformed
	}
	return keys, nil
}

func cutElements(b []byte) (list []reconcile.Element, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size)/elementBytes {
		return nil, nil, errMalformed
	}
	b = b[size:]
	for range n {
		list = append(list, reconcile.Element{Key: binary.BigEndian.Uint64(b), Version: binary.BigEndian.Uint64(b[8:])})
		b = b[elementBytes:]
	}
	return list, b, nil
}

// differing merges two lists in the order of their keys.
func differing(a, b []reconcile.Element) (keys []uint64) {
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Key < b[0].Key:
			keys, a = append(keys, a[0].Key), a[1:]
		case len(a) == 0 || b[0].Key < a[0].Key:
			keys, b = append(keys, b[0].Key), b[1:]
		default:
			if a[0] != b[0] {
				keys = append(keys, a[0].Key)
			}
			a, b = a[1:], b[1:]
		}
	}
	return keys
}
