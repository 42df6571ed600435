package main

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica"
	"github.com/skeinmesh/skein/replica/slice"
)

// restoreCommand brings backups back.
func restoreCommand() command {
	return command{name: "restore", short: "bring backups back into a mesh", run: runRestore,
		flags: set{tierFlags, identityFlag, restoreFlags, (*session).nodeFlags}, long: `
Reads backups at tiers, opens them here with -identity, which goes nowhere, and
brings what they hold to a node that stores, of the same mesh or of another one, of
any size and number of shards. Buckets that the mesh does not know are defined.
It overwrites nothing: nothing becomes older than it is, and what was deleted since
stays deleted. What may have been deleted, and nobody remembers, is refused; -v lists
it. What is damaged is taken from another tier, or an older backup. The exit
status is 4 when something was refused, lost, or found damaged or missing.
It may be broken off and done again at any time, while the mesh works; what is there
already is not brought again, nor read with -progress. The -timeout is for a page of records.
With -put-back it undoes what was overwritten or deleted by mistake: what was there at
the time -by is written anew. It needs -bucket, and lists what it would overwrite or
revive: present, deleted or missing, a tab, the bytes of old and of what is there, bucket
and key. It writes only with -yes or, of what -json has listed into the file -plan,
with -plan: then what was written since is left alone, and told. What was not there then
stays. Somebody who writes at the same moment is told of, too; nothing of it is lost.
  skeinctl restore -put-back -bucket b -prefix menu/ -by "2026-02-03 04:00" -tier ...
  skeinctl restore -addr 10.0.0.7:7800 -tier dir:/mnt/usb -identity key.txt`}
}

func restoreFlags(s *session, fs *flag.FlagSet) {
	o := &s.backups
	s.endless, s.anyBucket, s.timeout = true, true, time.Minute
	several := func(to *[]string) func(string) error {
		return func(text string) error {
			*to = append(*to, text)
			return nil
		}
	}
	fs.Func("by", "only backups that were begun by this `time`; none: all", parseMoment(&o.query.To))
	fs.Func("policy", "only backups by the policy of this `name`; more than once for several", several(&o.query.Policies))
	fs.Func("bucket", "only the bucket of this `name`; more than once for several", several(&o.buckets))
	fs.Func("key", "only this `key`; more than once for several", several(&o.keys))
	fs.StringVar(&o.prefix, "prefix", "", "only keys that begin with this `text`")
	fs.Func("signer", "only backups signed by this `key`, as backup list -json shows it; more than once for several", func(text string) error {
		var key [32]byte
		if n, err := hex.Decode(key[:], []byte(text[:min(len(text), 64)])); err != nil || n != len(key) || len(text) != 64 {
			return errors.New("it is not 64 hexadecimal digits")
		}
		o.signers = append(o.signers, key)
		return nil
	})
	fs.StringVar(&o.progress, "progress", "", "`file` that remembers what was brought, so that the same restore goes on there when it is done again")
	fs.BoolVar(&o.putBack, "put-back", false, "write old values anew, over what is there")
	fs.StringVar(&o.plan, "plan", "", "put-back: `file` that -json has listed into; write that and nothing else")
	fs.BoolVar(&s.yes, "yes", false, "put-back: write all that differs")
	fs.BoolVar(&o.verbose, "v", false, "list what was refused")
}

func runRestore(s *session) error {
	if s.backups.identity == "" {
		return usageError("no -identity")
	}
	if err := checkPutBack(s); err != nil {
		return err
	}
	tiers, closeAll, err := openTiers(s)
	if err != nil {
		return err
	}
	defer closeAll()
	ids, err := loadIdentities(s)
	if err != nil {
		return err
	}
	return s.withNode(func(ctx context.Context, node *mesh.Client) error {
		s.extendTime()
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		restore := restoreInto
		if s.backups.putBack {
			restore = putBackInto
		}
		err := restore(ctx, s, node, tiers, ids)
		if ctx.Err() != nil && err != nil {
			return errors.New("broken off; what was brought stays, and the rest comes when it is done again")
		}
		return err
	})
}

// restoreInto tells what is to be restored, does it, and tells what came of it, also when it failed.
func restoreInto(ctx context.Context, s *session, node *mesh.Client, tiers []backup.NamedTier, ids []string) error {
	asking, stop := context.WithTimeout(ctx, s.timeout)
	v, err := node.View(asking)
	stop()
	if err != nil {
		return err
	}
	o := &s.backups
	points, _, err := backup.List(ctx, tiers, o.query)
	if err != nil {
		return err
	}
	if !s.json {
		showSources(s, points, v)
	}
	done, err := openDone(o.progress, v.Mesh)
	if err != nil {
		return err
	}
	defer done.closeFile()
	progress := newProgressLine(s.err)
	restoring, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	got, err := backup.Restore(restoring, backup.RestoreConfig{
		Target: &patientTarget{replica.NewClient(node), s.timeout, giveUp}, Tiers: tiers, Identities: ids, From: o.query.Mesh, By: o.query.To,
		Signers: o.signers, Policies: o.query.Policies, Buckets: o.buckets, Prefix: o.prefix, Keys: o.keys, Resume: done,
		Progress: func(r backup.Restored) {
			progress.showCounts(r.Bytes, "%d of %s, %s", r.Slices, countNoun(r.OfSlices, "slice"), countNoun(r.Records, "record"))
		},
	})
	progress.clearLine()
	if restoring.Err() != nil {
		err = context.Cause(restoring)
	}
	if done.err != nil {
		s.printWarning("-progress: %v", done.err)
	}
	if got.Passed > 0 {
		s.printWarning("%s had been brought before, as %s says", countNoun(got.Passed, "slice"), o.progress)
	}
	if err == nil || got.Records > 0 || len(got.Faults) > 0 {
		err = errors.Join(err, showRestored(s, got, v))
	}
	return problemsIf(err, got.RefusedInAll+len(got.Lost)+len(got.Faults))
}

