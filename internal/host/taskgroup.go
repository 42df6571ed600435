package host

import (
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// maxTasks bounds how many processes are looked at.
const maxTasks = 1 << 16

// GroupUse is what the processes of one process group use together.
type GroupUse struct {
	Processes int
	// CPU is the processor time of those that live, and of their children that have ended and
	// were waited for.
	CPU time.Duration
	// Memory is what is resident, in bytes; what several share counts for each.
	Memory uint64
}

// ReadGroupUse returns what the processes of a process group use. The kernel counts processor
// time in ticks of a hundredth of a second. A process that ends meanwhile is left out.
func ReadGroupUse(root fs.FS, group, pageSize int) (use GroupUse, err error) {
	entries, err := fs.ReadDir(root, "proc")
	if err != nil {
		return use, err
	}
	r := &Reader{root: root}
	for _, e := range entries[:min(len(entries), maxTasks)] {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		text, err := r.readFile("proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		t, err := parseTask(text)
		if err != nil {
			return use, err
		}
		if t.group == group {
			use.Processes++
			use.CPU += time.Duration(t.ticks) * (time.Second / 100)
			use.Memory += mulDiv(t.pages, uint64(max(pageSize, 0)), 1)
		}
	}
	return use, nil
}

type task struct {
	group        int
	ticks, pages uint64
}

// parseTask reads a line of /proc/PID/stat. The name in it may hold spaces and parentheses.
func parseTask(text string) (t task, err error) {
	end := strings.LastIndexByte(text, ')')
	f := strings.Fields(text[end+1:]) // from the state on, which is field 3 of proc_pid_stat(5)
	if end < 0 || len(f) < 22 {
		return t, errMalformed
	}
	if t.group, err = strconv.Atoi(f[2]); err != nil {
		return t, errMalformed
	}
	for _, at := range [...]int{11, 12, 13, 14} {
		n, err := strconv.ParseUint(f[at], 10, 40)
		if err != nil {
			return t, errMalformed
		}
		t.ticks += n
	}
	if t.pages, err = strconv.ParseUint(f[21], 10, 64); err != nil {
		return t, errMalformed
	}
	return t, nil
}
