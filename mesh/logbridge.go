package mesh

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
)

// logBridge turns lines of hashicorp's loggers, "[LEVEL] component: text",
// into records of ours.
type logBridge struct{ log *slog.Logger }

// Write takes one line.
func (b *logBridge) Write(line []byte) (int, error) {
	level := slog.LevelInfo
	text := string(bytes.TrimSpace(line))
	if rest, ok := strings.CutPrefix(text, "["); ok {
		if name, rest, ok := strings.Cut(rest, "] "); ok {
			level, text = bridgedLevel(name), rest
		}
	}
	if strings.HasSuffix(text, "Shutdown without a Leave") {
		return len(line), nil // which is what Close is; see Node.Leave
	}
	for _, daily := range dailyBread {
		if strings.Contains(text, daily) {
			level = slog.LevelDebug
		}
	}
	component := "gossip"
	if name, rest, ok := strings.Cut(text, ": "); ok && !strings.Contains(name, " ") {
		component, text = name, rest
	}
	b.log.Log(context.Background(), level, text, "component", component)
	return len(line), nil
}

// dailyBread are lines that memberlist repeats for as long as one node does not
// reach another. The detector says so once, in words that name the member.
var dailyBread = [...]string{
	"Failed to send", "Failed fallback", "Push/Pull with", "Failed to push local state", "Was able to connect to", "Suspect ",
	"No response", "failed to reach", "Marking ",
}

// bridgedLevel is one step below what the libraries say: what is an error to
// them, a node that does not answer, is daily bread here.
func bridgedLevel(name string) slog.Level {
	switch name {
	case "ERR", "ERROR":
		return slog.LevelWarn
	case "WARN":
		return slog.LevelInfo
	}
	return slog.LevelDebug
}
