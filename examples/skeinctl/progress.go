package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

const (
	progressOften  = 200 * time.Millisecond // on a terminal
	progressSeldom = 10 * time.Second       // elsewhere, a line each time
)

// progressLine tells how far something is, now and then: on a terminal in one line that is written
// again and again, elsewhere in lines of their own.
type progressLine struct {
	out          io.Writer
	terminal     bool
	drawn        bool
	began, shown time.Time
}

func newProgressLine(out io.Writer) *progressLine {
	now := time.Now()
	p := &progressLine{out: out, began: now, shown: now}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// showCounts prints what is done, and how many bytes a second that was.
func (p *progressLine) showCounts(bytes int64, format string, args ...any) {
	gap := progressSeldom
	if p.terminal {
		gap = progressOften
	}
	now := time.Now()
	if now.Sub(p.shown) < gap {
		return
	}
	p.shown = now
	text := fmt.Sprintf(format, args...) + fmt.Sprintf(", %s (%s/s)", inUnits(bytes), inUnits(perSecond(bytes, now.Sub(p.began))))
	if p.terminal {
		p.drawn = true
		fmt.Fprintf(p.out, "\r%s\x1b[K", text)
		return
	}
	fmt.Fprintln(p.out, text)
}

// clearLine makes room for the result.
func (p *progressLine) clearLine() {
	if p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

func perSecond(n int64, took time.Duration) int64 {
	return int64(float64(n) / max(took.Seconds(), 0.001))
}

// inUnits is a number of bytes for people.
func inUnits(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000_000:
		return fmt.Sprintf("%.1f KB", float64(n)/1e3)
	case n < 1000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}
