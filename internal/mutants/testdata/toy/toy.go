// Package toy is what the tests of the mutants mutate.
package toy

// Within tells whether a counter is at most limit.
func Within(n, limit int) bool {
	return n <= limit
}

// Last tells what was seen last.
func Last(seen []int) int {
	if len(seen) == 0 {
		return 0
	}
	return seen[len(seen)-1]
}
