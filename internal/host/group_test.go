package host

import (
	"slices"
	"testing"
)

func TestLevels(t *testing.T) {
	for _, c := range []struct {
		name, cgroup, mountinfo string
		controller              string
		want                    []string // files named "f" of each level; nil: not limited
	}{
		{"no groups", "", "", "cpu", nil},
		{"not mounted", "0::/a", "", "cpu", nil},
		{
			"whole tree", "0::/a/b", "1 2 0:3 / /cg rw - cgroup2 cgroup2 rw", "cpu",
			[]string{"cg/a/b/f", "cg/a/f", "cg/f"},
		},
		{"own namespace", "0::/", "1 2 0:3 / /cg rw - cgroup2 cgroup2 rw", "cpu", []string{"cg/f"}},
		{"outside the namespace", "0::/../../x", "1 2 0:3 /../.. /cg rw - cgroup2 cgroup2 rw", "cpu", []string{"cg/x/f", "cg/f"}},
		{"bind mount", "0::/a/b/c", "1 2 0:3 /a/b /cg rw - cgroup2 cgroup2 rw", "cpu", []string{"cg/c/f", "cg/f"}},
		{"bind mount of another", "0::/ab", "1 2 0:3 /a /cg rw - cgroup2 cgroup2 rw", "cpu", []string{"cg/f"}},
		{
			"version 1 first", "3:cpu,cpuacct:/x\n0::/y",
			"1 2 0:3 / /one rw shared:1 master:2 - cgroup cgroup rw,cpuacct,cpu\n1 2 0:3 / /two rw - cgroup2 cgroup2 rw", "cpu",
			[]string{"one/x/f", "one/f"},
		},
		{
			"version 2 for the rest", "3:cpu,cpuacct:/x\n0::/y",
			"1 2 0:3 / /one rw - cgroup cgroup rw,cpu,cpuacct\n1 2 0:3 / /two rw - cgroup2 cgroup2 rw", "memory",
			[]string{"two/y/f", "two/f"},
		},
		{"not mounted in version 1", "3:cpu:/x\n0::/y", "1 2 0:3 / /two rw - cgroup2 cgroup2 rw", "cpu", nil},
		{"colons", "1:cpu:/a:b", "1 2 0:3 / /cg rw - cgroup cgroup rw,cpu", "cpu", []string{"cg/a:b/f", "cg/f"}},
		{"short lines", "0::/", "1 2 0:3 / - cgroup2\n\n - \n1 2 0:3 / /cg rw - cgroup2 cgroup2 rw", "cpu", []string{"cg/f"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			own, err := parseGroups(c.cgroup)
			if err != nil {
				t.Fatal(err)
			}
			own.fillMounts(c.mountinfo)
			var got []string
			if h, ok := own.hierarchyOf(c.controller); ok {
				for _, group := range h.levels() {
					got = append(got, h.filePath(group, "f"))
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
