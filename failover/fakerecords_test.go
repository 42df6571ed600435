package failover

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
)

// fakeRecords are records in memory that all nodes share.
type fakeRecords struct {
	mu        sync.Mutex
	values    map[string]string
	followers map[*fakeFollower]bool
}

// fakeRecordsAt are those records as one node reaches them.
type fakeRecordsAt struct {
	*fakeRecords
	slow time.Duration // what each call takes
	away error         // nil: they are in reach
}

type fakeFollower struct {
	at     *fakeRecordsAt
	prefix string
	cancel context.CancelFunc
	bell   chan struct{}
	news   []string // keys
}

func newFakeRecords() *fakeRecords {
	return &fakeRecords{values: map[string]string{}, followers: map[*fakeFollower]bool{}}
}

func (r *fakeRecords) at() *fakeRecordsAt { return &fakeRecordsAt{fakeRecords: r} }

// put writes a value, or erases the key of an empty one, and tells who follows.
func (r *fakeRecords) put(key, value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values[key] = value
	if value == "" {
		delete(r.values, key)
	}
	for f := range r.followers {
		f.addNews(key)
	}
}

func (f *fakeFollower) addNews(key string) {
	if strings.HasPrefix(key, f.prefix) {
		f.news = append(f.news, key)
		select {
		case f.bell <- struct{}{}:
		default:
		}
	}
}

// keys returns those with a prefix, in falling order.
func (r *fakeRecords) keys(prefix string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.DeleteFunc(slices.Sorted(maps.Keys(r.values)), func(k string) bool { return !strings.HasPrefix(k, prefix) })
	slices.Reverse(all)
	return all
}

// setAway has them out of reach for a node, and what it follows ends; nil: they are back.
func (r *fakeRecordsAt) setAway(err error) {
	r.setFailing(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	for f := range r.followers {
		if f.at == r {
			f.cancel()
		}
	}
}

// setFailing has each call fail for a node, and what it follows go on; nil: none does.
func (r *fakeRecordsAt) setFailing(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = err
}

func (r *fakeRecordsAt) setSlow(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slow = d
}

// pass takes the time of a call, and returns what is wrong.
func (r *fakeRecordsAt) pass(ctx context.Context) error {
	r.mu.Lock()
	slow, away := r.slow, r.away
	r.mu.Unlock()
	if !clock.Sleep(ctx, slow) {
		return ctx.Err()
	}
	return away
}

func (r *fakeRecordsAt) Read(ctx context.Context, key string) ([]byte, error) {
	if err := r.pass(ctx); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if v, ok := r.values[key]; ok {
		return []byte(v), nil
	}
	return nil, nil
}

func (r *fakeRecordsAt) Write(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := r.pass(ctx); err != nil {
		return err
	}
	r.put(key, string(value))
	if ttl > 0 {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.values["ttl "+key] = ttl.String()
	}
	return nil
}

func (r *fakeRecordsAt) Erase(ctx context.Context, key string) error {
	if err := r.pass(ctx); err != nil {
		return err
	}
	r.put(key, "")
	return nil
}

func (r *fakeRecordsAt) Each(ctx context.Context, prefix string, visit func(key string, value []byte) bool) error {
	if err := r.pass(ctx); err != nil {
		return err
	}
	for _, key := range r.keys(prefix) {
		if v, _ := r.Read(ctx, key); !visit(key, v) {
			break
		}
	}
	return nil
}

func (r *fakeRecordsAt) Follow(ctx context.Context, prefix string, changed func(key string, value []byte), all func()) error {
	if err := r.pass(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &fakeFollower{at: r, prefix: prefix, cancel: cancel, bell: make(chan struct{}, 1)}
	r.mu.Lock()
	r.followers[f] = true
	r.mu.Unlock()
	for _, key := range r.keys(prefix) {
		v, _ := r.Read(ctx, key)
		changed(key, v)
	}
	all()
	for {
		select {
		case <-f.bell:
		case <-ctx.Done():
			r.mu.Lock()
			defer r.mu.Unlock()
			delete(r.followers, f)
			return errors.Join(ctx.Err(), r.away)
		}
		r.mu.Lock()
		news := f.news
		f.news = nil
		r.mu.Unlock()
		for _, key := range news {
			r.mu.Lock()
			v, ok := r.values[key]
			r.mu.Unlock()
			if ok {
				changed(key, []byte(v))
			} else {
				changed(key, nil)
			}
		}
	}
}
