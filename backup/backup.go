package backup

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/retain"
	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/mesh/view"
)

// ErrClosed says that the Backup is closed.
var ErrClosed = errors.New("backup: closed")

// ErrUnknown says that there is no such policy, tier, or level of one at the other.
var ErrUnknown = errors.New("backup: no such policy at this tier")

// Backup backs up what its node leads, by policies. All methods may be used concurrently.
type Backup struct {
	cfg    Config
	fs     vfs.FS
	dir    string
	key    ed25519.PrivateKey
	log    *slog.Logger
	clock  *clock.Clock
	group  *lifecycle.Group
	meters *meters
	tiers  map[string]*tierRun
	close  sync.Once
}

// tierRun makes the backups of one tier, one at a time.
type tierRun struct {
	b      *Backup
	cfg    TierConfig
	chains map[string]*chain    // by policy; only keepBackingUp touches them
	enters map[string]*entries  // likewise
	covers map[string]*coverage // likewise
	levels map[string]Level
	kick   notify.Bell
	pruned time.Duration // running time of the last pass; only keepBackingUp touches it

	mu       sync.Mutex
	schedule *retain.Schedule
	status   map[string]*LevelStatus // by policy
	asked    map[string][]chan outcome
}

type outcome struct {
	done Done
	err  error
}

// LevelStatus is how a policy does at one tier.
type LevelStatus struct {
	Policy, Tier string
	Running      bool
	Last         Done      // the last backup that was made; of a running one what it has done so far
	LastGood     time.Time // when it began, by this node's clock; zero: none is known
	Took         time.Duration
	Error        string // why the last one failed; empty: it did not
	Missed       bool   // the objective is
	// Bare is how many slices that this node leads, and sources, lack a whole backup of the time of
	// the objective, while others have one: see Done.NotReady, TooLarge and Failed.
	Bare      int
	Unentered int // manifests that were put and that Config.Enter has not taken yet
}

// Open begins to back up, by what earlier runs have left in the directory backup of the node.
// ctx bounds the opening only.
func Open(ctx context.Context, cfg Config) (*Backup, error) {
	return openOn(ctx, cfg, vfs.Default, clock.System())
}

func openOn(ctx context.Context, cfg Config, fsys vfs.FS, c *clock.Clock) (*Backup, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Backup{
		cfg: cfg, fs: fsys, dir: filepath.Join(cfg.Mesh.Dir(), "backup"), log: cfg.Logger.With("node", cfg.Mesh.ID().String()),
		clock: c, tiers: make(map[string]*tierRun), meters: newMeters(cfg.Mesh.ID()),
	}
	if err := b.openKey(); err != nil {
		return nil, fmt.Errorf("backup: open: %w", err)
	}
	for _, t := range cfg.Tiers {
		run, err := b.openTier(t)
		if err != nil {
			return nil, fmt.Errorf("backup: open: tier %s: %w", t.Name, err)
		}
		b.tiers[t.Name] = run
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.group = lifecycle.NewGroup(context.WithoutCancel(ctx))
	for _, t := range b.tiers {
		b.group.Go(t.keepBackingUp)
	}
	b.group.Go(func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case <-cfg.Mesh.Done():
			b.group.Cancel()
		}
	})
	return b, nil
}

// Close ends all that is under way and waits for it. A backup that was not finished leaves
// segments that no manifest names; they are deleted by and by.
func (b *Backup) Close() error {
	b.close.Do(b.group.Close)
	return nil
}

// openKey reads the key with which this node signs manifests, or makes it.
func (b *Backup) openKey() error {
	path := b.fs.PathJoin(b.dir, "key")
	if err := b.fs.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	seed, err := file.Read(b.fs, path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, file.ErrCorrupt) {
		return err
	}
	if err != nil || len(seed) != ed25519.SeedSize {
		seed = make([]byte, ed25519.SeedSize)
		if _, err := rand.Read(seed); err != nil {
			return err
		}
		if err := file.Write(b.fs, path, seed); err != nil {
			return err
		}
	}
	b.key = ed25519.NewKeyFromSeed(seed)
	return nil
}

