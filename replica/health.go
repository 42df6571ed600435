package replica

import "context"

// Health is what Status will become.
type Health struct {
	Status
	PurgeBlocked *PurgeBlocked
}

// Health tells how the store is doing.
func (s *Store) Health(ctx context.Context) (Health, error) {
	st, err := s.Status(ctx)
	return Health{Status: st, PurgeBlocked: s.purger.blocked()}, err
}