// showSources tells of the newest backup of each node by each policy.
func showSources(s *session, points []backup.Point, v view.View) {
	type source struct {
		mesh   view.MeshID
		node   view.NodeID
		policy string
	}
	seen := make(map[source]bool)
	for i, p := range points {
		if i == 0 {
			fmt.Fprintf(s.out, "of mesh %v, %s at %s, into mesh %v through %s:\n", p.Mesh, countNoun(len(points), "backup"), countNoun(len(s.backups.specs), "tier"), v.Mesh, nameOf(v))
		}
		of := source{p.Mesh, p.Node, p.Policy}
		if seen[of] {
			continue
		}
		seen[of] = true
		line := fmt.Sprintf("  node %v, policy %s, %s, %s", p.Node, cleanLine(p.Policy), textOfTime(p.Time), inUnits(p.Bytes))
		if p.Partial {
			line += ", partial"
		}
		fmt.Fprintln(s.out, line)
	}
}

// patientTarget brings records through a node, and tries again while that has too much to do.
type patientTarget struct {
	client  *replica.Client
	timeout time.Duration // of each page
	giveUp  context.CancelCauseFunc
}

// hopeless are errors of a node that takes no page in, and none later.
var hopeless = [...]error{replica.ErrNotStoring, replica.ErrClosed, mesh.ErrNoHandler, mesh.ErrAdminOff, mesh.ErrUnreachable, mesh.ErrClosed}

func (t *patientTarget) Import(ctx context.Context, def []byte, in []slice.Old) (all slice.Imported, err error) {
	for {
		once, stop := context.WithTimeout(ctx, t.timeout)
		got, err := t.client.Import(once, def, in)
		stop()
		all.Brought, all.Refused = all.Brought+got.Brought, got.Refused
		if slices.ContainsFunc(hopeless[:], func(kind error) bool { return errors.Is(err, kind) }) {
			t.giveUp(err)
		}
		if !errors.Is(err, replica.ErrOverloaded) && !errors.Is(err, mesh.ErrOverloaded) {
			return all, err
		}
		select {
		case <-time.After(max(replica.RetryAfter(err), importRetry)):
		case <-ctx.Done():
			return all, ctx.Err()
		}
	}
}

// restoredJSON is what restore prints.
type restoredJSON struct {
	Into         view.MeshID `json:"into"`
	Slices       int         `json:"slices"`
	OfSlices     int         `json:"of_slices"`
	Records      int         `json:"records"`
	Brought      int         `json:"brought"`
	Bytes        int64       `json:"bytes"`
	Refused      []keyJSON   `json:"refused"` // the first thousand
	RefusedInAll int         `json:"refused_in_all"`
	Faults       []string    `json:"faults"`
	Lost         []string    `json:"lost"`     // slices
	Unpinned     []string    `json:"unpinned"` // tiers at which somebody may delete what is read
}

type keyJSON struct {
	Bucket    string `json:"bucket"`
	Key       string `json:"key"`
	KeyBase64 []byte `json:"key_base64,omitempty"` // the key, if it is no text
}

func newKeyJSON(bucket, key string) keyJSON {
	one := keyJSON{Bucket: bucket, Key: key}
	if !utf8.ValidString(key) {
		one.KeyBase64 = []byte(key)
	}
	return one
}

func keysJSON(in []backup.RefusedRecord) []keyJSON {
	out := []keyJSON{}
	for _, r := range in {
		out = append(out, newKeyJSON(r.Bucket, r.Key))
	}
	return out
}

func showRestored(s *session, got backup.Restored, v view.View) error {
	if s.json {
		return s.printJSON(restoredJSON{v.Mesh, got.Slices, got.OfSlices, got.Records, got.Brought, got.Bytes, keysJSON(got.Refused), got.RefusedInAll, faultTexts(got.Faults), faultTexts(got.Lost), faultTexts(got.Unpinned)})
	}
	warnUnpinned(s, got.Unpinned)
	for _, f := range got.Faults {
		fmt.Fprintf(s.out, "fault: %s\n", cleanLine(f.Error()))
	}
	for _, l := range got.Lost {
		fmt.Fprintf(s.out, "lost: %s\n", cleanLine(l.Error()))
	}
	if s.backups.verbose {
		for _, r := range got.Refused {
			fmt.Fprintf(s.out, "refused: %s\t%s\n", quoteUnlessPlain(r.Bucket), shortKey(r.Key))
		}
		if more := got.RefusedInAll - len(got.Refused); more > 0 {
			fmt.Fprintf(s.out, "refused: %d more\n", more)
		}
	}
	_, err := fmt.Fprintf(s.out, "%d of %s restored: %s looked at, %d brought, %d refused; %d lost, %s; %s read\n",
		got.Slices, countNoun(got.OfSlices, "slice"), countNoun(got.Records, "record"), got.Brought, got.RefusedInAll, len(got.Lost), countNoun(len(got.Faults), "fault"), inUnits(got.Bytes))
	return err
}

// warnUnpinned tells where nothing keeps what is read from being deleted. That is no problem by itself.
func warnUnpinned(s *session, tiers []error) {
	for _, err := range tiers {
		s.printWarning("nodes may delete there what is read: no pin could be put: %v", err)
	}
}