func (b *Backup) openTier(cfg TierConfig) (*tierRun, error) {
	t := &tierRun{
		b: b, cfg: cfg, chains: make(map[string]*chain), enters: make(map[string]*entries), covers: make(map[string]*coverage), levels: make(map[string]Level), kick: notify.NewBell(),
		status: make(map[string]*LevelStatus), asked: make(map[string][]chan outcome),
	}
	var policies []retain.Policy
	last := make(map[string]retain.Good)
	for i := range b.cfg.Policies {
		p := &b.cfg.Policies[i]
		for _, l := range p.Levels {
			if l.Tier != cfg.Name {
				continue
			}
			c, err := openChain(b.fs, b.fs.PathJoin(b.dir, cfg.Name, p.Name), b.hashOfSelection(p, cfg.Recipients))
			if err != nil {
				return nil, fmt.Errorf("policy %s: %w", p.Name, err)
			}
			t.chains[p.Name], t.levels[p.Name], t.covers[p.Name] = c, l, &coverage{}
			if t.enters[p.Name], err = openEntries(b.cfg.Enter, cfg.Name, b.fs, b.fs.PathJoin(c.dir, "owed")); err != nil {
				b.log.Warn("manifests may stay unentered", "policy", p.Name, "tier", cfg.Name, "error", err)
			}
			good := retain.Good{Due: goodTime(c.state.Due), Begun: goodTime(c.state.Begun)}
			last[p.Name] = good
			spread := float64(xxhash.Sum64String(b.cfg.Mesh.ID().String()+p.Name+cfg.Name)>>11) / (1 << 53)
			policies = append(policies, retain.Policy{Name: p.Name, Every: l.Every, Objective: l.Objective, Spread: math.Min(spread, 0.999)})
			t.status[p.Name] = &LevelStatus{Policy: p.Name, Tier: cfg.Name, LastGood: good.Begun, Unentered: len(t.enters[p.Name].owed)}
		}
	}
	t.schedule = retain.NewSchedule(b.readClocks(), policies, last)
	return t, nil
}

// hashOfSelection stands for who backs up what, and for whom. A node that has become another one
// in the same directory begins anew: what the former one has put lies below its id.
func (b *Backup) hashOfSelection(p *Policy, recipients []string) uint64 {
	h := xxhash.New()
	_, _ = fmt.Fprint(h, b.cfg.Mesh.Mesh(), b.cfg.Mesh.ID())
	for _, list := range [][]string{p.Buckets, {p.Prefix}, recipients} {
		list = slices.Sorted(slices.Values(list))
		_, _ = fmt.Fprintf(h, "%q", list)
	}
	for _, s := range p.Sources {
		_, _ = fmt.Fprintf(h, "source %q", s.Name)
	}
	return h.Sum64()
}

// goodTime reads a time of a state, in which 1970 stands for none.
func goodTime(t time.Time) time.Time {
	if t.UnixMilli() <= 0 {
		return time.Time{}
	}
	return t
}

func (b *Backup) readClocks() retain.Moment {
	return retain.Moment{Wall: b.clock.Wall(), Up: b.clock.Boot()}
}

func (b *Backup) isPaused() bool { return b.cfg.Paused != nil && b.cfg.Paused() }

// keepBackingUp makes backups when they are due, or asked for.
func (t *tierRun) keepBackingUp(ctx context.Context) {
	for ctx.Err() == nil {
		paused := t.b.isPaused()
		t.mu.Lock()
		now := t.b.readClocks()
		policy, due, next := t.takeAsked(now)
		if !due {
			policy, due, next = t.schedule.TakeDue(now, paused)
		}
		t.mu.Unlock()
		t.tellAlarms()
		if due {
			t.backUp(ctx, policy)
			continue
		}
		wait := time.NewTimer(max(next-now.Up, time.Millisecond))
		select {
		case <-ctx.Done():
		case <-t.kick:
		case <-wait.C:
		}
		wait.Stop()
	}
	t.mu.Lock()
	left := t.asked
	t.asked = nil // who asks from now on finds the Backup closed
	t.mu.Unlock()
	for _, waiting := range left {
		for _, ch := range waiting {
			ch <- outcome{err: ErrClosed}
		}
	}
}

