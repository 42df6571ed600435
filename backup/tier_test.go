package backup

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	long := strings.Repeat("a", 64)
	for _, good := range []string{"a", "0/a-b.c/d", long, "a/b/c/d", "a..b"} {
		if err := CheckName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "/", "a/", "/a", "a//b", ".", "..", "a/../b", ".a", "a/.b", "A", "a b", "a\x00", long + "a", "a/b/c/d/e", "ä", `a\b`} {
		if err := CheckName(bad); !errors.Is(err, ErrBadName) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestBeginsNames(t *testing.T) {
	for prefix, want := range map[string]bool{"": true, "a": true, "a/": true, "a/b.": true, "/": false, "a//": false, ".": false, "a/.": false, "A": false, "a/b/c/d": true, "a/b/c/d/e": false} {
		if got := BeginsNames(prefix); got != want {
			t.Errorf("%q: %v", prefix, got)
		}
	}
}
