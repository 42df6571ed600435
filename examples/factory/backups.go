package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/backup/dir"
	"github.com/skeinmesh/skein/backup/peers"
	"github.com/skeinmesh/skein/examples/internal/stage"
)

const (
	edgeLocal, edgeCluster, regional = "edge-local", "edge-cluster", "regional"

	quicker = 60 // by how much all times of the policies are shorter, for the story's sake
	day     = 24 * time.Hour
)

// backupPolicies are those of the factory. The last level goes to the region; each is kept for longer
// than the one before.
func backupPolicies() []backup.Policy {
	levels := func(local, cluster, region backup.Level) (all []backup.Level) {
		for _, l := range []backup.Level{local, cluster, region} {
			l.Every, l.Keep = l.Every/quicker, l.Keep/quicker
			all = append(all, l)
		}
		return all
	}
	return []backup.Policy{
		{Name: "production", Buckets: []string{"plant"}, Levels: levels(
			backup.Level{Tier: edgeLocal, Every: 5 * time.Minute, Keep: 7 * day},
			backup.Level{Tier: edgeCluster, Every: 30 * time.Minute, Keep: 30 * day},
			backup.Level{Tier: regional, Every: time.Hour, Keep: 365 * day})},
		{Name: "configuration", Buckets: []string{"failover"}, Levels: levels(
			backup.Level{Tier: edgeLocal, Every: time.Hour, Keep: 30 * day},
			backup.Level{Tier: edgeCluster, Every: day, Keep: 90 * day},
			backup.Level{Tier: regional, Every: day, Keep: 365 * day})},
	}
}

// openBackups backs up to a directory of this node's own, to other nodes, and to a directory that
// stands for the region.
func (e *edge) openBackups(ctx context.Context, r stage.Role, logger *slog.Logger) error {
	paths := []string{filepath.Join(r.Backups, r.Name, "own"), filepath.Join(r.Backups, r.Name, "of-others"), filepath.Join(r.Backups, regional)}
	var dirs []*dir.Tier
	for _, path := range paths {
		d, err := dir.New(dir.Options{Dir: path})
		if err = errors.Join(err, os.MkdirAll(path, 0o700)); err != nil {
			return err
		}
		dirs = append(dirs, d)
	}
	cluster, err := peers.New(peers.Config{Mesh: e.node, Store: dirs[1]})
	if err != nil {
		return err
	}
	e.tiers = []backup.NamedTier{{Name: edgeLocal, Tier: dirs[0]}, {Name: edgeCluster, Tier: cluster}, {Name: regional, Tier: dirs[2]}}
	cfg := backup.Config{Mesh: e.node, Store: e.store, Policies: backupPolicies(), Logger: logger}
	for _, t := range e.tiers {
		cfg.Tiers = append(cfg.Tiers, backup.TierConfig{Name: t.Name, Tier: t.Tier, Recipients: []string{r.Recipient}})
	}
	e.backups, err = backup.Open(ctx, cfg)
	return err
}

// backed is what a node has backed up by a policy at a tier.
type backed struct {
	Policy string `json:"policy"`
	Tier   string `json:"tier"`
	Made   int    `json:"made"`
	Error  string `json:"error,omitempty"` // why the last one failed
}

// countBackups tells what this node has made. What was not due yet since the node was first started is made now.
func (e *edge) countBackups(ctx context.Context) (answer, error) {
	for _, l := range e.backups.Status() {
		if !l.LastGood.IsZero() && l.Error == "" {
			continue
		}
		if _, err := e.backups.Now(ctx, l.Policy, l.Tier); err != nil && ctx.Err() != nil {
			return answer{}, err
		} // else the status tells
	}
	points, faults, err := backup.List(ctx, e.tiers[:1], backup.Query{})
	for _, t := range e.tiers[1:] {
		more, bad, fault := backup.List(ctx, []backup.NamedTier{t}, backup.Query{})
		points, faults, err = append(points, more...), append(faults, bad...), errors.Join(err, fault)
	}
	if err := errors.Join(append(faults, err)...); err != nil {
		return answer{}, fmt.Errorf("list the backups: %w", err)
	}
	var a answer
	for _, l := range e.backups.Status() {
		b := backed{Policy: l.Policy, Tier: l.Tier, Error: l.Error}
		for _, p := range points {
			if p.Node == e.node.ID() && p.Policy == l.Policy && p.Tier == l.Tier {
				b.Made++
			}
		}
		a.Backups = append(a.Backups, b)
	}
	return a, nil
}

// verifyBackups reads all that this node can reach, opens it, and counts the objects.
func (e *edge) verifyBackups(ctx context.Context, identity string) (answer, error) {
	got, err := backup.Verify(ctx, backup.VerifyConfig{Tiers: e.tiers, Identities: []string{identity}})
	return answer{Verified: got.Points + got.Segments}, errors.Join(append(got.Faults, err)...)
}

// sumBackups adds up what all nodes have made, in the order of the policies. Faults are policies
// by which nothing was made at a tier, and backups that have failed.
func sumBackups(policies []backup.Policy, all []backed) (sums []backed, faults []string) {
	for _, p := range policies {
		for _, l := range p.Levels {
			sum := backed{Policy: p.Name, Tier: l.Tier}
			for _, b := range all {
				if b.Policy != p.Name || b.Tier != l.Tier {
					continue
				}
				sum.Made += b.Made
				if b.Error != "" {
					faults = append(faults, fmt.Sprintf("%s at %s: %s", p.Name, l.Tier, b.Error))
				}
			}
			if sum.Made == 0 {
				faults = append(faults, fmt.Sprintf("%s at %s: none was made", p.Name, l.Tier))
			}
			sums = append(sums, sum)
		}
	}
	return sums, faults
}

// checkBackups is the part of the story about what was backed up all the while.
func (s *story) checkBackups(ctx context.Context) error {
	s.Chapter(fmt.Sprintf("Backups were made all the while, %d times as often as a factory would", quicker))
	said, err := s.AskAll(ctx, request{Op: "backups"})
	if err != nil {
		return err
	}
	var all []backed
	for _, a := range said {
		all = append(all, a.Backups...)
	}
	sums, faults := sumBackups(backupPolicies(), all)
	for _, b := range sums {
		s.PrintEvent("%-13s at %-12s %4d backups of %d nodes", b.Policy, b.Tier, b.Made, len(said))
		s.out.Backups += b.Made
	}
	for _, f := range faults {
		s.PrintEvent("FAULT %s", f)
	}
	if s.out.BackupsFailed = len(faults); len(faults) > 0 {
		return errors.New("backups have failed")
	}
	if said, err = s.AskAll(ctx, request{Op: "verify", Identity: s.identity}); err != nil {
		return fmt.Errorf("verify the backups: %w", err)
	}
	s.PrintEvent("each node has read and opened all that it reaches, with the identity that no node has kept: warehouse %d objects", said["warehouse"].Verified)
	return nil
}