// takeAsked begins a backup that was asked for. The lock is held.
func (t *tierRun) takeAsked(now retain.Moment) (policy string, ok bool, next time.Duration) {
	for policy := range t.asked {
		if t.schedule.Begin(now, policy) {
			return policy, true, 0
		}
	}
	return "", false, 0
}

// backUp makes one backup.
func (t *tierRun) backUp(ctx context.Context, policy string) {
	begun := t.b.readClocks()
	t.mu.Lock()
	waiting := t.asked[policy]
	delete(t.asked, policy)
	t.status[policy].Running, t.status[policy].Last = true, Done{}
	t.mu.Unlock()
	done, err := t.makeBackup(ctx, policy, begun.Wall)
	now := t.b.readClocks()
	if ctx.Err() == nil {
		t.b.meters.countBackup(now.Up-begun.Up, &done, err)
	}
	t.mu.Lock()
	good := t.schedule.End(now, err == nil)
	st := t.status[policy]
	st.Unentered = len(t.enters[policy].owed)
	st.Running, st.Last, st.Took, st.Error = false, done, now.Up-begun.Up, ""
	if err != nil {
		st.Error = err.Error()
	} else {
		st.LastGood = good.Begun
	}
	t.mu.Unlock()
	full := errors.Is(err, ErrTierFull)
	if err == nil {
		c := t.chains[policy]
		c.state.Due, c.state.Begun = good.Due, good.Begun
		if err = c.saveState(); err != nil { // the schedule may begin anew after a restart
			t.mu.Lock()
			st.Error = err.Error()
			t.mu.Unlock()
		}
	}
	for _, ch := range waiting {
		ch <- outcome{done, err}
	}
	if full {
		t.pruned = 0
	}
	if err == nil || full {
		t.pruneIfDue(ctx)
	}
	log := t.b.log.With("policy", policy, "tier", t.cfg.Name)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		log.Warn("a backup has failed, and is tried again", "error", err)
	case done.lacksSome():
		log.Warn("a backup lacks records: what an earlier one has of them stays", "too_large", done.TooLarge, "slices_not_ready", done.NotReady, "error", done.Failed)
	default:
		log.Debug("backed up", "slices", done.Slices, "changed", done.Changed, "records", done.Records, "bytes", done.Bytes)
	}
	t.tellAlarms()
}

// pruneEvery is the time between two passes that delete what need not be kept.
const pruneEvery = 6 * time.Hour

// pruneIfDue deletes what this node, and nodes that have left the mesh for good, need not keep at
// the tier. Where this node may only put, the tier sees to that itself.
func (t *tierRun) pruneIfDue(ctx context.Context) {
	b := t.b
	if up := b.readClocks().Up; t.pruned != 0 && up-t.pruned < pruneEvery {
		return
	} else if t.pruned = up; ctx.Err() != nil {
		return
	}
	cfg := PruneConfig{
		Tier: NamedTier{t.cfg.Name, t.cfg.Tier}, Mesh: b.cfg.Mesh.Mesh(), Keep: make(map[string]Keep), Nodes: []view.NodeID{b.cfg.Mesh.ID()}, Now: b.clock.Wall(),
	}
	for policy, l := range t.levels {
		cfg.Keep[policy] = Keep{For: l.Keep, Every: l.Every}
	}
	for _, m := range b.cfg.Mesh.View().Members {
		if m.Status.Gone() {
			cfg.Left, cfg.Nodes = append(cfg.Left, m.ID), append(cfg.Nodes, m.ID)
		}
	}
	got, err := Prune(ctx, cfg)
	log := b.log.With("tier", t.cfg.Name)
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, ErrDenied):
		log.Debug("this node may not delete at the tier", "error", err)
	case err != nil:
		log.Warn("old backups were not deleted", "error", err)
	case len(got.Objects) > 0:
		log.Info("old backups were deleted", "objects", len(got.Objects))
	}
}

