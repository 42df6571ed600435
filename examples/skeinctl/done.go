package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/skeinmesh/skein/mesh/view"
)

// doneFile remembers slices that were brought to a mesh: a line for each. Without a file it
// remembers nothing.
type doneFile struct {
	mesh view.MeshID
	all  map[string]bool
	file *os.File
	err  error // of the first write that failed
}

func openDone(name string, into view.MeshID) (*doneFile, error) {
	d := &doneFile{mesh: into, all: make(map[string]bool)}
	if name == "" {
		return d, nil
	}
	var err error
	if d.file, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(d.file)
	for lines.Scan() {
		d.all[lines.Text()] = true
	}
	if err := lines.Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("progress %s: %w", name, err), d.file.Close())
	}
	return d, nil
}

func (d *doneFile) closeFile() {
	if d.file != nil {
		_ = d.file.Close() // what is lost of it is brought again
	}
}

// formatLine stands for a slice in a mesh.
func (d *doneFile) formatLine(hash [32]byte) string {
	sum := sha256.Sum256(append(d.mesh[:], hash[:]...))
	return hex.EncodeToString(sum[:])
}

// IsDone tells whether a slice was brought.
func (d *doneFile) IsDone(hash [32]byte) bool { return d.all[d.formatLine(hash)] }

// MarkDone notes that it is. The line break comes first: one may be cut off before it.
func (d *doneFile) MarkDone(hash [32]byte) {
	if d.file == nil || d.err != nil {
		return
	}
	_, d.err = d.file.WriteString("\n" + d.formatLine(hash) + "\n")
}
