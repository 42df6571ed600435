package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/replica"
)

// checkPutBack refuses flags that mean nothing together.
func checkPutBack(s *session) error {
	o := &s.backups
	switch {
	case !o.putBack && (o.plan != "" || s.yes):
		return usageError("-plan and -yes are for -put-back")
	case o.putBack && o.progress != "":
		return usageError("-put-back needs no -progress: it finds what it has written")
	case o.putBack && len(o.buckets) == 0:
		return usageError("no -bucket")
	case o.plan != "" && s.yes:
		return usageError("-plan writes what was listed, -yes all: give one")
	}
	return nil
}

// putBackChange is what -put-back lists of each key.
type putBackChange struct {
	keyJSON
	Now      string `json:"now"` // present, deleted or missing
	OldBytes int    `json:"old_bytes"`
	NowBytes int    `json:"now_bytes"`
	Seen     []byte `json:"seen"` // stands for what is there
}

// putBackJSON is what -put-back prints, and -plan reads.
type putBackJSON struct {
	Changes      []putBackChange `json:"changes"`
	Unchanged    int             `json:"unchanged"`
	Lapsed       int             `json:"lapsed"`
	Written      int             `json:"written"`
	Left         []keyJSON       `json:"left"` // listed in the plan, and written since
	Raced        []keyJSON       `json:"raced"`
	RacedInAll   int             `json:"raced_in_all"`
	Refused      []keyJSON       `json:"refused"`
	RefusedInAll int             `json:"refused_in_all"`
	Failed       []string        `json:"failed"`
	FailedInAll  int             `json:"failed_in_all"`
	Faults       []string        `json:"faults"`
	Lost         []string        `json:"lost"`
}

type planKey struct{ bucket, key string }

// loadPlan reads what -json has listed: what was seen of each key.
func loadPlan(name string) (map[planKey][]byte, error) {
	if name == "" {
		return nil, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var listed putBackJSON
	if err := json.Unmarshal(text, &listed); err != nil {
		return nil, fmt.Errorf("plan %s: %w", name, err)
	}
	plan := make(map[planKey][]byte, len(listed.Changes))
	for _, c := range listed.Changes {
		if c.KeyBase64 != nil {
			c.Key = string(c.KeyBase64)
		}
		plan[planKey{c.Bucket, c.Key}] = c.Seen
	}
	return plan, nil
}

// putBackInto lists what differs, and writes what it may.
func putBackInto(ctx context.Context, s *session, node *mesh.Client, tiers []backup.NamedTier, ids []string) error {
	o := &s.backups
	plan, err := loadPlan(o.plan)
	if err != nil {
		return err
	}
	out := putBackJSON{Changes: []putBackChange{}, Left: []keyJSON{}}
	progress := newProgressLine(s.err)
	got, err := backup.PutBack(ctx, backup.PutBackConfig{
		RestoreConfig: backup.RestoreConfig{
			Tiers: tiers, Identities: ids, From: o.query.Mesh, By: o.query.To, Signers: o.signers, Policies: o.query.Policies,
			Buckets: o.buckets, Prefix: o.prefix, Keys: o.keys,
			Progress: func(r backup.Restored) {
				progress.showCounts(r.Bytes, "%d of %s, %s", r.Slices, countNoun(r.OfSlices, "slice"), countNoun(r.Records, "key"))
			},
		},
		Values: replica.NewClient(node).Values(),
		Decide: func(c backup.Change) bool {
			one := putBackChange{newKeyJSON(c.Bucket, c.Key), c.Now.String(), c.OldBytes, c.NowBytes, c.Seen}
			seen, listed := plan[planKey{c.Bucket, c.Key}]
			if plan != nil && !listed {
				return false
			}
			if s.json {
				out.Changes = append(out.Changes, one)
			} else {
				progress.clearLine()
				fmt.Fprintf(s.out, "%s\t%d\t%d\t%s\t%s\n", one.Now, c.OldBytes, c.NowBytes, quoteUnlessPlain(c.Bucket), shortKey(c.Key))
			}
			same := bytes.Equal(seen, c.Seen)
			if listed && !same {
				out.Left = append(out.Left, one.keyJSON)
			}
			return s.yes || listed && same
		},
	})
	progress.clearLine()
	out.Unchanged, out.Lapsed, out.Written = got.Unchanged, got.Lapsed, got.Brought
	out.Raced, out.RacedInAll, out.Refused, out.RefusedInAll = keysJSON(got.Raced), got.RacedInAll, keysJSON(got.Refused), got.RefusedInAll
	out.Failed, out.FailedInAll, out.Faults, out.Lost = faultTexts(got.Failed), got.FailedInAll, faultTexts(got.Faults), faultTexts(got.Lost)
	warnUnpinned(s, got.Unpinned)
	if err == nil || got.Records > 0 || len(got.Faults) > 0 {
		err = errors.Join(err, showPutBack(s, &out, got.Changes))
	}
	return problemsIf(err, out.RefusedInAll+out.RacedInAll+out.FailedInAll+len(out.Left)+len(out.Faults)+len(out.Lost))
}

func showPutBack(s *session, out *putBackJSON, changes int) error {
	if s.json {
		return s.printJSON(out)
	}
	texts := []struct {
		what string
		all  []string
	}{{"fault", out.Faults}, {"lost", out.Lost}, {"failed", out.Failed}}
	for _, t := range texts {
		for _, text := range t.all {
			fmt.Fprintf(s.out, "%s: %s\n", t.what, cleanLine(text))
		}
	}
	keys := []struct {
		what string
		all  []keyJSON
	}{{"written since it was listed, and left alone", out.Left}, {"written by somebody else, too", out.Raced}, {"refused", out.Refused}}
	for _, k := range keys {
		for _, one := range k.all {
			fmt.Fprintf(s.out, "%s: %s\t%s\n", k.what, quoteUnlessPlain(one.Bucket), shortKey(one.Key))
		}
	}
	line := fmt.Sprintf("%s would be written; none is without -yes or -plan", countNoun(changes, "key"))
	if s.yes || s.backups.plan != "" {
		line = fmt.Sprintf("%s written, %d left alone, %d failed, %d written by somebody else, too", countNoun(out.Written, "key"), len(out.Left), out.FailedInAll, out.RacedInAll)
	}
	_, err := fmt.Fprintf(s.out, "%s; %d unchanged, %d would have ended by now, %d refused; %d lost, %s\n",
		line, out.Unchanged, out.Lapsed, out.RefusedInAll, len(out.Lost), countNoun(len(out.Faults), "fault"))
	return err
}
