package main

import (
	"errors"
	"math"
	"slices"
)

var errNothingMeasured = errors.New("nothing was measured")

// median of the values; the mean of the middle two when their number is even.
func median(values []float64) (float64, error) {
	if len(values) == 0 {
		return 0, errNothingMeasured
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle], nil
	}
	return (sorted[middle-1] + sorted[middle]) / 2, nil
}

// spread is the largest value over the smallest: 1 is perfectly steady.
func spread(values []float64) float64 {
	if len(values) == 0 || slices.Min(values) <= 0 {
		return math.NaN()
	}
	return slices.Max(values) / slices.Min(values)
}

// ratios divides round by round, so that what slows a whole round down cancels
// out. Rounds in which either side was not measured are left out.
func ratios(of, to map[int]float64) []float64 {
	var quotients []float64
	for round, numerator := range of {
		if denominator := to[round]; denominator > 0 {
			quotients = append(quotients, numerator/denominator)
		}
	}
	return quotients
}

// significant rounds to n significant decimal digits.
func significant(value float64, n int) float64 {
	if value == 0 || math.IsInf(value, 0) || math.IsNaN(value) {
		return value
	}
	scale := math.Pow(10, float64(n)-math.Ceil(math.Log10(math.Abs(value))))
	return math.Round(value*scale) / scale
}
