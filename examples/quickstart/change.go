package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

const (
	unlucky = "gateway-4" // its disk is lost
	drained = "gateway-2" // it is taken out of service
)

func (s *story) planOf(name string) plan {
	return s.plans[slices.IndexFunc(s.plans, func(p plan) bool { return p.Name == name })]
}

// loss destroys a node's disk; a new one takes over under the old name.
func (s *story) loss(ctx context.Context) error {
	s.chapter("A disk is lost: " + unlucky + " is killed, its data deleted; a new disk takes over")
	return s.write(ctx, [][]string{nil}, func(ctx context.Context) error {
		before, err := s.holds(ctx, unlucky)
		if err != nil {
			return err
		}
		p := s.planOf(unlucky)
		s.remove(unlucky).kill()
		if err := os.RemoveAll(p.Dir); err != nil {
			return err
		}
		begin := time.Now()
		if err := s.replace(ctx, p); err != nil {
			return err
		}
		s.say("the mesh has given up the old store and let the new one in after %s", ms(time.Since(begin)))
		if err := s.await(ctx, 45*time.Second, "the new store has all copies that were lost", func() bool {
			return whole(s.statuses(ctx), len(s.plans))
		}); err != nil {
			return err
		}
		s.out.HealedMS = time.Since(begin).Milliseconds()
		after, err := s.holds(ctx, unlucky)
		if err != nil {
			return err
		}
		s.say("the old disk held copies of %d shards; the new store, under the same name, has %d of them from the others after %s",
			before, after, ms(time.Since(begin)))
		return nil
	})
}

// replace starts a node on an empty disk and waits until it has met the mesh.
// Before that it would take writes like a gateway that is cut off, alone.
func (s *story) replace(ctx context.Context, p plan) error {
	pr, err := start(p, s.noticed)
	if err != nil {
		return err
	}
	for {
		a, err := pr.ask(ctx, request{Op: "status"})
		if err == nil && a.Status.Alive < len(s.plans) {
			err = pause(ctx, 50*time.Millisecond)
		} else if err == nil {
			return s.enrol(ctx, pr)
		}
		if err != nil {
			pr.kill()
			return fmt.Errorf("start %s on an empty disk: %w", p.Name, err)
		}
	}
}

// holds is of how many shards a node keeps a copy.
func (s *story) holds(ctx context.Context, name string) (int, error) {
	a, err := s.running(name)[0].ask(ctx, request{Op: "status"})
	if err != nil {
		return 0, err
	}
	return len(a.Status.Digests), nil
}

// drain takes a node out of service: it hands over what it holds and leaves.
func (s *story) drain(ctx context.Context) error {
	s.chapter("A node is drained: " + drained + " hands over all it holds and leaves for good")
	return s.write(ctx, [][]string{nil}, func(ctx context.Context) error {
		begin := time.Now()
		pr := s.remove(drained) // no more writes through it
		if _, err := pr.ask(ctx, request{Op: "leave"}); err != nil {
			return fmt.Errorf("drain %s: %w", drained, err)
		}
		s.out.DrainedMS = time.Since(begin).Milliseconds()
		if err := pr.quit(); err != nil {
			return err
		}
		p := s.planOf(drained)
		s.plans = slices.DeleteFunc(slices.Clone(s.plans), func(q plan) bool { return q.Name == drained })
		rest, err := readDisk(p.Dir)
		if err != nil {
			return fmt.Errorf("read the disk of %s: %w", drained, err)
		}
		if len(rest.Items) > 0 {
			return errors.New("the drained node's disk still holds items: they were not handed over")
		}
		s.say("nothing is left on its disk after %s", ms(time.Since(begin)))
		return s.await(ctx, 30*time.Second, "the four that remain have compared their shards", func() bool {
			return whole(s.statuses(ctx), len(s.plans))
		})
	})
}
