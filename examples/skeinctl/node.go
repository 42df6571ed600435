package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/replica"
)

// withNode connects to the node for as long as fn runs, and bounds both.
func (s *session) withNode(fn func(ctx context.Context, node *mesh.Client) error) (err error) {
	secret, err := s.loadSecret()
	if err != nil {
		return err
	}
	ctx, stop := s.limitTime()
	defer stop()
	defer func() {
		// A connection may notice the deadline before the context does.
		if at, ok := ctx.Deadline(); errors.Is(err, mesh.ErrUnreachable) && ok && !time.Now().Before(at) ||
			errors.Is(err, context.Canceled) && context.Cause(ctx) == context.DeadlineExceeded {
			err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
		}
	}()
	node, err := mesh.Dial(ctx, mesh.ClientConfig{Addr: s.addr, Secret: secret, MeshName: s.meshName, Shards: s.shards})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	return fn(ctx, node)
}

// limitTime returns a context that ends after -timeout, or after as long without a
// call of extendTime if the command is patient. If it is endless the first call lifts the limit.
func (s *session) limitTime() (ctx context.Context, stop context.CancelFunc) {
	if !s.patient && !s.endless {
		s.extendTime = func() {}
		return context.WithTimeout(context.Background(), s.timeout)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	limit := time.AfterFunc(s.timeout, func() { cancel(context.DeadlineExceeded) })
	s.extendTime = func() { limit.Reset(s.timeout) }
	if s.endless {
		s.extendTime = func() { limit.Stop() }
	}
	return ctx, func() {
		limit.Stop()
		cancel(nil)
	}
}

// explainError turns an error into what a person can do about it.
func (s *session) explainError(err error) string {
	switch {
	case errors.Is(err, mesh.ErrAdminOff):
		return fmt.Sprintf("the node at %s does not answer admin requests: the program that runs it must set AllowAdmin in its mesh.Config", s.addr)
	case errors.Is(err, mesh.ErrNoHandler) && s.name == "draw":
		return fmt.Sprintf("the node at %s opens no partition (partition.Open), so it knows of no cuts and leaders; members and status tell what it does know", s.addr)
	case errors.Is(err, mesh.ErrNoHandler) && slices.Contains([]string{"services", "plan", "move", "drill", "history", "resolve"}, s.name):
		return fmt.Sprintf("the node at %s runs no services: its program opens no Failover (failover.Open)", s.addr)
	case errors.Is(err, mesh.ErrNoHandler) && s.name == "restore":
		return fmt.Sprintf("the node at %s has no store (replica.Open), or is of a release that takes in no backups", s.addr)
	case errors.Is(err, mesh.ErrNoHandler) && s.name == "backup":
		return fmt.Sprintf("the node at %s tells nothing of backups: its program opens no Backup (backup.Open), or does not call its HandleAdmin", s.addr)
	case errors.Is(err, mesh.ErrNoHandler) && s.name == "prove":
		return fmt.Sprintf("the node at %s proves nothing: its program opens no Ledger (ledger.Open), or does not call its HandleAdmin", s.addr)
	case errors.Is(err, mesh.ErrNoHandler) && slices.Contains([]string{"publish", "subscribe"}, s.name):
		return fmt.Sprintf("the node at %s is of a release that does not publish or subscribe for programs", s.addr)
	case errors.Is(err, mesh.ErrNoHandler):
		return fmt.Sprintf("the node at %s has no store: the program that runs it opens none (replica.Open)", s.addr)
	case errors.Is(err, context.DeadlineExceeded):
		doubt := ""
		if slices.Contains([]string{"put", "del", "import", "plan", "move", "drill", "restore", "publish"}, s.name) {
			doubt = "; it may be carried out all the same, and may be repeated"
		}
		return fmt.Sprintf("no answer from the node at %s within %v (-timeout)%s (%v)", s.addr, s.timeout, doubt, err)
	case errors.Is(err, mesh.ErrUnreachable):
		return fmt.Sprintf("no node of this mesh answers at %s: does one run there, and does it have the same secret, -mesh and -shards? (%v)", s.addr, err)
	case errors.Is(err, replica.ErrNoBucket) && errors.Is(err, replica.ErrDegraded):
		return fmt.Sprintf("no bucket %q is known to the stores in reach, but some could not be asked", s.bucket)
	case errors.Is(err, replica.ErrNoBucket):
		return fmt.Sprintf("there is no bucket %q: a program must define it (Store.Bucket)", s.bucket)
	case errors.Is(err, replica.ErrBadContext):
		return "the context is of another key or bucket, or damaged: read the key again with get -context"
	case errors.Is(err, replica.ErrSiblingLimit):
		return "the key has too many concurrent values: read them with get -all -context and write with that -context"
	case errors.Is(err, replica.ErrOverloaded), errors.Is(err, mesh.ErrOverloaded):
		return fmt.Sprintf("the node has too much to do, try again later: %v", err)
	}
	return err.Error()
}

// printWarning tells of a result that is valid, but not all that was wished for.
func (s *session) printWarning(format string, args ...any) {
	fmt.Fprintf(s.err, "skeinctl %s: warning: %s\n", s.name, cleanLine(fmt.Sprintf(format, args...)))
}

func (s *session) printJSON(v any) error {
	enc := json.NewEncoder(s.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// cleanLine makes one line of a text from elsewhere that does nothing to a
// terminal.
func cleanLine(text string) string {
	return strings.Map(printable, strings.ReplaceAll(strings.TrimSpace(text), "\n", "; "))
}

// cleanLines keeps the lines of such a text as they are.
func cleanLines(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' {
			return r
		}
		return printable(r)
	}, text)
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return unicode.ReplacementChar
}
