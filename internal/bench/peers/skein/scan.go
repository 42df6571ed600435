package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/bench/load"
	"github.com/skeinmesh/skein/replica"
)

const (
	scanStores  = 5
	scanRepeats = 3
	scanWriters = 64
)

// measureScan scans n values of 100 bytes at the only store that has them, and over five
// stores at the default level, from one of them. All are in one process.
func measureScan(ctx context.Context, dir string, n int) (values map[string]float64, err error) {
	values = make(map[string]float64)
	for name, stores := range map[string]int{"one": 1, "five": scanStores} {
		rate, err := measureScanOver(ctx, filepath.Join(dir, name), stores, n)
		if err != nil {
			return nil, fmt.Errorf("scan over %d stores: %w", stores, err)
		}
		values[name+"_keys_per_s"] = rate
	}
	return values, nil
}

func measureScanOver(ctx context.Context, dir string, stores, n int) (rate float64, err error) {
	ports, err := load.FreePorts(stores)
	if err != nil {
		return 0, err
	}
	var all trio
	defer func() { err = errors.Join(err, all.Close()) }()
	for i, port := range ports {
		name := fmt.Sprintf("n%d", i)
		m, err := openMember(ctx, meshConfig(filepath.Join(dir, name), name, fmt.Sprintf("127.0.0.1:%d", port), []string{fmt.Sprintf("127.0.0.1:%d", ports[0])}))
		if all = append(all, m); err != nil {
			return 0, err
		}
	}
	for _, m := range all {
		if err := m.awaitAll(ctx, stores); err != nil {
			return 0, err
		}
	}
	value := make([]byte, 100)
	err = forEachUpTo(n, scanWriters, func(i int) error {
		_, err := all[i%stores].bucket.Put(ctx, fmt.Sprintf("key-%08d", i), value, nil)
		if errors.Is(err, replica.ErrDegraded) {
			return nil
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	// Homes vouch for what they lack once they have compared with each other.
	var rates []float64
	err = awaitTrue(ctx, "whole scans", time.Minute, func() (bool, error) {
		begin := time.Now()
		found, err := scanAll(ctx, all[0].bucket)
		if err == nil && found == n {
			rates = append(rates, float64(n)/time.Since(begin).Seconds())
		} else if !errors.Is(err, replica.ErrDegraded) {
			return false, fmt.Errorf("%d keys of %d: %w", found, n, err)
		}
		return len(rates) == scanRepeats, nil
	})
	if err != nil {
		return 0, err
	}
	slices.Sort(rates)
	return rates[len(rates)/2], nil
}

// scanAll reads all items, with their values.
func scanAll(ctx context.Context, b *replica.Bucket) (n int, err error) {
	for _, e := range b.Scan(ctx, replica.ScanOptions{}) {
		if e != nil {
			err = errors.Join(err, e)
		} else {
			n++
		}
	}
	return n, err
}
