package tiertest

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skeinmesh/skein/backup"
)

// memory is a tier with planted faults.
type memory struct {
	fault string

	mu      sync.Mutex
	objects map[string][]byte
	lists   int // that were begun
}

func newMemory(fault string) *memory {
	return &memory{fault: fault, objects: make(map[string][]byte)}
}

func (m *memory) begin(ctx context.Context, name string) error {
	if ctx.Err() != nil && m.fault != "context is ignored" {
		return ctx.Err()
	}
	if m.fault == "names are not checked" {
		return nil
	}
	return backup.CheckName(name)
}

func (m *memory) Put(ctx context.Context, name string, data []byte) error {
	if err := m.begin(ctx, name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	_, again := m.objects[name]
	switch {
	case len(data) > backup.MaxObject && m.fault != "size is not checked":
		return errors.New("too large")
	case m.fault == "empty is not kept" && len(data) == 0:
		return nil
	case m.fault == "holds on to data":
		m.objects[name] = data
		return nil
	case m.fault == "again is an error" && again:
		return errors.New("it is there")
	case m.fault == "cut at 5 MiB":
		data = data[:min(len(data), 5<<20)]
	case m.fault == "changes what it is given":
		defer clear(data)
	case m.fault == "in parts":
		m.objects[name] = bytes.Clone(data[:len(data)/2])
		before := m.lists
		m.mu.Unlock()
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end); runtime.Gosched() {
			m.mu.Lock() // until somebody has begun to look, and again
			looked := m.lists > before+1
			m.mu.Unlock()
			if looked {
				break
			}
		}
		m.mu.Lock()
	}
	m.objects[name] = bytes.Clone(data)
	return nil
}

func (m *memory) Get(ctx context.Context, name string, most int) ([]byte, error) {
	if err := m.begin(ctx, name); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.objects[name]
	switch {
	case !ok && m.fault == "absent is empty":
		return nil, nil
	case !ok:
		return nil, backup.ErrNoObject
	case len(data) > most && m.fault == "cut at most":
		return bytes.Clone(data[:most]), nil
	case len(data) > most && m.fault == "too large is none":
		return nil, backup.ErrNoObject
	case len(data) > most:
		return nil, errors.New("too large")
	case m.fault == "gives its own bytes":
		return data, nil
	}
	return bytes.Clone(data), nil
}

func (m *memory) Stat(ctx context.Context, name string) (backup.Object, error) {
	if err := m.begin(ctx, name); err != nil {
		return backup.Object{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.objects[name]
	if m.fault == "stat by prefix" && !ok {
		for other := range m.objects {
			ok = ok || strings.HasPrefix(other, name)
		}
	}
	if !ok {
		return backup.Object{}, backup.ErrNoObject
	}
	if m.fault == "no size" {
		return backup.Object{Name: name}, nil
	}
	return backup.Object{Name: name, Size: int64(len(data))}, nil
}

func (m *memory) List(ctx context.Context, prefix string) iter.Seq2[backup.Object, error] {
	return func(yield func(backup.Object, error) bool) {
		m.mu.Lock()
		objects := maps.Clone(m.objects)
		m.lists++
		m.mu.Unlock()
		names := slices.Sorted(maps.Keys(objects))
		switch m.fault {
		case "order of directories":
			slices.SortFunc(names, func(a, b string) int { return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/")) })
		case "first page":
			names = names[:min(len(names), 1000)]
		case "prefix is a directory":
			if prefix != "" {
				prefix = strings.TrimSuffix(prefix, "/") + "/"
			}
		}
		if m.begin(ctx, "a") != nil {
			yield(backup.Object{}, ctx.Err())
			return
		}
		for _, name := range names {
			if strings.HasPrefix(name, prefix) && !yield(backup.Object{Name: name, Size: int64(len(objects[name]))}, nil) {
				return
			}
		}
	}
}

func (m *memory) Delete(ctx context.Context, name string) error {
	if err := m.begin(ctx, name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.objects[name]
	switch {
	case m.fault == "nothing is deleted":
		return nil
	case m.fault == "delete of nothing" && !ok:
		return backup.ErrNoObject
	case m.fault == "deletes by prefix":
		maps.DeleteFunc(m.objects, func(other string, _ []byte) bool { return strings.HasPrefix(other, name) })
	}
	delete(m.objects, name)
	return nil
}

func TestOfAGoodTier(t *testing.T) {
	Test(t, func(*testing.T) backup.Tier { return newMemory("") })
	m := newMemory("")
	TestOpenedAnew(t, func(*testing.T) backup.Tier { return m })
}

// Each planted fault is found, by the check whose promise it breaks.
func TestPlantedFaultsAreFound(t *testing.T) {
	for fault, by := range map[string]string{
		"context is ignored":       "EndedContext",
		"names are not checked":    "BadNames",
		"size is not checked":      "TooLarge",
		"empty is not kept":        "RoundTrip",
		"holds on to data":         "BytesAreOwn",
		"changes what it is given": "BytesAreOwn",
		"gives its own bytes":      "BytesAreOwn",
		"again is an error":        "SameAgain",
		"cut at 5 MiB":             "RoundTrip",
		"in parts":                 "NeverInPart",
		"absent is empty":          "Absent",
		"cut at most":              "RoundTrip",
		"too large is none":        "RoundTrip",
		"stat by prefix":           "NamesAreWhole",
		"no size":                  "RoundTrip",
		"order of directories":     "List",
		"prefix is a directory":    "List",
		"first page":               "ListMany",
		"nothing is deleted":       "Delete",
		"delete of nothing":        "Delete",
		"deletes by prefix":        "Delete",
	} {
		at := slices.IndexFunc(checks, func(c check) bool { return c.name == by })
		if faults := runCheck(t.Context(), newMemory(fault), checks[at].run); len(faults) == 0 {
			t.Errorf("%s is not found by %s", fault, by)
		} else {
			t.Logf("%s: %s", fault, faults[0])
		}
	}
}
