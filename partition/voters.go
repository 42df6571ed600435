package partition

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/elect"
	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// votersVersion is that of the voters that a mesh is founded with. They do not
// change.
const votersVersion = 1

// voters keeps the electorate of majority scope. Once known it stays: another one
// beside it could choose a second leader.
type voters struct {
	*ground

	mu             sync.Mutex
	known          wire.Voters
	conflictLogged bool // others say something else; said once
	writes         bool // known is being written
	tries          int
	retryAt        time.Duration // by this node's run time
	writeErr       error         // of the last try
}

func (v *voters) filePath() string { return filepath.Join(v.dir, "voters") }

func (v *voters) readKept() error {
	data, err := file.Read(v.cfg.fs, v.filePath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		v.known, err = wire.DecodeVoters(data)
	}
	if err != nil {
		return fmt.Errorf("%w: voters: %w", ErrDisk, err)
	}
	return nil
}

// electorateOf is who votes in an election, as this node sees it now, and how many vote
// in the whole mesh.
func (v *voters) electorateOf(scope Scope, seen view.View, component []view.NodeID) (elect.Electorate, int) {
	if scope == ScopeMajority {
		known := v.knownVoters()
		return elect.OfVoters(known.Version, known.IDs), len(known.IDs)
	}
	return elect.InComponent(seen, component), elect.Electors(seen)
}

func (v *voters) knownVoters() wire.Voters {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.known
}

// learnVoters takes the voters that others have fixed, or else fixes those that the
// Config names, once all of them are members and others had the time to be met. The
// watching goroutine calls it.
func (v *voters) learnVoters(seen view.View, told map[view.NodeID]heardNotice) {
	known := v.knownVoters()
	next := known
	for _, id := range slices.Sorted(maps.Keys(told)) {
		n := told[id]
		if n.Voters.Version == 0 || id == v.id {
			continue
		}
		if next.Version == 0 && elect.BelievesVoters(seen, v.cfg.Voters, n.Voters.IDs) {
			next = n.Voters
		} else if !slices.Equal(next.IDs, n.Voters.IDs) && !v.conflictLogged {
			v.conflictLogged = true
			v.log.Error("nodes know of different voters for majority elections: name the same ones everywhere", "member", id)
		}
	}
	if next.Version == 0 && v.ready.Load() {
		// Nobody has fixed any who could be met.
		if ids := elect.NamedVoters(seen, v.cfg.Voters); len(ids) > 0 {
			next = wire.Voters{Version: votersVersion, IDs: ids}
		}
	}
	if next.Version != 0 && known.Version == 0 && v.beginWrite(v.uptime()) {
		v.group.Go(func(context.Context) { v.keepVoters(next) })
	}
}

// beginWrite tells whether the voters are to be written now.
func (v *voters) beginWrite(now time.Duration) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.writes || v.writeErr != nil && now < v.retryAt {
		return false
	}
	v.writes = true
	return true
}

// keepVoters writes the voters down: nobody goes by them before.
func (v *voters) keepVoters(next wire.Voters) {
	err := file.Write(v.cfg.fs, v.filePath(), wire.AppendVoters(nil, next))
	v.mu.Lock()
	again := v.writeErr != nil
	v.writes, v.writeErr = false, err
	if err == nil {
		v.known = next
	} else {
		v.retryAt = v.uptime() + min(time.Second<<min(v.tries, 10), 30*time.Second)
		v.tries++
	}
	v.mu.Unlock()
	if err == nil {
		v.log.Info("voters of majority elections are known", "voters", next.IDs)
	} else if !again {
		v.log.Error("the voters cannot be saved: it is tried again", "error", err)
	}
	v.lookBell.Ring()
}

// describeFault says in words what keeps the voters from being known.
func (v *voters) describeFault() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.writeErr == nil {
		return ""
	}
	return "the voters cannot be saved: " + v.writeErr.Error()
}
