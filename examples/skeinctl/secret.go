package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"

	"github.com/skeinmesh/skein/mesh/identity"
)

// maxPrivateFile is how much is read of a file with a secret.
const maxPrivateFile = 64 << 10

// runInit is the command init.
func (s *session) runInit() error {
	secret := identity.FormatSecret(identity.NewSecret())
	told := struct {
		Secret string `json:"secret,omitempty"`
		File   string `json:"file,omitempty"`
	}{secret, s.secretFile}
	if s.secretFile != "" {
		if err := writeSecret(s.secretFile, secret); err != nil {
			return err
		}
		told.Secret = ""
	}
	switch {
	case s.json:
		return s.printJSON(told)
	case s.secretFile != "":
		_, err := fmt.Fprintf(s.out, "wrote the secret of a new mesh to %s; keep it like a private key\n", cleanLine(s.secretFile))
		return err
	}
	_, err := fmt.Fprintln(s.out, secret)
	return err
}

// writeSecret writes a file that nobody else may read, and none that is there.
func writeSecret(path, secret string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already and stays as it is: the secret of a mesh cannot be replaced", path)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(secret + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func (s *session) loadSecret() ([]byte, error) {
	text, err := s.readPrivateFile(s.secretFile, "mesh secret")
	if err != nil {
		return nil, err
	}
	secret, err := identity.ParseSecret(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.secretFile, err)
	}
	return secret, nil
}

// readPrivateFile reads a file that nobody else should be able to read.
func (s *session) readPrivateFile(path, what string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the %s: %w", what, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		s.printWarning("others may read %s; chmod 600 it", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPrivateFile))
	if err != nil {
		return "", fmt.Errorf("read the %s: %w", what, err)
	}
	return string(text), nil
}
