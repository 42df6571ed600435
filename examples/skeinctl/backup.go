package main

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/mesh/view"
)

// backupCommands look after backups.
func backupCommands() []command {
	return []command{
		{name: "backup", args: "list|verify|drill|prune|now|status", short: "list, verify and delete backups, or have a node make some", run: runBackup,
			flags: set{tierFlags, identityFlag, backupFlags, (*session).nodeFlags}, long: `
list, verify, drill and prune work on what lies at tiers; they ask no node.
list prints a line for each backup to which a restore can go back, the newest first:
its id, time by its node's clock, node, policy, bytes, and "partial" when something
could not be backed up; -id, -node, -policy, -from and -to choose some of them.
verify reads all that is there, and compares hashes; with -identity it opens it, too.
drill is a restore that ends before a mesh: it reads, opens and decodes with -identity
what a restore would bring, and counts it; -policy chooses some of it.
prune deletes what -keep lets go: backups of a policy that are older, but never
the last good one of a node, and what unfinished backups have left. While somebody
restores from a tier all is kept for three days more. It only tells
what it would delete unless -yes is given. Where clocks differ it deletes nothing.
What is younger than its policy keeps it counts as missing once it is deleted.
Whatever is damaged or missing is told, and the exit status is 4.
now has a node back up what it leads, and waits; status tells how its backups do. Both
are by its policies, at its tiers, all of them or those that -policy and -tier name as
its program does. The exit status is 4 when something could not be backed up, the
last one failed, or is too old. The program must have called Backup.HandleAdmin.
  skeinctl backup verify -tier dir:/mnt/usb -tier s3:https://s3.example.org/plant
  skeinctl backup prune -tier dir:/mnt/usb -keep hourly=7d -keep daily=365d`},
		restoreCommand(),
	}
}

func backupFlags(s *session, fs *flag.FlagSet) {
	o := &s.backups
	fs.StringVar(&o.query.ID, "id", "", "list: `text` with which the ids of the backups begin")
	fs.Func("node", "list, prune: `id` of the node whose backups are meant; more than once for several", func(text string) error {
		id, err := view.ParseNodeID(text)
		o.query.Nodes = append(o.query.Nodes, id)
		return err
	})
	fs.Func("policy", "list, drill, now, status: `name` of the policy by which they were made; more than once for several", func(name string) error {
		o.query.Policies = append(o.query.Policies, name)
		return nil
	})
	fs.Func("from", "list: `time` of the oldest", parseMoment(&o.query.From))
	fs.Func("to", "list: `time` of the newest", parseMoment(&o.query.To))
	fs.Func("keep", "prune: `policy=time` for how long its backups are kept, hourly=168h or hourly=7d; more than once for several", o.addKeep)
	fs.BoolVar(&s.yes, "yes", false, "prune: delete")
}

func (o *backupOptions) addKeep(text string) error {
	policy, long, ok := strings.Cut(text, "=")
	keep, err := time.ParseDuration(long)
	if days, isDays := strings.CutSuffix(long, "d"); isDays {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		keep = time.Duration(n) * 24 * time.Hour
	}
	if !ok || policy == "" || err != nil || keep <= 0 {
		return errors.New("it is not as hourly=168h or hourly=7d")
	}
	if o.keep == nil {
		o.keep = make(map[string]backup.Keep)
	}
	o.keep[policy] = backup.Keep{For: keep}
	return nil
}

// backupVerb is what the command backup can do.
type backupVerb struct {
	flags string // that mean something to it, beside those of all
	do    func(context.Context, *session, []backup.NamedTier) error
}

func runBackup(s *session) error {
	switch s.words[0] {
	case "now", "status":
		return runNodeBackup(s)
	}
	verb, ok := map[string]backupVerb{
		"list":   {"id node policy from to", listBackups},
		"verify": {"identity", verifyBackups},
		"drill":  {"identity policy", drillBackups},
		"prune":  {"node keep yes", pruneBackups},
	}[s.words[0]]
	if !ok {
		return usageError(fmt.Sprintf("does list, verify, drill, prune, now or status, not %.20q", s.words[0]))
	}
	if err := checkMeant(s, verb.flags+" tier credentials mesh-id json secret-file"); err != nil {
		return err
	}
	tiers, closeAll, err := openTiers(s)
	if err != nil {
		return err
	}
	defer closeAll()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return verb.do(ctx, s, tiers)
}

