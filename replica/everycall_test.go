package replica

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

// Whatever a node has or lacks, none of the public methods ends the process or hangs: on a
// node that stores, one that does not, and one that has no outbox besides, in contact, cut
// off and closed, with contexts that live, that end meanwhile and that have ended. They are
// found by reflection, so that a new one cannot be left out.
func TestEveryCallOnEveryNode(t *testing.T) {
	t.Run("storing", func(t *testing.T) {
		bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
			callAllInAllStates(t, net, nodes[0], buckets[0])
		})
	})
	t.Run("not storing", func(t *testing.T) {
		withCamera(t, BucketConfig{}, func(c *camera) { callAllInAllStates(c.t, c.net, c.node, c.b) })
	})
	t.Run("without an outbox", func(t *testing.T) {
		off := func(c *Config) { c.OutboxBytes = -1 }
		withCamera(t, BucketConfig{}, func(c *camera) { callAllInAllStates(c.t, c.net, c.node, c.b) }, off)
	})
}

func callAllInAllStates(t *testing.T, net *fakeNet, n *fakeNode, b *Bucket) {
	s := n.store
	calls := callAll(t, "in contact", s, b)
	net.split(true, n.id)
	calls += callAll(t, "just cut off", s, b)
	time.Sleep(time.Minute)
	calls += callAll(t, "cut off", s, b)
	net.heal()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	calls += callAll(t, "closed", s, b)
	if calls < 4*3*18 {
		t.Errorf("only %d calls were made", calls)
	}
}

// callAll calls all methods of a store and a bucket but Close, with arguments that say
// something where they can. It returns how many calls it made.
func callAll(t *testing.T, state string, s *Store, b *Bucket) (calls int) {
	given := []any{
		"k", []byte("v"), io.Writer(new(bytes.Buffer)), true, ScanOptions{Limit: 3}, WatchOptions{Present: true},
		[]BatchPut{{Key: "k", Value: []byte("v")}, {Key: "l"}}, []BatchGet{{Key: "k"}}, []BatchDelete{{Key: "l"}},
	}
	for _, on := range []any{s, b} {
		v := reflect.ValueOf(on)
		for i := range v.NumMethod() {
			name := v.Type().Method(i).Name
			if name == "Close" {
				continue
			}
			for _, patience := range []time.Duration{time.Minute, time.Millisecond, 0} {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				callWith(ctx, t, fmt.Sprintf("%s: %T.%s within %v", state, on, name, patience), v.Method(i), given)
				cancel()
				calls++
			}
		}
	}
	return calls
}

// callWith calls a method with a context and what fits of the given values, and looks at the
// first entries of what it returns.
func callWith(ctx context.Context, t *testing.T, what string, method reflect.Value, given []any) {
	defer func() {
		if fault := recover(); fault != nil {
			t.Errorf("%s: %v", what, fault)
		}
	}()
	in := []reflect.Value{}
	for i := range method.Type().NumIn() {
		want := method.Type().In(i)
		arg := reflect.Zero(want)
		for _, g := range append(given, ctx) {
			if v := reflect.ValueOf(g); v.Type() == want || want.Kind() == reflect.Interface && v.Type().Implements(want) {
				arg = v
			}
		}
		in = append(in, arg)
	}
	begun := time.Now()
	for _, out := range method.Call(in) {
		if err, ok := out.Interface().(error); ok && strings.Contains(err.Error(), "panic") { // it was recovered from
			t.Errorf("%s: %v", what, err)
		}
		if out.Kind() != reflect.Func {
			continue
		}
		n := 0
		for range out.Seq2() {
			if n++; n == 3 {
				break
			}
		}
	}
	if took := time.Since(begun); took > 2*time.Minute {
		t.Errorf("%s took %v", what, took)
	}
}