func (t *tierRun) makeBackup(ctx context.Context, policy string, begun time.Time) (Done, error) {
	b, up := t.b, t.b.readClocks().Up
	// Each backup has room of its own: it takes none in between, and a call that was given up may
	// still read what it was to put.
	sealer, err := newSealer(t.cfg.Recipients)
	if err != nil {
		return Done{}, err
	}
	r := backupRun{
		mesh: b.cfg.Mesh.Mesh(), node: b.cfg.Mesh.ID(), tier: t.cfg.Tier, sealer: sealer, key: b.key, chain: t.chains[policy], store: b.cfg.Store,
		begun: begun, keep: t.levels[policy].Keep, rate: t.levels[policy].Rate, since: time.Now(),
		enter: func(ctx context.Context, name string, sum [32]byte) {
			if err := t.enters[policy].enterManifest(ctx, name, sum); err != nil && ctx.Err() == nil {
				b.log.Warn("a manifest is not entered in the ledger, and is tried again", "policy", policy, "tier", t.cfg.Name, "manifest", name, "error", err)
			}
		},
		tell: func(d Done) {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.status[policy].Last = d
		},
	}
	for i := range b.cfg.Policies {
		if b.cfg.Policies[i].Name == policy {
			r.policy = &b.cfg.Policies[i]
		}
	}
	if err := t.enters[policy].enterOwed(ctx); err != nil && ctx.Err() == nil {
		b.log.Warn("manifests of earlier backups are not entered in the ledger yet", "policy", policy, "tier", t.cfg.Name, "error", err)
	}
	done, err := r.makeBackup(ctx)
	if err == nil {
		t.noteCoverage(policy, &r, up)
	}
	return done, err
}

// tellAlarms tells what has changed about objectives.
func (t *tierRun) tellAlarms() {
	t.mu.Lock()
	news := t.schedule.TakeAlarms(t.b.readClocks())
	for _, a := range news {
		t.status[a.Policy].Missed = a.Missed
	}
	t.mu.Unlock()
	for _, a := range news {
		text := fmt.Sprintf("the last good backup is %v old, more than %v", a.Age.Round(time.Second), t.levels[a.Policy].Objective)
		if !a.Missed {
			text = "there is a good backup again"
		}
		t.tellAlarm(Alarm{Tier: t.cfg.Name, Policy: a.Policy, Text: text, Over: !a.Missed})
	}
}

// Now makes a backup by a policy at a tier, whether one is due or not, and waits for it. Of one that
// is waited for by several there is one.
func (b *Backup) Now(ctx context.Context, policy, tier string) (Done, error) {
	t := b.tiers[tier]
	if t == nil || t.chains[policy] == nil {
		return Done{}, fmt.Errorf("%w: policy %q, tier %q", ErrUnknown, policy, tier)
	}
	ch := make(chan outcome, 1)
	t.mu.Lock()
	if b.group.Context().Err() != nil {
		t.mu.Unlock()
		return Done{}, ErrClosed
	}
	t.asked[policy] = append(t.asked[policy], ch)
	t.mu.Unlock()
	t.kick.Ring()
	select {
	case o := <-ch:
		if o.err != nil && b.group.Context().Err() != nil {
			o.err = ErrClosed
		}
		return o.done, o.err
	case <-ctx.Done():
		return Done{}, ctx.Err()
	case <-b.group.Context().Done():
		return Done{}, ErrClosed
	}
}

// Key returns the public key with which this node signs its manifests: see Point.Key, and
// RestoreConfig.Signers.
func (b *Backup) Key() (key [32]byte) {
	copy(key[:], b.key.Public().(ed25519.PublicKey))
	return key
}

// Status returns how all policies do, in the order of the Config.
func (b *Backup) Status() (out []LevelStatus) {
	for i := range b.cfg.Policies {
		for _, l := range b.cfg.Policies[i].Levels {
			t := b.tiers[l.Tier]
			t.mu.Lock()
			out = append(out, *t.status[b.cfg.Policies[i].Name])
			t.mu.Unlock()
		}
	}
	return out
}
