package draw

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// cleanName returns a name that moves no cursor, ends no line and turns no text
// around: what is not printable becomes U+FFFD, which also is no byte that XML
// forbids.
func cleanName(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, name)
}

// wide lists what takes two cells of a terminal, coarsely: East Asian scripts,
// full width forms and pictographs.
var wide = [...][2]rune{
	{0x1100, 0x115f}, {0x231a, 0x231b}, {0x23e9, 0x23f3}, {0x25fd, 0x25fe}, {0x2614, 0x2615}, {0x2648, 0x2653},
	{0x267f, 0x267f}, {0x2693, 0x2693}, {0x26a1, 0x26a1}, {0x26aa, 0x26ab}, {0x26bd, 0x26be}, {0x26c4, 0x26c5},
	{0x26ce, 0x26ce}, {0x26d4, 0x26d4}, {0x26ea, 0x26ea}, {0x26f2, 0x26f5}, {0x26fa, 0x26fd}, {0x2705, 0x2705},
	{0x270a, 0x270b}, {0x2728, 0x2728}, {0x274c, 0x274e}, {0x2753, 0x2757}, {0x2795, 0x2797}, {0x27b0, 0x27bf},
	{0x2b1b, 0x2b1c}, {0x2b50, 0x2b55}, {0x2e80, 0x303e}, {0x3041, 0xa4cf}, {0xa960, 0xa97f}, {0xac00, 0xd7a3},
	{0xf900, 0xfaff}, {0xfe30, 0xfe6f}, {0xff00, 0xff60}, {0xffe0, 0xffe6}, {0x16fe0, 0x1b2ff}, {0x1f000, 0x1faff},
	{0x20000, 0x3fffd},
}

// runeCells returns how many cells of a terminal a rune takes.
func runeCells(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	for _, span := range wide {
		if span[0] <= r && r <= span[1] {
			return 2
		}
	}
	return 1
}

func textCells(s string) (n int) {
	for _, r := range s {
		n += runeCells(r)
	}
	return n
}

// clipText shortens s to at most n cells. It leaves out the middle: names of one
// place begin alike and end in a number.
func clipText(s string, n int) string {
	if textCells(s) <= n {
		return s
	}
	runes := []rune(s)
	head, tail := 0, len(runes)
	room := n - 1
	for front := room - room/2; head < len(runes) && front >= runeCells(runes[head]); head++ {
		front -= runeCells(runes[head])
	}
	room -= textCells(string(runes[:head]))
	for tail > head && room >= runeCells(runes[tail-1]) {
		tail--
		room -= runeCells(runes[tail])
	}
	for tail < len(runes) && runeCells(runes[tail]) == 0 {
		tail++ // an accent whose letter was left out
	}
	return string(runes[:head]) + "…" + string(runes[tail:])
}

// padText fills s, clipped, up to n cells.
func padText(s string, n int) string {
	s = clipText(s, n)
	return s + strings.Repeat(" ", n-textCells(s))
}

// wrapText cleans a text and breaks it between words into lines of at most n cells.
func wrapText(text string, n int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		word = cleanName(word)
		switch {
		case line == "":
			line = word
		case textCells(line)+1+textCells(word) <= n:
			line += " " + word
		default:
			lines = append(lines, clipText(line, n))
			line = word
		}
	}
	if line != "" {
		lines = append(lines, clipText(line, n))
	}
	return lines
}

// limitLines leaves the first most of lines of n cells, and shows if there are more.
func limitLines(lines []string, most, n int) []string {
	if len(lines) <= most {
		return lines
	}
	return append(lines[:most-1:most-1], clipText(lines[most-1], n-2)+" …")
}
