package backup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/slice"
)

// ErrConfig says that a Config cannot be; its words name all faults.
var ErrConfig = errors.New("bad configuration of backups")

// Mesh is what backups need of the mesh node. *mesh.Node has it.
type Mesh interface {
	// ID returns the NodeID.
	ID() view.NodeID
	// Mesh returns the id of the mesh.
	Mesh() view.MeshID
	// Dir returns the node's data directory.
	Dir() string
	// View returns who belongs to the mesh and who is alive.
	View() view.View
	// Done is closed when the node is.
	Done() <-chan struct{}
}

// Store is what backups need of the node's store. *replica.Store has it.
type Store interface {
	// Export reads the slices that this node is to back up.
	Export(ctx context.Context, begin func(slice.Slice) (each func(*slice.Record) error, err error)) error
}

// Target is what a restore needs of a store. *replica.Store has it.
type Target interface {
	// Import takes in old records of one bucket.
	Import(ctx context.Context, def []byte, in []slice.Old) (slice.Imported, error)
}

// Values is what PutBack needs of a mesh: reads and writes as any program makes them.
// *replica.Values has it.
type Values interface {
	// ReadValues tells what is there under keys of a bucket, one for each.
	ReadValues(ctx context.Context, bucket string, keys []string) ([]slice.Current, error)
	// WriteValues replaces what reads have seen of keys, and nothing else. It tells for each what
	// became of it.
	WriteValues(ctx context.Context, bucket string, in []slice.Anew) []slice.Rewritten
}

// TierConfig names a tier and says who may read what is put there.
type TierConfig struct {
	// Name is one to 32 lower case letters, digits and dashes.
	Name string
	Tier Tier
	// Recipients are those who can open what is put there, as age writes them ("age1..."): none
	// of the identities should be on the node. One that is kept at the site, so that a restore
	// needs no person, lets a thief of the site read all backups of this tier.
	Recipients []string
}

// Level is how a policy backs up to one tier.
type Level struct {
	Tier string
	// Every is the time from one backup to the next, at most ten years. Zero: by Now alone.
	Every time.Duration
	// Keep is for how long backups are kept; the last good one stays for ever. Zero: all are.
	Keep time.Duration
	// Objective is how old the last good backup may become before an alarm is raised, the
	// recovery point objective. Zero: any age.
	Objective time.Duration
	// Rate is how many bytes per second one backup puts at most, after its first segment of 2 MiB. Zero: any
	// number.
	Rate int64
}

// Policy says what is backed up, where to, and how often.
type Policy struct {
	// Name is as that of a tier. It is legible at the tiers.
	Name string
	// Buckets are the names of those that are backed up. Empty: all, or none where there are Sources.
	Buckets []string
	// Prefix is how keys of them begin that are backed up. Empty: all.
	Prefix string
	// Sources are what this node backs up of its application, beside buckets.
	Sources []Source
	Levels  []Level
}

// Config sets up a Backup. Mesh, Store, Tiers and Policies are required.
type Config struct {
	Mesh     Mesh
	Store    Store
	Tiers    []TierConfig
	Policies []Policy
	// Paused tells whether no backup is to begin now, as on battery or on a metered link. What
	// is due meanwhile is made up once afterwards. It must return soon. Nil: never.
	Paused func() bool
	// OnAlarm is told what a person should know, and what is not so any more; of several tiers
	// perhaps at once. It must return soon, and must not call the Backup. Nil: nobody is told.
	OnAlarm func(Alarm)
	// Enter is told of each manifest when it is put: the tier, the name of the object there and the
	// SHA-256 of its bytes. It is for ledger.Ledger.EnterManifest, and has ten seconds. One that it
	// refuses is told again with the next backup, also after a restart, and LevelStatus.Unentered
	// counts it; a backup never fails for it. What was told may be told again after a crash. Nil:
	// nobody is told.
	Enter func(ctx context.Context, tier, name string, sum [32]byte) error
	// Logger gets what an operator should know. Nil: silent.
	Logger *slog.Logger
}

