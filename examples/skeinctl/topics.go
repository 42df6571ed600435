package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/view"
)

// maxMessage is what Node.Publish takes.
const maxMessage = 1 << 10

// topicCommands send and hear messages.
func topicCommands() []command {
	return []command{
		{name: "publish", args: "topic message", short: "tell all nodes in reach a message", run: runPublish,
			flags: set{(*session).nodeFlags}, long: `
Has the node publish the message, or what comes in by standard input when it is
"-", of at most 1 KiB: programs that have subscribed to the topic hear it as one of
that node. A message that begins with a dash goes behind "--". Nobody says whether
anybody has heard it, and nothing is kept on disk. -json puts out the topic and the
number of bytes.`},
		{name: "subscribe", args: "topic", short: "print messages as they are published", run: runSubscribe,
			flags: set{(*session).nodeFlags, subscribeFlags}, long: `
Prints a line for each message of the topic that reaches the node from now on: who
published it, by name or id, a tab, the message. What is not plain text is quoted as
in Go. It ends with -limit, or by Ctrl-C. A warning says how many were lost because
they were not read in time. With -json each line is an object, which says so in
lost. The -timeout is for the connection.`},
	}
}

func subscribeFlags(s *session, fs *flag.FlagSet) {
	fs.IntVar(&s.limit, "limit", 0, "end after so `many` messages; 0: never")
	s.endless = true
}

// publishedJSON is what publish prints.
type publishedJSON struct {
	Topic string `json:"topic"`
	Bytes int    `json:"bytes"`
}

func runPublish(s *session) error {
	topic, payload := s.words[0], []byte(s.words[1])
	if s.words[1] == "-" {
		var err error
		if payload, err = io.ReadAll(io.LimitReader(s.in, maxMessage+1)); err != nil {
			return fmt.Errorf("read the message: %w", err)
		}
	}
	if len(payload) > maxMessage {
		return fmt.Errorf("the message exceeds %d bytes: %w", maxMessage, mesh.ErrTooLarge)
	}
	return s.withNode(func(ctx context.Context, node *mesh.Client) error {
		if err := node.Publish(ctx, topic, payload); err != nil {
			return misuseOfTopic(err)
		}
		if s.json {
			return s.printJSON(publishedJSON{topic, len(payload)})
		}
		_, err := fmt.Fprintln(s.out, "published")
		return err
	})
}

// misuseOfTopic makes of a topic that cannot be one a fault of the command line.
func misuseOfTopic(err error) error {
	if errors.Is(err, mesh.ErrTopic) {
		return usageError("a topic is 1 to 64 bytes that can be printed")
	}
	return err
}

// messageJSON is what subscribe prints for each message, on a line.
type messageJSON struct {
	From    view.NodeID `json:"from"`
	Name    string      `json:"name,omitempty"` // of that node, where it is known
	Topic   string      `json:"topic"`
	Payload valueJSON   `json:"payload"`
	Lost    int         `json:"lost,omitempty"` // just before it, because they were not read in time
}

func runSubscribe(s *session) error {
	return s.withNode(func(ctx context.Context, node *mesh.Client) error {
		heard, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		err := messagePrinter{s, node, make(map[view.NodeID]string)}.printMessages(heard)
		if heard.Err() != nil && ctx.Err() == nil {
			return nil // it was interrupted
		}
		return misuseOfTopic(err)
	})
}

// messagePrinter prints messages that a node hears.
type messagePrinter struct {
	*session
	node  *mesh.Client
	names map[view.NodeID]string // of members
}

// printMessages prints messages until there are enough, or ctx ends.
func (p messagePrinter) printMessages(ctx context.Context) error {
	messages := p.node.Subscribe(ctx, p.words[0])
	if err := p.learnNames(ctx); err != nil {
		return err
	}
	p.extendTime()
	shown := 0
	for m, err := range messages {
		if err != nil {
			return err
		}
		if _, ok := p.names[m.From]; !ok {
			p.names[m.From] = "" // it may never be known
			if err := p.learnNames(ctx); err != nil {
				return err
			}
		}
		if err := p.showMessage(&m); err != nil {
			return err
		}
		if shown++; shown == p.limit {
			return nil
		}
	}
	return nil
}

// learnNames asks the node what members are called.
func (p messagePrinter) learnNames(ctx context.Context) error {
	v, err := p.node.View(ctx)
	for _, m := range v.Members {
		p.names[m.ID] = m.Name
	}
	return err
}

func (p messagePrinter) showMessage(m *mesh.Message) error {
	name := p.names[m.From]
	if p.json {
		return p.printJSON(messageJSON{m.From, name, m.Topic, newValueJSON(m.Payload), m.Lost})
	}
	if m.Lost > 0 {
		p.printWarning("%s lost here: not read in time", countNoun(m.Lost, "message"))
	}
	if name == "" {
		name = m.From.String()
	}
	_, err := fmt.Fprintf(p.out, "%s\t%s\n", quoteUnlessPlain(name), quoteUnlessPlain(string(m.Payload)))
	return err
}
