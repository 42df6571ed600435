package main

import (
	"context"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/backup"
)

// drillJSON is what a drill prints.
type drillJSON struct {
	Slices     int                 `json:"slices"`
	OfSlices   int                 `json:"of_slices"`
	Keys       int                 `json:"keys"`
	Bytes      int64               `json:"bytes"` // read at the tiers
	Took       string              `json:"took"`
	Buckets    []drilledBucketJSON `json:"buckets"`
	Faults     []string            `json:"faults"`
	Lost       []string            `json:"lost"`       // slices
	Unreadable []string            `json:"unreadable"` // the first thousand
	Unpinned   []string            `json:"unpinned"`
}

type drilledBucketJSON struct {
	Bucket string `json:"bucket"`
	Keys   int    `json:"keys"` // deletes among them
	Bytes  int64  `json:"bytes"`
}

// drillBackups restores into nothing, and tells what a restore would bring.
func drillBackups(ctx context.Context, s *session, tiers []backup.NamedTier) error {
	if s.backups.identity == "" {
		return usageError("no -identity")
	}
	ids, err := loadIdentities(s)
	if err != nil {
		return err
	}
	progress, begun := newProgressLine(s.err), time.Now()
	got, err := backup.Drill(ctx, backup.RestoreConfig{
		Tiers: tiers, Identities: ids, From: s.backups.query.Mesh, Policies: s.backups.query.Policies,
		Progress: func(r backup.Restored) {
			progress.showCounts(r.Bytes, "%d of %s, %s", r.Slices, countNoun(r.OfSlices, "slice"), countNoun(r.Records, "record"))
		},
	})
	progress.clearLine()
	if err != nil {
		return err
	}
	problems := len(got.Faults) + len(got.Lost) + got.UnreadableInAll
	took := time.Since(begun).Round(time.Millisecond)
	if s.json {
		buckets := []drilledBucketJSON{}
		for _, b := range got.Buckets {
			buckets = append(buckets, drilledBucketJSON(b))
		}
		return problemsIf(s.printJSON(drillJSON{got.Slices, got.OfSlices, got.Brought, got.Bytes, took.String(), buckets,
			faultTexts(got.Faults), faultTexts(got.Lost), faultTexts(got.Unreadable), faultTexts(got.Unpinned)}), problems)
	}
	warnUnpinned(s, got.Unpinned)
	for _, list := range []struct {
		kind string
		all  []error
	}{{"fault", got.Faults}, {"lost", got.Lost}, {"unreadable", got.Unreadable}} {
		for _, one := range list.all {
			fmt.Fprintf(s.out, "%s: %s\n", list.kind, cleanLine(one.Error()))
		}
	}
	for _, b := range got.Buckets {
		fmt.Fprintf(s.out, "bucket %s: %s, %s\n", quoteUnlessPlain(b.Bucket), countNoun(b.Keys, "key"), inUnits(b.Bytes))
	}
	_, err = fmt.Fprintf(s.out, "%s of %s, %s, %s read in %v; %s\n", countNoun(got.Brought, "key"), countNoun(got.Slices, "slice"),
		countNoun(got.Records, "record"), inUnits(got.Bytes), took, countNoun(problems, "problem"))
	return problemsIf(err, problems)
}
