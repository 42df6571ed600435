package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// narrator tells a person what happens, one line an event, with the seconds
// since the start in front; on a terminal a bar below shows the way to go.
type narrator struct {
	begin time.Time
	out   io.Writer
	bar   *progressbar.ProgressBar // nil when nobody watches

	mu sync.Mutex
}

func newNarrator(steps int) *narrator {
	n := &narrator{begin: time.Now(), out: os.Stdout}
	if term.IsTerminal(int(os.Stdout.Fd())) {
		n.bar = progressbar.NewOptions(steps, progressbar.OptionSetWidth(40), progressbar.OptionSetWriter(n.out),
			progressbar.OptionSetPredictTime(false), progressbar.OptionClearOnFinish())
	}
	return n
}

func (n *narrator) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.bar != nil {
		n.bar.Clear()
	}
	fmt.Fprintf(n.out, "%6.2f s  %s\n", time.Since(n.begin).Seconds(), text)
	if n.bar != nil {
		n.bar.RenderBlank()
	}
}

// chapter begins a part of the story.
func (n *narrator) chapter(title string) {
	n.say("%s %s", title, strings.Repeat("─", max(0, 66-len(title))))
}

// step moves the bar.
func (n *narrator) step() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.bar != nil {
		n.bar.Add(1)
	}
}

// done takes the bar away.
func (n *narrator) done() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.bar != nil {
		n.bar.Finish()
		n.bar = nil
	}
}
