package chaos

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// CommandFile is the file in which commands that nodes serve note what they do, in lines of
// CommandLine.
const CommandFile = "commands"

// CommandLine is what a command has noted.
type CommandLine struct {
	At     time.Duration `json:"at"`   // by the machine's boot clock
	Kind   string        `json:"kind"` // Begin, or End: it was asked to end
	Node   string        `json:"node"`
	PID    int           `json:"pid"`
	Beside []int         `json:"beside,omitempty"` // Begin: others that ran then
}

// ServicePort is where a command answers each line with the name of its node, and a GET of HTTP
// with a page of it, if its nodes have a floating address; ForwardPort is where each of these nodes forwards to it, and DNSPort where it
// answers that ServiceName is.
const (
	ServicePort = 7900
	ForwardPort = 7901
	DNSPort     = 7902
	ServiceName = "press.skein.test"
)

// AnswerLine is what a client prints of an answer that it got.
type AnswerLine struct {
	AtUS int64  `json:"at_us"` // since 1970
	From string `json:"from"`  // name of the node
}

// ReadCommands returns what commands have noted in a directory, in order.
func ReadCommands(dir string) (lines []CommandLine, err error) {
	data, err := os.ReadFile(filepath.Join(dir, CommandFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(data) {
		var l CommandLine
		if err := json.Unmarshal(line, &l); err != nil {
			return nil, fmt.Errorf("read what commands have noted: %w", err)
		}
		lines = append(lines, l)
	}
	return lines, nil
}
