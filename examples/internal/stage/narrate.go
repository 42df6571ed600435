package stage

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const barWidth = 40

// Narrator tells a person what happens, one line an event, with the seconds
// since the start in front; on a terminal a bar below shows the way to go.
type Narrator struct {
	begin time.Time
	out   io.Writer

	mu          sync.Mutex
	steps, gone int // steps is 0 when nobody watches: there is no bar
}

// NewNarrator returns one that begins now. Its bar has so many steps.
func NewNarrator(steps int) *Narrator {
	n := &Narrator{begin: time.Now(), out: os.Stdout}
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

// PrintEvent tells what happens.
func (n *Narrator) PrintEvent(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clearBar()
	fmt.Fprintf(n.out, "%6.2f s  %s\n", time.Since(n.begin).Seconds(), text)
	n.drawBar()
}

// Chapter begins a part of the story.
func (n *Narrator) Chapter(title string) {
	n.PrintEvent("%s %s", title, strings.Repeat("─", max(0, 66-len(title))))
}

// MoveBar moves the bar.
func (n *Narrator) MoveBar() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gone = min(n.gone+1, n.steps)
	n.drawBar()
}

// RemoveBar takes the bar away.
func (n *Narrator) RemoveBar() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clearBar()
	n.steps = 0
}

// drawBar needs mu, as clearBar does.
func (n *Narrator) drawBar() {
	if n.steps > 0 {
		full := barWidth * n.gone / n.steps
		fmt.Fprintf(n.out, "\r%3d%% |%s%s|", 100*n.gone/n.steps, strings.Repeat("█", full), strings.Repeat(" ", barWidth-full))
	}
}

func (n *Narrator) clearBar() {
	if n.steps > 0 {
		fmt.Fprintf(n.out, "\r%s\r", strings.Repeat(" ", barWidth+8))
	}
}

// FormatDuration is how a narrator tells a duration.
func FormatDuration(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// SleepFor waits for d, or until ctx ends, which is its error.
func SleepFor(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
