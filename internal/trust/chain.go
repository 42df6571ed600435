package trust

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/identity/charter"
)

var (
	// ErrCharter says that a charter does not go on from the one before.
	ErrCharter = errors.New("charter does not go on from the one before")
	// ErrGap says that charters between the known ones and a new one are missing: to be
	// fetched from the first unknown epoch on.
	ErrGap = errors.New("charters are missing")
	// ErrFork says that a charter is of another past than the one that is final here.
	ErrFork = errors.New("charter of another past")
)

// maxRivals is how many losers of forks are kept, to show and to hand on.
const maxRivals = 16

// link is a charter of the chain.
type link struct {
	wire.SignedCharter
	hash charter.Hash
}

// Fork is an alarm: two valid charters are of one epoch.
type Fork struct {
	Epoch   uint64
	Holds   charter.Hash // which of them holds here
	Refused charter.Hash
}

// checkCharter tells whether a charter is fit to be one, whoever signed it.
func checkCharter(c *charter.Charter) error {
	rising := func(keys []charter.Key) bool {
		return len(keys) <= charter.MaxKeys && slices.IsSortedFunc(keys, compareKeys) && len(slices.Compact(slices.Clone(keys))) == len(keys)
	}
	issuers, revokers := make([]charter.Key, len(c.Issuers)), make([]charter.Key, len(c.Revokers))
	for i := range c.Issuers {
		issuers[i] = c.Issuers[i].Key
	}
	for i := range c.Revokers {
		revokers[i] = c.Revokers[i].Key
	}
	switch {
	case !rising(c.Roots) || !rising(issuers) || !rising(revokers):
		return fmt.Errorf("%w: keys of epoch %d are too many or not in order, each once", ErrCharter, c.Epoch)
	case c.Threshold < 1 || c.Threshold > len(c.Roots):
		return fmt.Errorf("%w: epoch %d asks for %d of %d roots", ErrCharter, c.Epoch, c.Threshold, len(c.Roots))
	}
	return nil
}

// checkSuccessor tells whether next, of the epoch above that of prev, goes on from it.
func checkSuccessor(prev *link, next *wire.SignedCharter) error {
	if err := checkCharter(&next.Charter); err != nil {
		return err
	}
	body := charterBytes(prev.Mesh, &next.Charter)
	changed := next.Threshold != prev.Threshold || !slices.Equal(next.Roots, prev.Roots)
	fault := ""
	switch {
	case next.Mesh != prev.Mesh || next.Name != prev.Name || next.Shards != prev.Shards:
		fault = "it is of another mesh"
	case next.Prev != prev.hash:
		fault = fmt.Sprintf("it names %v as the one before, which is %v", next.Prev, prev.hash)
	case countSigners(next, body, prev.Roots) < prev.Threshold:
		fault = fmt.Sprintf("fewer than %d of the roots before have signed", prev.Threshold)
	case changed && countSigners(next, body, next.Roots) < next.Threshold:
		fault = fmt.Sprintf("fewer than %d of its own roots have signed", next.Threshold)
	}
	if fault != "" {
		return fmt.Errorf("%w: epoch %d: %s", ErrCharter, next.Epoch, fault)
	}
	return nil
}

// AddCharters takes charters in the order in which Papers returns them. It tells the forks
// that it did not know of. What stands before an error has been taken. Where charters are
// missing, the error is ErrGap.
func (s *State) AddCharters(list []wire.SignedCharter) (forks []Fork, err error) {
	before := s.newestLink().hash
	for i := range list {
		fork, err2 := s.addCharter(list[i])
		if fork != nil {
			forks = append(forks, *fork)
		}
		if err2 != nil {
			err = err2
			break
		}
	}
	if s.newestLink().hash != before {
		s.dropStatements()
	}
	return forks, err
}

func (s *State) addCharter(c wire.SignedCharter) (*Fork, error) {
	l := &link{c, HashCharter(&c.Charter)}
	head := s.newestLink()
	switch {
	case c.Epoch == 0 || c.Epoch > head.Epoch+1:
		return nil, fmt.Errorf("trust: %w: epoch %d, known up to %d", ErrGap, c.Epoch, head.Epoch)
	case c.Epoch == head.Epoch+1:
		return nil, s.appendLink(l)
	case s.chain[c.Epoch-1].hash == l.hash || s.rivals[l.hash] != nil:
		return nil, nil
	case c.Epoch == 1:
		return nil, fmt.Errorf("trust: %w: epoch 1 is %v, not %v", ErrFork, s.chain[0].hash, l.hash)
	case c.Prev != s.chain[c.Epoch-2].hash:
		return nil, fmt.Errorf("trust: %w: epoch %d follows on %v, not on %v", ErrFork, c.Epoch, c.Prev, s.chain[c.Epoch-2].hash)
	}
	if err := checkSuccessor(s.chain[c.Epoch-2], &l.SignedCharter); err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	return s.settleFork(l), nil
}

// appendLink takes the charter of the next epoch. Where it goes on from a rival of the newest
// one, that has won: it has a successor, and the newest here has none.
func (s *State) appendLink(l *link) error {
	prev := s.newestLink()
	if rival := s.rivals[l.Prev]; rival != nil && rival.Epoch == prev.Epoch {
		if err := checkSuccessor(rival, &l.SignedCharter); err != nil {
			return fmt.Errorf("trust: %w", err)
		}
		s.replaceHead(rival)
	} else if err := checkSuccessor(prev, &l.SignedCharter); err != nil {
		return fmt.Errorf("trust: %w", err)
	}
	s.chain = append(s.chain, l)
	s.raiseFloors(l)
	return nil
}

// settleFork decides between a valid charter and the one of its epoch that holds here.
func (s *State) settleFork(l *link) *Fork {
	holder := s.chain[l.Epoch-1]
	if holder == s.newestLink() {
		s.raiseFloors(l) // it holds elsewhere, and what it retired stays retired
		if bytes.Compare(l.hash[:], holder.hash[:]) < 0 {
			s.replaceHead(l)
			return &Fork{l.Epoch, l.hash, holder.hash}
		}
	}
	s.keepRival(l)
	return &Fork{l.Epoch, holder.hash, l.hash}
}

// replaceHead puts a rival of the newest charter in its place.
func (s *State) replaceHead(l *link) {
	loser := s.newestLink()
	delete(s.rivals, l.hash)
	s.chain[len(s.chain)-1] = l
	s.keepRival(loser)
}

// keepRival remembers the loser of a fork. Of too many, those of the latest epochs are
// kept, and of one epoch the lowest hashes.
func (s *State) keepRival(l *link) {
	s.rivals[l.hash] = l
	if len(s.rivals) <= maxRivals {
		return
	}
	list := s.sortedRivals()
	delete(s.rivals, list[len(list)-1].hash)
}

// sortedRivals returns the losers of forks, the latest epochs first.
func (s *State) sortedRivals() []*link {
	var list []*link
	for _, l := range s.rivals {
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b *link) int {
		if a.Epoch != b.Epoch {
			return int(int64(b.Epoch - a.Epoch))
		}
		return bytes.Compare(a.hash[:], b.hash[:])
	})
	return list
}
