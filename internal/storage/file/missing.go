package file

import (
	"errors"
	"io/fs"
)

// ignoreMissing is for removing what may not have been created.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
