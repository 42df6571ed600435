// Package host reads how much processing power, memory and storage this
// process may use, how much of it is free, and what the machine runs on.
//
// On Linux it reads the kernel's files through an [fs.FS], so that tests run
// on recorded trees. Limits of control groups count, those of every group
// above the process too: in a container the machine's own figures promise what
// the kernel will not give. Elsewhere there are no such files, and what comes
// from them is unknown.
package host

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
)

// maxFile bounds what is read of one file.
const maxFile = 1 << 20

// Value is a figure, or that it is not known; the zero Value is not.
type Value[T any] struct {
	v     T
	known bool
}

// Known returns the Value of a known figure.
func Known[T any](v T) Value[T] { return Value[T]{v, true} }

// Get returns the figure, and whether it is known; if not, it is zero.
func (v Value[T]) Get() (T, bool) { return v.v, v.known }

// Figures are what a Reader has read. The zero value knows nothing. Where both
// are known, what is free is never more than the whole.
type Figures struct {
	// CPU is processing power in thousandths of a core, as far as the CPUs that
	// the process may run on and the tightest quota reach. FreeCPU is the part
	// of it that was idle between the last reading and this one.
	CPU, FreeCPU Value[uint64]
	// Memory is in bytes, up to the tightest limit. Of FreeMemory the kernel
	// may still have to drop caches.
	Memory, FreeMemory Value[uint64]
	// Storage is the size in bytes of the file system that holds the data
	// directory; FreeStorage is what users other than root may still fill.
	Storage, FreeStorage Value[uint64]
	// Mains tells whether the machine is powered from outside. Where nothing
	// reports that, it is unknown; see OnMains.
	Mains Value[bool]
	// Battery is the charge of the machine's batteries in percent, their mean.
	Battery Value[int]
	// Uptime is how long the machine has been up: the host's, in a container.
	Uptime Value[time.Duration]
}

// OnMains tells whether the machine counts as powered from outside: it does
// unless it is known not to be, for most machines that report nothing have no
// battery.
func (f Figures) OnMains() bool {
	mains, known := f.Mains.Get()
	return mains || !known
}

// Statfs tells the size of a file system and what is free for users other than
// root, in bytes.
type Statfs func(dir string) (total, free uint64, err error)

// Reader reads figures and remembers the CPU times of its last reading. It is
// not safe for concurrent use.
type Reader struct {
	root    fs.FS
	dataDir string
	statfs  Statfs
	last    cpuReading
}

// New returns a reader that finds proc and sys in root, which is
// os.DirFS("/") for this machine, and asks statfs, which is [Disk] for this
// machine, about the data directory.
func New(root fs.FS, dataDir string, statfs Statfs) *Reader {
	return &Reader{root: root, dataDir: dataDir, statfs: statfs}
}

// Read reads all figures. The time now is that of a clock which never goes
// back. The first reading cannot tell FreeCPU, nor can one that is not later
// than the last; the kernel counts CPU time in ticks of about 10 ms, so leave
// seconds between readings. What cannot be read is unknown, and the error says why, all
// reasons joined; the other figures are good even so.
func (r *Reader) Read(now time.Duration) (Figures, error) {
	var f Figures
	var errs []error
	note := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("host: %s: %w", what, err))
		}
	}
	own, err := r.readGroups()
	note("control groups", err)
	if err == nil { // without the limits the amounts would be guesses
		note("cpu", r.readCPU(&f, now, own))
		note("memory", r.readMemory(&f, own))
	}
	note("storage", r.readStorage(&f))
	note("power", r.readPower(&f))
	note("uptime", r.readUptime(&f))
	return f, errors.Join(errs...)
}

func (r *Reader) readStorage(f *Figures) error {
	total, free, err := r.statfs(r.dataDir)
	if err != nil {
		return err
	}
	f.Storage, f.FreeStorage = Known(total), Known(min(free, total))
	return nil
}

func (r *Reader) readUptime(f *Figures) error {
	text, err := r.readFile("proc/uptime")
	if err != nil {
		return err
	}
	up, err := parseUptime(text)
	if err == nil {
		f.Uptime = Known(up)
	}
	return err
}

// readFile returns the content of a file of the tree.
func (r *Reader) readFile(name string) (string, error) {
	file, err := r.root.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	return strings.TrimSpace(string(text)), nil
}

// readOptional is read for files that a kernel may well not have: these are empty.
func (r *Reader) readOptional(name string) (string, error) {
	text, err := r.readFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return text, err
}