// Alarm is what a person should know of backups.
type Alarm struct {
	Tier, Policy string
	Text         string
	Over         bool // it is not so any more
}

// Validate returns ErrConfig, and names all that is wrong.
func (c *Config) Validate() error {
	var faults []string
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if c.Mesh == nil {
		add("no Mesh")
	}
	if c.Store == nil {
		add("no Store")
	}
	tiers := make(map[string]bool)
	for _, t := range c.Tiers {
		if !isName(t.Name) {
			add("tier %q: the name must be 1 to 32 lower case letters, digits and dashes", t.Name)
		}
		if tiers[t.Name] {
			add("tier %q is named twice", t.Name)
		}
		tiers[t.Name] = true
		if t.Tier == nil {
			add("tier %q: no Tier", t.Name)
		}
		if len(t.Recipients) == 0 {
			add("tier %q: no recipient, so that nobody could read what is put there", t.Name)
		}
		for _, r := range t.Recipients {
			if _, err := parseRecipient(r); err != nil {
				add("tier %q: %v", t.Name, err)
			}
		}
	}
	policies := make(map[string]bool)
	for i := range c.Policies {
		p := &c.Policies[i]
		if policies[p.Name] {
			add("policy %q is named twice", p.Name)
		}
		policies[p.Name] = true
		p.addFaults(tiers, add)
	}
	if len(c.Tiers) == 0 {
		add("no tier")
	}
	if len(c.Policies) == 0 {
		add("no policy")
	}
	if len(faults) > 0 {
		return fmt.Errorf("%w: %s", ErrConfig, strings.Join(faults, "; "))
	}
	return nil
}

func (p *Policy) addFaults(tiers map[string]bool, add func(format string, args ...any)) {
	if !isName(p.Name) {
		add("policy %q: the name must be 1 to 32 lower case letters, digits and dashes", p.Name)
	}
	if len(p.Levels) == 0 {
		add("policy %q: no level", p.Name)
	}
	seen := make(map[string]bool)
	for _, l := range p.Levels {
		if !tiers[l.Tier] {
			add("policy %q: there is no tier %q", p.Name, l.Tier)
		}
		if seen[l.Tier] {
			add("policy %q: two levels at tier %q", p.Name, l.Tier)
		}
		seen[l.Tier] = true
		if l.Every < 0 || l.Every > 10*366*24*time.Hour {
			add("policy %q: every %v, must be up to ten years", p.Name, l.Every)
		}
		if l.Keep < 0 || l.Objective < 0 {
			add("policy %q at %q: a time is below zero", p.Name, l.Tier)
		}
		if l.Rate < 0 {
			add("policy %q at %q: a rate of %d bytes per second is below zero", p.Name, l.Tier, l.Rate)
		}
		if l.Keep > 0 && l.Every > 0 && l.Keep < l.Every {
			add("policy %q at %q: kept for %v, less than the %v between two backups", p.Name, l.Tier, l.Keep, l.Every)
		}
		if l.Objective > 0 && l.Objective < l.Every {
			add("policy %q at %q: the objective of %v is missed between any two backups, %v apart", p.Name, l.Tier, l.Objective, l.Every)
		}
	}
	sources := make(map[string]bool)
	for _, s := range p.Sources {
		if !isName(s.Name) {
			add("policy %q: source %q: the name must be 1 to 32 lower case letters, digits and dashes", p.Name, s.Name)
		}
		if sources[s.Name] {
			add("policy %q: source %q is named twice", p.Name, s.Name)
		}
		sources[s.Name] = true
		if s.Read == nil {
			add("policy %q: source %q: no Read", p.Name, s.Name)
		}
	}
	for _, b := range p.Buckets {
		if b == "" {
			add("policy %q: a bucket without a name", p.Name)
		}
	}
}

func isName(s string) bool {
	ok := len(s) > 0 && len(s) <= 32
	for _, c := range []byte(s) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	return ok
}