// runNodeBackup does what a node is needed for.
func runNodeBackup(s *session) error {
	if err := checkMeant(s, "policy tier addr mesh shards timeout json secret-file"); err != nil {
		return err
	}
	if s.words[0] == "now" {
		return askForBackups(s, backUpNow)
	}
	return askForBackups(s, showBackupStatus)
}

// checkMeant refuses flags that mean nothing to the verb.
func checkMeant(s *session, meant string) error {
	for _, name := range s.given {
		if !slices.Contains(strings.Fields(meant), name) {
			return usageError(fmt.Sprintf("%s has no use for -%s", s.words[0], name))
		}
	}
	return nil
}

// pointJSON is what list prints of each backup.
type pointJSON struct {
	ID       string      `json:"id"`
	Tier     string      `json:"tier"`
	Mesh     view.MeshID `json:"mesh"`
	Node     string      `json:"node"`
	Policy   string      `json:"policy"`
	Time     time.Time   `json:"time"`
	Put      time.Time   `json:"put,omitzero"` // by the clock of the tier
	Segments int         `json:"segments"`
	Bytes    int64       `json:"bytes"`
	Partial  bool        `json:"partial"`
	Key      string      `json:"key"` // by which the node has signed
}

func newPointJSON(p backup.Point) pointJSON {
	return pointJSON{p.ID, p.Tier, p.Mesh, p.Node.String(), p.Policy, p.Time, p.Put, p.Segments, p.Bytes, p.Partial, hex.EncodeToString(p.Key[:])}
}

func listBackups(ctx context.Context, s *session, tiers []backup.NamedTier) error {
	points, faults, err := backup.List(ctx, tiers, s.backups.query)
	if err != nil {
		return err
	}
	if s.json {
		out := []pointJSON{}
		for _, p := range points {
			out = append(out, newPointJSON(p))
		}
		err = s.printJSON(map[string]any{"points": out, "faults": faultTexts(faults)})
	} else {
		err = showPoints(s, points)
		for _, f := range faults {
			s.printWarning("%v", f)
		}
	}
	return problemsIf(err, len(faults))
}

func showPoints(s *session, points []backup.Point) error {
	tw := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "ID\tTIME\tNODE\tPOLICY\tBYTES\tSTATE\tTIER")
	for _, p := range points {
		state := "whole"
		if p.Partial {
			state = "partial"
		}
		fmt.Fprintln(tw, strings.Join([]string{p.ID, textOfTime(p.Time), p.Node.String(), cleanLine(p.Policy), inUnits(p.Bytes), state, cleanLine(p.Tier)}, "\t"))
	}
	return tw.Flush()
}

func textOfTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// problemsIf has a command that has told of problems exit so.
func problemsIf(err error, problems int) error {
	if err == nil && problems > 0 {
		return errProblems
	}
	return err
}

func faultTexts(faults []error) []string {
	out := []string{}
	for _, f := range faults {
		out = append(out, f.Error())
	}
	return out
}

// verifyJSON is what verify prints.
type verifyJSON struct {
	Points   int      `json:"points"`
	Segments int      `json:"segments"`
	Bytes    int64    `json:"bytes"`
	Unnamed  int      `json:"unnamed"` // segments of backups that were not finished
	Faults   []string `json:"faults"`
}

