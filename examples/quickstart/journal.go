package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"github.com/skeinmesh/skein/replica/version"
)

// entry is what the writer knows of one of its writes, and the only thing the
// audit believes.
type entry struct {
	Key     string        `json:"key"`
	Delete  bool          `json:"delete,omitempty"`
	Write   uint64        `json:"write"`             // unique, and part of every value
	Unknown bool          `json:"unknown,omitempty"` // no answer came: it may have taken effect or not
	By      string        `json:"by,omitempty"`      // the node that was asked
	Slow    bool          `json:"slow,omitempty"`    // the answer took so long that a second node may have been asked
	Dot     version.Dot   `json:"dot"`               // the write's id, as acknowledged
	Covered []version.Dot `json:"covered,omitempty"` // the writes it replaced
}

// journal is the writer's own record of acknowledgements, independent of the
// mesh: a write counts as acknowledged once its entry is synced here. Entries
// that come in while a sync runs share the next one.
type journal struct {
	file *os.File
	work chan line
	done chan struct{}

	mu    sync.Mutex
	acked int
	err   error
}

type line struct {
	entry  entry
	synced chan error
}

func createJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create the writer's journal: %w", err)
	}
	j := &journal{file: f, work: make(chan line, 256), done: make(chan struct{})}
	go j.syncGroups()
	return j, nil
}

// addEntry returns when the entry is on disk.
func (j *journal) addEntry(e entry) error {
	synced := make(chan error, 1)
	j.work <- line{e, synced}
	return <-synced
}

// closeFile syncs what was added. Nothing may be added after it.
func (j *journal) closeFile() error {
	close(j.work)
	<-j.done
	if err := j.file.Close(); err != nil && j.err == nil {
		j.err = err
	}
	return j.err
}

// countAcked returns how many acknowledged writes are on disk.
func (j *journal) countAcked() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.acked
}

func (j *journal) syncGroups() {
	defer close(j.done)
	out := bufio.NewWriter(j.file)
	enc := json.NewEncoder(out)
	for first := range j.work {
		group := []line{first}
		for more := true; more; {
			select {
			case l, open := <-j.work:
				if more = open; open {
					group = append(group, l)
				}
			default:
				more = false
			}
		}
		j.writeGroup(enc, out, group)
	}
}

func (j *journal) writeGroup(enc *json.Encoder, out *bufio.Writer, group []line) {
	err := j.err // after a failed sync nothing more is believed
	acked := 0
	for _, l := range group {
		if err == nil {
			err = enc.Encode(l.entry)
		}
		if !l.entry.Unknown {
			acked++
		}
	}
	if err == nil {
		err = out.Flush()
	}
	if err == nil {
		err = j.file.Sync()
	}
	j.mu.Lock()
	if j.err = err; err == nil {
		j.acked += acked
	}
	j.mu.Unlock()
	for _, l := range group {
		l.synced <- err
	}
}

// readJournal reads back what was synced, in order.
func readJournal(path string) ([]entry, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the writer's journal: %w", err)
	}
	defer f.Close()
	var entries []entry
	dec := json.NewDecoder(bufio.NewReader(f))
	for dec.More() {
		var e entry
		if err := dec.Decode(&e); err != nil {
			return nil, fmt.Errorf("read the writer's journal, entry %d: %w", len(entries)+1, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}
