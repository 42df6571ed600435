package tiertest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/skeinmesh/skein/backup"
)

// newBytes returns bytes that differ by their seed and cannot be compressed.
func newBytes(seed uint64, size int) []byte {
	data := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	r.Read(data)
	return data
}

func (c *trial) putObject(name string, data []byte) {
	if err := c.tier.Put(c.ctx, name, data); err != nil {
		c.faultf("put %s, %d bytes: %v", name, len(data), err)
	}
}

// tryPut puts what the tier may refuse; then the object is there as a whole or not at all.
func (c *trial) tryPut(name string, data []byte) {
	err := c.tier.Put(c.ctx, name, data)
	if err == nil {
		c.wantObject(name, data)
		return
	}
	got, getErr := c.tier.Get(c.ctx, name, backup.MaxObject)
	if !errors.Is(getErr, backup.ErrNoObject) && (getErr != nil || !bytes.Equal(got, data)) {
		c.faultf("get %s after %v: %d bytes, %v", name, err, len(got), getErr)
	}
}

func (c *trial) deleteObject(name string) {
	if err := c.tier.Delete(c.ctx, name); err != nil {
		c.faultf("delete %s: %v", name, err)
	}
}

// wantObject looks for an object by Get and Stat.
func (c *trial) wantObject(name string, data []byte) {
	got, err := c.tier.Get(c.ctx, name, len(data))
	if err != nil || !bytes.Equal(got, data) {
		c.faultf("get %s: %d bytes, %v; want the %d bytes that were put", name, len(got), err, len(data))
	}
	o, err := c.tier.Stat(c.ctx, name)
	if err != nil || o.Name != name || o.Size != int64(len(data)) {
		c.faultf("stat %s: %+v, %v; want %d bytes", name, o, err, len(data))
	}
}

func (c *trial) wantAbsent(name string) {
	if _, err := c.tier.Get(c.ctx, name, backup.MaxObject); !errors.Is(err, backup.ErrNoObject) {
		c.faultf("get %s, which is not there: %v", name, err)
	}
	if o, err := c.tier.Stat(c.ctx, name); !errors.Is(err, backup.ErrNoObject) {
		c.faultf("stat %s, which is not there: %+v, %v", name, o, err)
	}
}

// wantList wants exactly these names of a prefix, in this order.
func (c *trial) wantList(prefix string, want ...string) {
	var got []string
	for o, err := range c.tier.List(c.ctx, prefix) {
		if err != nil {
			c.faultf("list %q after %d: %v", prefix, len(got), err)
			return
		}
		got = append(got, o.Name)
	}
	if !slices.Equal(got, want) {
		if len(got)+len(want) > 40 {
			c.faultf("list %q: %d names, want %d", prefix, len(got), len(want))
			return
		}
		c.faultf("list %q: %q, want %q", prefix, got, want)
	}
}

// wantErrors wants such an error of each method but List.
func (c *trial) wantErrors(what, name string, want error) {
	judge := func(method string, err error) {
		if !errors.Is(err, want) {
			c.faultf("%s %s: %v; want %v", method, what, err, want)
		}
	}
	judge("put", c.tier.Put(c.ctx, name, []byte("x")))
	_, err := c.tier.Get(c.ctx, name, backup.MaxObject)
	judge("get", err)
	_, err = c.tier.Stat(c.ctx, name)
	judge("stat", err)
	judge("delete", c.tier.Delete(c.ctx, name))
}

// inParallel runs workers beside each other, each with a trial of its own.
func (c *trial) inParallel(workers int, work func(w *trial, worker int)) {
	trials := make([]trial, workers)
	var wait sync.WaitGroup
	for worker := range trials {
		trials[worker].ctx, trials[worker].tier = c.ctx, c.tier
		wait.Go(func() { work(&trials[worker], worker) })
	}
	wait.Wait()
	for _, w := range trials {
		c.faults = append(c.faults, w.faults...)
	}
}
