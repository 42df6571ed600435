// Package everycall calls all public methods of a handle in a test, found by reflection, so
// that a new one is not left out: none may end the process, hang, or hide that it panicked.
package everycall

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// patiences are the times that calls are given: enough, too little, and none.
var patiences = [...]time.Duration{time.Minute, time.Millisecond, 0}

// limit is how long a call may take that was given a minute.
const limit = 2 * time.Minute

// Try calls all methods of a handle but those to be skipped, each with contexts that live,
// that end soon and that have ended. Other arguments are those of the given values that fit,
// functions that do nothing, or zero. It returns how many calls it made. It is to be run in a
// bubble of testing/synctest.
func Try(t *testing.T, state string, handle any, given []any, skip ...string) (calls int) {
	t.Helper()
	v := reflect.ValueOf(handle)
	skipped := make(map[string]bool)
	for _, name := range skip {
		if _, ok := v.Type().MethodByName(name); !ok {
			t.Errorf("%T has no method %s to skip", handle, name)
		}
		skipped[name] = true
	}
	for i := range v.NumMethod() {
		name := v.Type().Method(i).Name
		if skipped[name] {
			continue
		}
		for _, patience := range patiences {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			if fault := callMethod(ctx, v.Method(i), given); fault != nil {
				t.Errorf("%s: %T.%s within %v: %v", state, handle, name, patience, fault)
			}
			cancel()
			calls++
		}
	}
	return calls
}

// callMethod calls a method and looks at what it returns.
func callMethod(ctx context.Context, method reflect.Value, given []any) (fault error) {
	defer func() {
		if p := recover(); p != nil {
			fault = fmt.Errorf("panic: %v", p)
		}
	}()
	var in []reflect.Value
	for i := range method.Type().NumIn() {
		in = append(in, argumentOf(ctx, method.Type().In(i), given))
	}
	begun := time.Now()
	for _, out := range method.Call(in) {
		if err, ok := out.Interface().(error); ok && strings.Contains(err.Error(), "panic") { // somebody recovered from it
			fault = err
		}
		consume(ctx, out)
	}
	if took := time.Since(begun); took > limit {
		return fmt.Errorf("it took %v", took)
	}
	return fault
}

func argumentOf(ctx context.Context, want reflect.Type, given []any) reflect.Value {
	for _, g := range append(given, ctx) {
		if v := reflect.ValueOf(g); v.Type() == want || want.Kind() == reflect.Interface && v.Type().Implements(want) {
			return v
		}
	}
	if want.Kind() != reflect.Func {
		return reflect.Zero(want)
	}
	return reflect.MakeFunc(want, func([]reflect.Value) (out []reflect.Value) {
		for i := range want.NumOut() {
			out = append(out, reflect.Zero(want.Out(i)))
		}
		return out
	})
}

// consume takes some of what a method goes on to return.
func consume(ctx context.Context, out reflect.Value) {
	const some = 3
	n := 0
	switch {
	case out.Kind() == reflect.Func && out.Type().CanSeq2():
		for range out.Seq2() {
			if n++; n == some {
				return
			}
		}
	case out.Kind() == reflect.Chan && out.Type().ChanDir() != reflect.SendDir:
		done := reflect.ValueOf(ctx.Done())
		for ; n < some; n++ {
			if _, _, ok := reflect.Select([]reflect.SelectCase{{Dir: reflect.SelectRecv, Chan: done}, {Dir: reflect.SelectRecv, Chan: out}}); !ok {
				return
			}
		}
	}
}
