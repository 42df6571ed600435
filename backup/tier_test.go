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
