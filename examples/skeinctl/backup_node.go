package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/mesh"
)

// levelJSON is how one policy does at one tier.
type levelJSON struct {
	Policy   string    `json:"policy"`
	Tier     string    `json:"tier"`
	Running  bool      `json:"running"`
	LastGood time.Time `json:"last_good,omitzero"`
	Took     string    `json:"took,omitempty"`
	Error    string    `json:"error,omitempty"`
	Missed   bool      `json:"missed"` // the objective is
	Bare     int       `json:"bare"`   // slices for which it is
	// Unentered are manifests that the ledger has not taken yet.
	Unentered int      `json:"unentered"`
	Done      doneJSON `json:"done"`
}

// doneJSON is what one backup did.
type doneJSON struct {
	Segments int    `json:"segments"`
	Bytes    int64  `json:"bytes"`
	Slices   int    `json:"slices"`
	Changed  int    `json:"changed"`
	Records  int    `json:"records"`
	NotReady int    `json:"not_ready"`
	TooLarge int    `json:"too_large"`
	Failed   string `json:"failed,omitempty"`
}

func newDoneJSON(d backup.Done) doneJSON {
	out := doneJSON{d.Segments, d.Bytes, d.Slices, d.Changed, d.Records, d.NotReady, d.TooLarge, ""}
	if d.Failed != nil {
		out.Failed = d.Failed.Error()
	}
	return out
}

// isWhole tells whether all could be backed up.
func isWhole(d backup.Done) bool { return d.Failed == nil && d.NotReady == 0 && d.TooLarge == 0 }

func doneInWords(d backup.Done) string {
	line := fmt.Sprintf("%s of %s changed, %s, %s", countNoun(d.Changed, "slice"), countNoun(d.Slices, "slice"), countNoun(d.Records, "record"), inUnits(d.Bytes))
	if d.NotReady > 0 {
		line += fmt.Sprintf("; %s could not be read yet", countNoun(d.NotReady, "slice"))
	}
	if d.TooLarge > 0 {
		line += fmt.Sprintf("; %s too large", countNoun(d.TooLarge, "record"))
	}
	if d.Failed != nil {
		line += "; not whole: " + cleanLine(d.Failed.Error())
	}
	return line
}

// withLevels asks the node for what it backs up, of the policies and tiers that are named.
func (o *backupOptions) withLevels(ctx context.Context, s *session, c *backup.Client) ([]backup.LevelStatus, error) {
	ctx, stop := context.WithTimeout(ctx, s.timeout)
	defer stop()
	all, err := c.Status(ctx)
	return slices.DeleteFunc(all, func(l backup.LevelStatus) bool {
		return len(o.query.Policies) > 0 && !slices.Contains(o.query.Policies, l.Policy) || len(o.specs) > 0 && !slices.Contains(o.specs, l.Tier)
	}), err
}

// askForBackups has a verb done at the node.
func askForBackups(s *session, do func(context.Context, *session, *backup.Client, []backup.LevelStatus) error) error {
	s.endless = true
	return s.withNode(func(ctx context.Context, node *mesh.Client) error {
		s.extendTime()
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		c := backup.NewClient(node)
		levels, err := s.backups.withLevels(ctx, s, c)
		if err == nil && len(levels) == 0 {
			err = fmt.Errorf("%w: the node has none that fits", backup.ErrUnknown)
		}
		if err == nil {
			err = do(ctx, s, c, levels)
		}
		if ctx.Err() != nil && err != nil {
			return errors.New("broken off; a backup that was begun goes on at the node")
		}
		return err
	})
}

func showBackupStatus(_ context.Context, s *session, _ *backup.Client, levels []backup.LevelStatus) error {
	problems := 0
	out := []levelJSON{}
	tw := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "POLICY\tTIER\tLAST GOOD\tSTATE\tDONE")
	for _, l := range levels {
		if l.Missed || l.Bare > 0 || l.Error != "" || !isWhole(l.Last) {
			problems++
		}
		j := levelJSON{l.Policy, l.Tier, l.Running, l.LastGood, "", l.Error, l.Missed, l.Bare, l.Unentered, newDoneJSON(l.Last)}
		if l.Took > 0 {
			j.Took = l.Took.String()
		}
		out = append(out, j)
		fmt.Fprintln(tw, strings.Join(levelCells(l), "\t"))
	}
	if s.json {
		return problemsIf(s.printJSON(map[string]any{"levels": out}), problems)
	}
	return problemsIf(tw.Flush(), problems)
}

func levelCells(l backup.LevelStatus) []string {
	good, state := "never", "waits"
	if !l.LastGood.IsZero() {
		good = textOfTime(l.LastGood)
	}
	if l.Running {
		state = "runs"
	}
	if l.Missed {
		state += ", too long ago"
	}
	if l.Bare > 0 {
		state += fmt.Sprintf(", %s too long ago", countNoun(l.Bare, "slice"))
	}
	if l.Unentered > 0 {
		state += fmt.Sprintf(", %s not in the ledger", countNoun(l.Unentered, "manifest"))
	}
	if l.Error != "" {
		state += ", failed: " + cleanLine(l.Error)
	}
	return []string{cleanLine(l.Policy), cleanLine(l.Tier), good, state, doneInWords(l.Last)}
}

// backUpNow makes one backup after the other, and goes on with the next when one fails.
func backUpNow(ctx context.Context, s *session, c *backup.Client, levels []backup.LevelStatus) error {
	var errs []error
	problems := 0
	for _, l := range levels {
		done, err := c.Now(ctx, l.Policy, l.Tier)
		if err != nil {
			errs = append(errs, fmt.Errorf("policy %s, tier %s: %w", l.Policy, l.Tier, err))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		if !isWhole(done) {
			problems++
		}
		if s.json {
			err = s.printJSON(struct {
				Policy string   `json:"policy"`
				Tier   string   `json:"tier"`
				Done   doneJSON `json:"done"`
			}{l.Policy, l.Tier, newDoneJSON(done)})
		} else {
			_, err = fmt.Fprintf(s.out, "%s at %s: %s\n", cleanLine(l.Policy), cleanLine(l.Tier), doneInWords(done))
		}
		errs = append(errs, err)
	}
	return problemsIf(errors.Join(errs...), problems)
}
