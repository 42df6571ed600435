package main

import (
	"path/filepath"
	"sync"
	"testing"
)

func TestJournalReadsBackWhatWasAdded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j, err := createJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range uint64(100) {
		wg.Go(func() {
			if err := j.addEntry(entry{Key: "k", Write: i, Unknown: i%10 == 0}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := j.countAcked(); n != 90 {
		t.Errorf("%d acknowledged, want 90 of 100: an open outcome is no acknowledgement", n)
	}
	if err := j.closeFile(); err != nil {
		t.Fatal(err)
	}
	entries, err := readJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[uint64]bool)
	for _, e := range entries {
		seen[e.Write] = true
	}
	if len(entries) != 100 || len(seen) != 100 {
		t.Errorf("%d entries of %d writes came back, want 100 each", len(entries), len(seen))
	}
	if _, err := createJournal(path); err == nil {
		t.Error("an old journal was overwritten")
	}
}