func verifyBackups(ctx context.Context, s *session, tiers []backup.NamedTier) error {
	ids, err := loadIdentities(s)
	if err != nil {
		return err
	}
	progress := newProgressLine(s.err)
	got, err := backup.Verify(ctx, backup.VerifyConfig{Tiers: tiers, Mesh: s.backups.query.Mesh, Identities: ids, Progress: func(v backup.Verified) {
		progress.showCounts(v.Bytes, "%s, %s", countNoun(v.Points, "backup"), countNoun(v.Segments, "segment"))
	}})
	progress.clearLine()
	if err != nil {
		return err
	}
	if got.Points == 0 && len(got.Faults) == 0 {
		return fmt.Errorf("%w at %s", backup.ErrNoBackup, strings.Join(s.backups.specs, ", "))
	}
	if s.json {
		err = s.printJSON(verifyJSON{got.Points, got.Segments, got.Bytes, got.Unnamed, faultTexts(got.Faults)})
		return problemsIf(err, len(got.Faults))
	}
	for _, f := range got.Faults {
		fmt.Fprintf(s.out, "fault: %s\n", cleanLine(f.Error()))
	}
	line := fmt.Sprintf("%s, %s, %s read; ", countNoun(got.Points, "backup"), countNoun(got.Segments, "segment"), inUnits(got.Bytes))
	if got.Unnamed > 0 {
		line += fmt.Sprintf("%s of unfinished backups; ", countNoun(got.Unnamed, "segment"))
	}
	_, err = fmt.Fprintln(s.out, line+countNoun(len(got.Faults), "fault"))
	return problemsIf(err, len(got.Faults))
}

// prunedJSON is what prune prints of each tier.
type prunedJSON struct {
	Tier    string    `json:"tier"`
	Now     time.Time `json:"now,omitzero"` // by what it was decided
	Objects []string  `json:"objects"`
	More    bool      `json:"more"` // there is more than was listed here
	Held    bool      `json:"held"` // a restore may run, and what it may read stays
	Faults  []string  `json:"faults"`
	Error   string    `json:"error,omitempty"`
}

// pruneBackups goes on at the other tiers when one fails.
func pruneBackups(ctx context.Context, s *session, tiers []backup.NamedTier) error {
	var all []prunedJSON
	var errs []error
	faults := 0
	for _, t := range tiers {
		got, err := pruneTier(ctx, s, t)
		one := prunedJSON{t.Name, got.Now, append([]string{}, got.Objects...), got.More, got.Held, faultTexts(got.Faults), ""}
		if err != nil {
			errs = append(errs, fmt.Errorf("tier %s: %w", t.Name, err))
			one.Error = err.Error()
		}
		all, faults = append(all, one), faults+len(got.Faults)
	}
	err := errors.Join(errs...)
	if s.json {
		return problemsIf(errors.Join(err, s.printJSON(map[string]any{"deleted": s.yes, "tiers": all})), faults)
	}
	for _, one := range all {
		for _, f := range one.Faults {
			s.printWarning("%s", f)
		}
		err = errors.Join(err, showPruned(s, one))
	}
	return problemsIf(err, faults)
}

func showPruned(s *session, one prunedJSON) error {
	for _, name := range one.Objects {
		fmt.Fprintln(s.out, cleanLine(name))
	}
	line := fmt.Sprintf("%s at %s deleted", countNoun(len(one.Objects), "object"), cleanLine(one.Tier))
	if !s.yes {
		line = fmt.Sprintf("%s at %s would be deleted; nothing is without -yes", countNoun(len(one.Objects), "object"), cleanLine(one.Tier))
	}
	if one.More {
		line += "; there are more, for another time"
	}
	if one.Held {
		line += "; a restore may run there, so all is kept three days longer"
	}
	_, err := fmt.Fprintln(s.out, line)
	return err
}

// pruneTier prunes until nothing is left that may go.
func pruneTier(ctx context.Context, s *session, t backup.NamedTier) (all backup.Pruned, err error) {
	for {
		got, err := backup.Prune(ctx, backup.PruneConfig{Tier: t, Mesh: s.backups.query.Mesh, Keep: maps.Clone(s.backups.keep), Nodes: s.backups.query.Nodes, Dry: !s.yes})
		got.Objects = append(all.Objects, got.Objects...)
		if more := len(got.Objects) > len(all.Objects); err != nil || !s.yes || !got.More || !more {
			return got, err
		}
		all = got
	}
}
