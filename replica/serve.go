package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// registerHandlers registers the handlers. A node that stores nothing serves nothing.
func (s *Store) registerHandlers() error {
	for method, serve := range map[string]func(context.Context, view.NodeID, []byte) ([]byte, error){
		wire.MethodRead:    s.reader.ServeRead,
		wire.MethodClock:   s.coordinator.ServeClock,
		wire.MethodDigest:  s.comparer.ServeDigest,
		wire.MethodList:    s.comparer.ServeList,
		wire.MethodSums:    s.comparer.ServeSums,
		wire.MethodSketch:  s.comparer.ServeSketch,
		wire.MethodFetch:   s.comparer.ServeFetch,
		wire.MethodStamps:  s.purging.ServeStamps,
		wire.MethodLog:     s.purging.ServeLog,
		wire.MethodPropose: s.purging.ServePropose,
		wire.MethodCommit:  s.purging.ServeCommit,
		wire.MethodCover:   s.carrier.ServeCover,
		wire.MethodHeld:    s.carrier.ServeHeld,
		wire.MethodPage:    s.servePage,
		wire.MethodWatch:   s.serveWatch,
	} {
		err := s.mesh.Handle(method, func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
			leave, err := s.admitPeer(method, from)
			if err != nil {
				return nil, err
			}
			defer leave()
			return serve(ctx, from, req)
		})
		if err != nil {
			return fmt.Errorf("replica: serve %s: %w", method, err)
		}
	}
	for method, serve := range map[string]func(context.Context, view.NodeID, []byte, func([]byte, error)){
		wire.MethodMerge:   s.merger.ServeMerge,
		wire.MethodPut:     s.coordinator.ServePut,
		wire.MethodPutMany: s.coordinator.ServePutMany,
	} {
		err := s.mesh.HandlePrompt(method, func(ctx context.Context, from view.NodeID, req []byte, answer func([]byte, error)) {
			leave, err := s.admitPeer(method, from)
			if err != nil {
				answer(nil, err)
				return
			}
			defer leave()
			serve(ctx, from, req, answer)
		})
		if err != nil {
			return fmt.Errorf("replica: serve %s: %w", method, err)
		}
	}
	return nil
}

// admitPeer lets a request of another node in, until leave is called.
func (s *Store) admitPeer(method string, from view.NodeID) (leave func(), err error) {
	if s.disk == nil {
		return nil, errors.New("replica: this node stores nothing")
	}
	leave, ok := s.gate.Ops.Enter()
	if !ok {
		return nil, ErrClosed
	}
	// What a client's node may ask for, and what only stores have to say to each
	// other: a merge can cover all that there is.
	open := method == wire.MethodPut || method == wire.MethodPutMany || method == wire.MethodRead || method == wire.MethodPage || method == wire.MethodWatch || method == wire.MethodClock
	lay := s.homes.Now()
	if _, member := lay.InMesh[from]; !member && !(open && s.isNewClient(from)) {
		leave()
		return nil, errStranger // it must not get anything before it counts in a purge
	}
	if _, stores := slices.BinarySearch(lay.Members, from); !stores && !open {
		leave()
		return nil, fmt.Errorf("%w: %s", errNoStore, method)
	}
	s.peering.Silence.Note(from, true)
	return leave, nil
}

// isNewClient tells whether a node that stores nothing has come to the mesh since
// the layout was made. It does not count in a purge, so it need not be waited for:
// its first write comes as soon as it has joined.
func (s *Store) isNewClient(id view.NodeID) bool {
	m, ok := s.mesh.View().Member(id)
	return ok && !m.Storing
}

// errStranger: the roster here does not know who asks.
var errStranger = errors.New("replica: not known to belong to the mesh yet")

// errNoStore: the roster says that who asks stores nothing.
var errNoStore = errors.New("replica: only a storing node may ask for this")

func clipText(s string, n int) string { return s[:min(len(s), n)] }
