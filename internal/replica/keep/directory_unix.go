//go:build unix

package keep

import (
	"fmt"
	"os"
	"syscall"
)

// directoryID tells a directory from a copy of it.
func directoryID(dir string) string {
	info, err := os.Stat(dir)
	if err != nil {
		return ""
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d/%d", st.Dev, st.Ino)
}
