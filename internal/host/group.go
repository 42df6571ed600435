package host

import (
	"errors"
	"path"
	"slices"
	"strings"
)

// maxGroup bounds the path of a control group: PATH_MAX.
const maxGroup = 4096

var errMalformed = errors.New("malformed")

// hierarchy is a tree of control groups, seen through one of its mounts.
type hierarchy struct {
	unified bool   // version 2
	mount   string // where the group root is seen
	root    string // a container may see only the groups from here on
	group   string // of this process
}

// levels returns the group of the process and those above it, as far as they
// can be seen.
func (h hierarchy) levels() []string {
	if !isInside(h.group, h.root) {
		return []string{h.root}
	}
	levels := []string{h.group}
	for g := h.group; g != h.root && g != "/"; {
		g = path.Dir(g)
		levels = append(levels, g)
	}
	return levels
}

// filePath returns the path, in an fs.FS, of a file of a group inside root.
func (h hierarchy) filePath(group, name string) string {
	return strings.TrimPrefix(path.Join("/", h.mount, strings.TrimPrefix(group, h.root), name), "/")
}

// isInside tells whether a group is another one or below it.
func isInside(group, root string) bool {
	return root == "/" || group == root || strings.HasPrefix(group, root+"/")
}

// groups are the hierarchies that limit this process, by controller; that of
// version 2 has the empty name.
type groups map[string]hierarchy

// hierarchyOf returns the hierarchy in which a controller works: a kernel runs each in
// one only, and one that no hierarchy of version 1 names is with version 2.
func (own groups) hierarchyOf(controller string) (hierarchy, bool) {
	if h, ok := own[controller]; ok {
		return h, h.mount != ""
	}
	h := own[""]
	return h, h.mount != ""
}

func (r *Reader) readGroups() (groups, error) {
	text, err := r.readOptional("proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	own, err := parseGroups(text)
	if err != nil || len(own) == 0 {
		return nil, err
	}
	mounts, err := r.readOptional("proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	own.fillMounts(mounts)
	return own, nil
}

// parseGroups reads /proc/self/cgroup: a line is "4:cpu,cpuacct:/path", and
// that of version 2 is "0::/path" (cgroups(7)).
func parseGroups(text string) (groups, error) {
	own := groups{}
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 || len(fields[2]) > maxGroup {
			return nil, errMalformed
		}
		for controller := range strings.SplitSeq(fields[1], ",") {
			// Outside its namespace the kernel writes /../.. for a group.
			own[controller] = hierarchy{unified: controller == "", group: path.Clean("/" + fields[2])}
		}
	}
	return own, nil
}

// fillMounts fills in where each hierarchy is mounted, from /proc/self/mountinfo
// (proc_pid_mountinfo(5)). Of several mounts the first that shows the group of
// the process is taken, or else the first.
func (own groups) fillMounts(mountinfo string) {
	for line := range strings.Lines(mountinfo) {
		left, right, _ := strings.Cut(line, " - ")
		at, what := strings.Fields(left), strings.Fields(right)
		if len(at) < 6 || len(what) < 3 {
			continue
		}
		options := strings.Split(what[2], ",")
		for controller, h := range own {
			shown := what[0] == "cgroup2" && h.unified ||
				what[0] == "cgroup" && !h.unified && slices.Contains(options, controller)
			root := path.Clean("/" + at[3])
			if shown && (h.mount == "" || !isInside(h.group, h.root) && isInside(h.group, root)) {
				h.mount, h.root = at[4], root
				own[controller] = h
			}
		}
	}
}
