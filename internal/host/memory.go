package host

import "fmt"

// memoryFiles are the names of a version of control groups.
type memoryFiles struct {
	limits      []string
	usage       string
	reclaimable string // key in memory.stat
}

var (
	// Above memory.high the kernel slows a group down until it gives memory
	// back: nothing to plan with.
	memoryV2 = memoryFiles{[]string{"memory.max", "memory.high"}, "memory.current", "inactive_file"}
	memoryV1 = memoryFiles{[]string{"memory.limit_in_bytes"}, "memory.usage_in_bytes", "total_inactive_file"}
)

func (r *Reader) readMemory(f *Figures, own groups) error {
	text, err := r.readFile("proc/meminfo")
	if err != nil {
		return err
	}
	total, available, err := parseMeminfo(text)
	if err != nil {
		return fmt.Errorf("proc/meminfo: %w", err)
	}
	whole, free, known := total, available, true
	if h, ok := own.hierarchyOf("memory"); ok {
		for _, group := range h.levels() {
			limit, left, err := r.readGroupMemory(h, group, total)
			if err != nil {
				return fmt.Errorf("group %s: %w", group, err)
			}
			// A limit above what there is limits nothing. That is how version 1
			// writes "none": a number that depends on the size of pages.
			if limit >= total {
				continue
			}
			whole = min(whole, limit)
			n, ok := left.Get()
			free, known = min(free, n), known && ok
		}
	}
	f.Memory = Known(whole)
	if known {
		f.FreeMemory = Known(min(free, whole))
	}
	return nil
}

// readGroupMemory returns the tightest limit of one group, or none, and what is left of
// it. Cache that the kernel will take back first does not count as used.
func (r *Reader) readGroupMemory(h hierarchy, group string, none uint64) (limit uint64, left Value[uint64], err error) {
	files := memoryV1
	if h.unified {
		files = memoryV2
	}
	limit = none
	for _, name := range files.limits {
		text, err := r.readOptional(h.filePath(group, name))
		if err != nil {
			return 0, left, err
		}
		l, limited, err := parseLimit(text)
		if err != nil {
			return 0, left, fmt.Errorf("%s: %w", name, err)
		}
		if limited {
			limit = min(limit, l)
		}
	}
	if limit >= none {
		return none, left, nil
	}
	usage, err := r.readNumber(h.filePath(group, files.usage), "")
	if err != nil {
		return 0, left, err
	}
	reclaimable, err := r.readNumber(h.filePath(group, "memory.stat"), files.reclaimable)
	if err != nil {
		return 0, left, err
	}
	used, known := usage.Get()
	cache, _ := reclaimable.Get()
	if known {
		used -= min(used, cache)
		left = Known(limit - min(limit, used))
	}
	return limit, left, nil
}

// readNumber reads a number from a file, behind a key if there is one; unknown if
// there is no file or no such key.
func (r *Reader) readNumber(name, key string) (Value[uint64], error) {
	text, err := r.readOptional(name)
	if err != nil || text == "" {
		return Value[uint64]{}, err
	}
	n, err := parseKeyed(text, key)
	if err != nil {
		return n, fmt.Errorf("%s: %w", name, err)
	}
	return n, nil
}
