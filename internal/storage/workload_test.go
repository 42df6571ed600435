package storage

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var long = flag.Bool("long", false, "run the long forms of the tests")

// ledger is the model of a store under the workload below: update number n
// writes n under "seq" and under all three keys of a slot, or deletes these
// three. So the store at any moment must equal the model after as many
// updates as its seq says: nothing missing in between, nothing half.
type ledger struct {
	mu    sync.Mutex
	ops   []op // ops[n-1] is update number n
	acked int  // highest number acknowledged
}

type op struct {
	slot, size int
	del        bool
}

var errRefused = errors.New("refused by the update itself")

func slotKeys(slot int) [3]string {
	return [3]string{fmt.Sprintf("a/%02d", slot), fmt.Sprintf("m/%02d", slot), fmt.Sprintf("z/%02d", slot)}
}

func ledgerValue(n, size int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 0))
	return append(fmt.Appendf(nil, "%d:", n), incompressible(r, size)...)
}

// step makes one random update.
func (l *ledger) step(s *Store, r *rand.Rand) error {
	o := op{slot: r.IntN(20), size: r.IntN(3000), del: r.IntN(6) == 0}
	refuse := r.IntN(10) == 0
	number := 0
	err := s.Update(context.Background(), func(tx *Tx) error {
		seq, err := tx.Get([]byte("seq"))
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		n, _ := strconv.Atoi(string(seq))
		n++
		if err := o.write(tx, n); err != nil {
			return err
		}
		if refuse {
			return errRefused
		}
		number = n
		l.mu.Lock()
		defer l.mu.Unlock()
		if n != len(l.ops)+1 {
			return fmt.Errorf("update %d after %d", n, len(l.ops))
		}
		l.ops = append(l.ops, o)
		return nil
	})
	if refuse && errors.Is(err, errRefused) {
		return nil
	}
	if err == nil {
		l.mu.Lock()
		l.acked = max(l.acked, number)
		l.mu.Unlock()
	}
	return err
}

func (o op) write(tx *Tx, n int) error {
	if err := tx.Set([]byte("seq"), []byte(strconv.Itoa(n))); err != nil {
		return err
	}
	for _, key := range slotKeys(o.slot) {
		var err error
		if o.del {
			err = tx.Delete([]byte(key))
		} else {
			err = tx.Set([]byte(key), ledgerValue(n, o.size))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// after returns what the store must hold after n updates.
func (l *ledger) after(n int) map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	model := map[string]string{}
	for i, o := range l.ops[:n] {
		model["seq"] = strconv.Itoa(i + 1)
		for _, key := range slotKeys(o.slot) {
			if o.del {
				delete(model, key)
			} else {
				model[key] = string(ledgerValue(i+1, o.size))
			}
		}
	}
	return model
}

func (l *ledger) ackedNow() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked
}

// check opens what is on fs and compares it with the model: at least acked
// updates are there.
func (l *ledger) check(fs vfs.FS, acked int) error {
	s, err := Open(memOptions(fs))
	if err != nil {
		return fmt.Errorf("open with %d acked: %w", acked, err)
	}
	err = l.compare(s, acked)
	return errors.Join(err, s.Close())
}

func (l *ledger) compare(s *Store, acked int) error {
	got := map[string]string{}
	err := s.Scan(context.Background(), nil, nil, func(key, value []byte) error {
		got[string(key)] = string(value)
		return nil
	})
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(got["seq"])
	l.mu.Lock()
	made := len(l.ops)
	l.mu.Unlock()
	if n < acked || n > made {
		return fmt.Errorf("store holds %d updates of %d made, %d acked", n, made, acked)
	}
	want := l.after(n)
	var diff []string
	for key, value := range want {
		if got[key] != value {
			diff = append(diff, fmt.Sprintf("%s: have %.10q, want %.10q", key, got[key], value))
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			diff = append(diff, key+": should not be there")
		}
	}
	if diff != nil {
		return fmt.Errorf("after %d updates, %d acked: %s", n, acked, strings.Join(diff, "; "))
	}
	return nil
}

// run lets writers make steps together until the first error of each.
func (l *ledger) run(s *Store, seed uint64, writers, steps int) error {
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(w)))
			for range steps {
				if errs[w] = l.step(s, r); errs[w] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func TestLedgerNoticesALostUpdate(t *testing.T) {
	fs := vfs.NewMem()
	s := openMem(t, fs)
	l := &ledger{}
	if err := l.run(s, 1, 2, 20); err != nil {
		t.Fatal(err)
	}
	if err := l.compare(s, l.acked); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(context.Background(), func(tx *Tx) error { return tx.Delete([]byte("seq")) }); err != nil {
		t.Fatal(err)
	}
	if err := l.compare(s, l.acked); err == nil {
		t.Fatal("a lost record went unnoticed")
	}
}

// forgetUnseen drops what a crash has taken back from the model.
func (l *ledger) forgetUnseen(t *testing.T, s *Store) {
	t.Helper()
	seq, err := s.Get(context.Background(), []byte("seq"))
	if err != nil && !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(string(seq))
	l.ops, l.acked = l.ops[:n], n
}
