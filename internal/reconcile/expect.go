package reconcile

import "math/bits"

// plenty is more than anybody will send or expect; below it an int of 32 bits
// does not overflow.
const plenty = 1 << 29

// Expect estimates how many elements differ if so many of a number of equal
// slices (shards) have different digests: the number of keys thrown into
// slices at random when the last of these is hit, of/of + of/(of-1) + ..., so
// many terms, which is near of * -ln(1 - differ/of). A key counts as two
// elements: most have another version on each side. If all slices differ
// there may be any number more.
func Expect(differ, of int) int {
	const one = 1 << 16 // fixed point
	var keys uint64
	for left := of; left > max(of-differ, 0); left-- {
		keys += uint64(of) * one / uint64(left)
	}
	return int(min((2*keys+one/2)/one, plenty))
}

// FirstSymbols returns how many symbols to send first if so many elements are
// expected to differ: 11/8 of them and 2 log2. If as many do differ, that is
// enough 2 times of 3 or more often (measured):
//
//	elements      1    2    5   10   20   50  100  200  500  1000  2000
//	first         1    4   10   19   35   78  149  289  703  1393  2770
//	enough, %   100   86   79   77   75   68   68   69   67    74    82
//	needed, mean  1  3.2  8.8   17   33   76  146  284  693  1375  2730
//
// Few elements have a long tail: two of them are in the same symbols, of the
// first m, with a chance of about 160/m^4, and cannot be told apart by these.
func FirstSymbols(elements int) int {
	elements = min(max(elements, 1), plenty)
	return elements + elements*3/8 + 2*(bits.Len(uint(elements))-1)
}

// NextSymbols returns how many more to send when so many were not enough, for
// the again-th time: a quarter of them, of which half is too much on average,
// then a half, then as many again. What is far off ends soon.
func NextSymbols(sent, again int) int {
	return max(min(sent, plenty)>>max(2-max(again, 0), 0), 4)
}
