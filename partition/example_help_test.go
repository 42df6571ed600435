package partition_test

import (
	"log"
	"os"
)

func tempDir() (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "skein")
	if err != nil {
		log.Fatal(err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }
}
