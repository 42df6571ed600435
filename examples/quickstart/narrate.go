package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const barWidth = 40

// narrator tells a person what happens, one line an event, with the seconds
// since the start in front; on a terminal a bar below shows the way to go.
type narrator struct {
	begin time.Time
	out   io.Writer

	mu          sync.Mutex
	steps, gone int // steps is 0 when nobody watches: there is no bar
}

func newNarrator(steps int) *narrator {
	n := &narrator{begin: time.Now(), out: os.Stdout}
	if isTerminal(os.Stdout) {
		n.steps = steps
	}
	return n
}

// isTerminal tells whether somebody may watch what is written to a file.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (n *narrator) printEvent(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clearBar()
	fmt.Fprintf(n.out, "%6.2f s  %s\n", time.Since(n.begin).Seconds(), text)
	n.drawBar()
}

// chapter begins a part of the story.
func (n *narrator) chapter(title string) {
	n.printEvent("%s %s", title, strings.Repeat("─", max(0, 66-len(title))))
}

// moveBar moves the bar.
func (n *narrator) moveBar() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gone = min(n.gone+1, n.steps)
	n.drawBar()
}

// removeBar takes the bar away.
func (n *narrator) removeBar() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clearBar()
	n.steps = 0
}

// drawBar needs mu, as clearBar does.
func (n *narrator) drawBar() {
	if n.steps > 0 {
		full := barWidth * n.gone / n.steps
		fmt.Fprintf(n.out, "\r%3d%% |%s%s|", 100*n.gone/n.steps, strings.Repeat("█", full), strings.Repeat(" ", barWidth-full))
	}
}

func (n *narrator) clearBar() {
	if n.steps > 0 {
		fmt.Fprintf(n.out, "\r%s\r", strings.Repeat(" ", barWidth+8))
	}
}
