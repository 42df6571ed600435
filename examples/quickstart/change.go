package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/skeinmesh/skein/examples/internal/stage"
)

const (
	lostDiskNode = "gateway-4" // its disk is lost
	drainedNode  = "gateway-2" // it is taken out of service
)

// loseDisk destroys a node's disk; a new one takes over under the old name.
func (s *story) loseDisk(ctx context.Context) error {
	s.Chapter("A disk is lost: " + lostDiskNode + " is killed, its data deleted; a new disk takes over")
	return s.writeDuring(ctx, [][]string{nil}, func(ctx context.Context) error {
		before, err := s.shardsHeldBy(ctx, lostDiskNode)
		if err != nil {
			return err
		}
		p := stage.RoleOf(s.roles, lostDiskNode)
		s.Remove(lostDiskNode).Kill()
		if err := os.RemoveAll(p.Dir); err != nil {
			return err
		}
		begin := time.Now()
		if err := s.startEmpty(ctx, p); err != nil {
			return err
		}
		s.PrintEvent("the mesh has given up the old store and let the new one in after %s", stage.FormatDuration(time.Since(begin)))
		if err := s.awaitUntil(ctx, 45*time.Second, "the new store has all copies that were lost", func() bool {
			return isWhole(s.statuses(ctx), len(s.roles))
		}); err != nil {
			return err
		}
		s.out.HealedMS = time.Since(begin).Milliseconds()
		after, err := s.shardsHeldBy(ctx, lostDiskNode)
		if err != nil {
			return err
		}
		s.PrintEvent("the old disk held copies of %d shards; the new store, under the same name, has %d of them from the others after %s",
			before, after, stage.FormatDuration(time.Since(begin)))
		return nil
	})
}

// startEmpty starts a node on an empty disk and waits until it has met the mesh.
// Before that it would take writes like a gateway that is cut off, alone.
func (s *story) startEmpty(ctx context.Context, p stage.Role) error {
	pr, err := stage.StartProcess[request, answer](p, s.noteSighting)
	if err != nil {
		return err
	}
	for {
		a, err := pr.Ask(ctx, request{Op: "status"})
		if err == nil && a.Status.Alive < len(s.roles) {
			err = stage.SleepFor(ctx, 50*time.Millisecond)
		} else if err == nil {
			return s.enrolProcess(ctx, pr)
		}
		if err != nil {
			pr.Kill()
			return fmt.Errorf("start %s on an empty disk: %w", p.Name, err)
		}
	}
}

// shardsHeldBy is of how many shards a node keeps a copy.
func (s *story) shardsHeldBy(ctx context.Context, name string) (int, error) {
	a, err := s.Running(name)[0].Ask(ctx, request{Op: "status"})
	if err != nil {
		return 0, err
	}
	return len(a.Status.Digests), nil
}

// drainNode takes a node out of service: it hands over what it holds and leaves.
func (s *story) drainNode(ctx context.Context) error {
	s.Chapter("A node is drained: " + drainedNode + " hands over all it holds and leaves for good")
	return s.writeDuring(ctx, [][]string{nil}, func(ctx context.Context) error {
		begin := time.Now()
		pr := s.Remove(drainedNode) // no more writes through it
		if _, err := pr.Ask(ctx, request{Op: "leave"}); err != nil {
			return fmt.Errorf("drain %s: %w", drainedNode, err)
		}
		s.out.DrainedMS = time.Since(begin).Milliseconds()
		if err := pr.Close(); err != nil {
			return err
		}
		p := stage.RoleOf(s.roles, drainedNode)
		s.roles = slices.DeleteFunc(slices.Clone(s.roles), func(q stage.Role) bool { return q.Name == drainedNode })
		rest, err := readDisk(p.Dir)
		if err != nil {
			return fmt.Errorf("read the disk of %s: %w", drainedNode, err)
		}
		if len(rest.Items) > 0 {
			return errors.New("the drained node's disk still holds items: they were not handed over")
		}
		s.PrintEvent("nothing is left on its disk after %s", stage.FormatDuration(time.Since(begin)))
		return s.awaitUntil(ctx, 30*time.Second, "the four that remain have compared their shards", func() bool {
			return isWhole(s.statuses(ctx), len(s.roles))
		})
	})
}
