package tiertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skeinmesh/skein/backup"
)

var checks = []check{
	{"RoundTrip", checkRoundTrip},
	{"BytesAreOwn", checkBytesAreOwn},
	{"SameAgain", checkSameAgain},
	{"TooLarge", checkTooLarge},
	{"Absent", checkAbsent},
	{"List", checkList},
	{"ListMany", checkListMany},
	{"Delete", checkDelete},
	{"BadNames", checkBadNames},
	{"NamesAreWhole", checkNamesAreWhole},
	{"EndedContext", checkEndedContext},
	{"Concurrent", checkConcurrent},
	{"NeverInPart", checkNeverInPart},
}

func checkRoundTrip(c *trial) {
	for i, size := range []int{0, 1, 511, 4096, 100_000, 5<<20 + 1, backup.MaxObject} {
		name := fmt.Sprintf("sizes/of/%d", size)
		data := newBytes(uint64(i), size)
		c.putObject(name, data)
		c.wantObject(name, data)
		if size == 0 {
			continue
		}
		if _, err := c.tier.Get(c.ctx, name, size-1); err == nil || errors.Is(err, backup.ErrNoObject) {
			c.faultf("get %s with most %d: %v", name, size-1, err)
		}
		if got, err := c.tier.Get(c.ctx, name, 2*backup.MaxObject); err != nil || !bytes.Equal(got, data) {
			c.faultf("get %s with more than enough: %d bytes, %v", name, len(got), err)
		}
	}
}

// checkBytesAreOwn changes what was put and what was got.
func checkBytesAreOwn(c *trial) {
	data := newBytes(1, 1000)
	given := slices.Clone(data)
	c.putObject("a/b", given)
	if !bytes.Equal(given, data) {
		c.faultf("put changed the bytes that it was given")
	}
	clear(given)
	got, err := c.tier.Get(c.ctx, "a/b", 1000)
	if err != nil || !bytes.Equal(got, data) {
		c.faultf("the tier holds on to what it was given, %v", err)
	}
	clear(got)
	c.wantObject("a/b", data)
}

func checkSameAgain(c *trial) {
	data := newBytes(1, 1000)
	for range 3 {
		c.putObject("a/b", data)
	}
	c.wantObject("a/b", data)
	c.wantList("", "a/b")
}

func checkTooLarge(c *trial) {
	if err := c.tier.Put(c.ctx, "a/b", make([]byte, backup.MaxObject+1)); err == nil {
		c.faultf("an object of more than MaxObject was put")
	}
	c.wantAbsent("a/b")
}

func checkAbsent(c *trial) {
	c.wantAbsent("a")
	c.wantAbsent("a/b/c/d")
	c.wantList("")
	c.wantList("a/")
}

// checkList has names in which a slash, a dash and a dot stand at one place: the order of names
// is not that of directories.
func checkList(c *trial) {
	names := []string{"a-b/x", "a.b/x", "a/b", "a/b-c", "a/b.c", "a/bb", "a/c/x-y", "a/c/x/y", "a0", "b"}
	for i := range names {
		c.putObject(names[(i*7)%len(names)], newBytes(0, (i*7)%len(names)))
	}
	for _, prefix := range []string{"", "a", "a/", "a/b", "a/b-", "a/c", "a/c/", "a/c/x", "a/c/x/", "a/c/x/y", "b", "b/", "c", "a/d/", "a0", "/", ".", "../", "A", "a//", "a/../"} {
		var want []string
		for _, name := range names {
			if strings.HasPrefix(name, prefix) {
				want = append(want, name)
			}
		}
		c.wantList(prefix, want...)
	}
	for o, err := range c.tier.List(c.ctx, "") {
		if i := slices.Index(names, o.Name); err != nil || i < 0 || o.Size != int64(i) {
			c.faultf("listed %+v, %v", o, err)
		}
		if told, err := c.tier.Stat(c.ctx, o.Name); err != nil || told.Time.Sub(o.Time).Abs() > time.Second {
			c.faultf("%s is listed with the time %v; stat says %v, %v", o.Name, o.Time, told.Time, err)
		}
	}
	n := 0
	for range c.tier.List(c.ctx, "a") {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		c.faultf("a list that is left at the second object gave %d", n)
	}
}

// checkListMany has more than a page of what most services list at once.
func checkListMany(c *trial) {
	var names []string
	for i := range 1100 {
		names = append(names, fmt.Sprintf("many/%04d", i))
	}
	c.inParallel(16, func(w *trial, worker int) {
		for i := worker; i < len(names); i += 16 {
			w.putObject(names[i], []byte{1})
		}
	})
	c.wantList("many/", names...)
	c.wantList("many/010", names[100:110]...)
}

func checkDelete(c *trial) {
	data := newBytes(1, 100)
	names := []string{"a/b", "a/b-c", "a/bb", "a/c/d"}
	for _, name := range names {
		c.putObject(name, data)
	}
	for _, name := range []string{"a/b", "a/b", "a/c", "a", "never/was", "a/c/d/e"} {
		c.deleteObject(name)
	}
	c.wantAbsent("a/b")
	for _, name := range names[1:] {
		c.wantObject(name, data)
	}
	c.wantList("", names[1:]...)
	again := newBytes(2, 50)
	c.putObject("a/b", again)
	c.wantObject("a/b", again)
}

func checkBadNames(c *trial) {
	c.putObject("a/b", nil)
	for _, name := range []string{"", "/", "a/", "/a", "a//b", ".", "..", "../a", "a/../b", "a/./b", ".a", "a/.b", "A/b", "a b", "a\x00", "ä", `a\b`, "a/b/c/d/e", strings.Repeat("a", 65)} {
		c.wantErrors(fmt.Sprintf("%q", name), name, backup.ErrBadName)
	}
	c.wantList("", "a/b")
}

// checkNamesAreWhole has a name that begins as another does, at a slash too.
func checkNamesAreWhole(c *trial) {
	inner, outer := newBytes(1, 10), newBytes(2, 20)
	c.putObject("a/b/c", inner)
	c.wantAbsent("a")
	c.wantAbsent("a/b")
	c.wantAbsent("a/b/cc")
	c.wantAbsent("a/b/c/d")
	c.tryPut("a/b", outer)
	c.wantObject("a/b/c", inner)
	c.putObject("x", outer)
	c.tryPut("x/y", inner)
	c.wantObject("x", outer)
}

func checkEndedContext(c *trial) {
	c.putObject("a/b", []byte("x"))
	live := c.ctx
	ended, cancel := context.WithCancel(live)
	cancel()
	late, cancel := context.WithDeadline(live, time.Unix(1, 0))
	defer cancel()
	for _, ctx := range []context.Context{ended, late} {
		c.ctx = ctx
		c.wantErrors("with an ended context", "a/b", ctx.Err())
		var last error
		for _, err := range c.tier.List(ctx, "") {
			last = err
		}
		if !errors.Is(last, ctx.Err()) {
			c.faultf("a list with an ended context ends with %v", last)
		}
	}
	c.ctx = live
	c.wantObject("a/b", []byte("x"))
}

// checkConcurrent has workers with names of their own and one in common.
func checkConcurrent(c *trial) {
	common := newBytes(0, 100_000)
	c.inParallel(8, func(w *trial, worker int) {
		for i := range 10 {
			name, data := fmt.Sprintf("w/%d/%d", worker, i), newBytes(uint64(worker*10+i+1), 1000*i)
			w.putObject("w/common", common)
			w.wantObject("w/common", common)
			w.putObject(name, data)
			w.wantObject(name, data)
			w.wantList(name, name)
			w.deleteObject(name)
			w.wantAbsent(name)
		}
	})
	c.wantList("", "w/common")
}

// checkNeverInPart reads objects while they are put.
func checkNeverInPart(c *trial) {
	data := newBytes(1, 1<<20)
	puts := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		for range 2000 {
			for o, err := range c.tier.List(c.ctx, "") {
				got, gotErr := c.tier.Get(c.ctx, o.Name, len(data))
				if err != nil || o.Size != int64(len(data)) || gotErr != nil || !bytes.Equal(got, data) {
					c.faultf("while it is put: listed %+v, %v; got %d bytes, %v", o, err, len(got), gotErr)
				}
			}
			select {
			case <-puts:
				return
			default:
			}
		}
	})
	var err error
	for i := range 10 {
		err = errors.Join(err, c.tier.Put(c.ctx, fmt.Sprintf("part/%d", i), data))
	}
	close(puts)
	wait.Wait()
	if err != nil {
		c.faultf("put: %v", err)
	}
}
