package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/backup/dir"
	"github.com/skeinmesh/skein/backup/s3"
	"github.com/skeinmesh/skein/mesh/view"
)

// backupOptions are the flags of what reads and deletes backups.
type backupOptions struct {
	specs       []string // of tiers
	credentials string   // file
	identity    string   // file
	query       backup.Query
	buckets     []string
	keys        []string
	prefix      string
	verbose     bool
	putBack     bool
	plan        string // file
	progress    string // file
	signers     [][32]byte
	keep        map[string]backup.Keep
}

// tierFlags are those of all that uses tiers.
func tierFlags(s *session, fs *flag.FlagSet) {
	o := &s.backups
	fs.Func("tier", "`spec` of where backups are: dir:/path or s3:https://host/bucket/prefix?region=name; more than once for several, the nearest first; now, status: name of a tier of the node", func(spec string) error {
		o.specs = append(o.specs, spec)
		return nil
	})
	fs.StringVar(&o.credentials, "credentials", "", "`file` with aws_access_key_id and aws_secret_access_key, as Amazon's tools have it; none: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	fs.TextVar(&o.query.Mesh, "mesh-id", view.MeshID{}, "`id` of the mesh of which backups are meant, where there are those of several")
}

func identityFlag(s *session, fs *flag.FlagSet) {
	fs.StringVar(&s.backups.identity, "identity", "", "`file` with the identity that opens the backups, AGE-SECRET-KEY-1...")
}

// openTiers returns the tiers that -tier names, by what it calls them.
func openTiers(s *session) (out []backup.NamedTier, closeAll func(), err error) {
	var opened []*s3.Tier
	closeAll = func() {
		for _, t := range opened {
			_ = t.Close() // it only lets go of idle connections
		}
	}
	if len(s.backups.specs) == 0 {
		return nil, closeAll, usageError("no -tier")
	}
	for _, spec := range s.backups.specs {
		var tier backup.Tier
		kind, where, _ := strings.Cut(spec, ":")
		switch kind {
		case "dir":
			tier, err = dir.New(dir.Options{Dir: where})
		case "s3":
			keys, missing := loadCredentials(s)
			if missing != nil {
				closeAll()
				return nil, closeAll, missing
			}
			var remote *s3.Tier
			if remote, err = openS3(where, keys); err == nil {
				tier, opened = remote, append(opened, remote)
			}
		default:
			err = fmt.Errorf("%.20q is neither dir:/path nor s3:https://host/bucket", spec)
		}
		if err != nil {
			closeAll()
			return nil, closeAll, usageError(fmt.Sprintf("-tier: %v", err))
		}
		out = append(out, backup.NamedTier{Name: spec, Tier: tier})
	}
	return out, closeAll, nil
}

func openS3(where string, keys s3.Credentials) (*s3.Tier, error) {
	u, err := url.Parse(where)
	if err != nil || u.User != nil {
		return nil, errors.New("it is no URL, or has a password in it") // which is not to be shown
	}
	query := u.Query()
	region := cmp.Or(query.Get("region"), os.Getenv("AWS_REGION"))
	for name := range query {
		if name != "region" {
			return nil, fmt.Errorf("what stands behind the question mark is a region, not %.20q", name)
		}
	}
	bucket, prefix, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	return s3.New(s3.Options{
		Endpoint: u.Scheme + "://" + u.Host, Region: region, Bucket: bucket, Prefix: prefix,
		Credentials: func(context.Context) (s3.Credentials, error) { return keys, nil },
	})
}

// loadCredentials reads the file of -credentials, its section default if it has sections, or the
// environment.
func loadCredentials(s *session) (keys s3.Credentials, err error) {
	of := map[string]*string{"aws_access_key_id": &keys.AccessKey, "aws_secret_access_key": &keys.SecretKey, "aws_session_token": &keys.SessionToken}
	if s.backups.credentials == "" {
		for name, to := range of {
			*to = os.Getenv(strings.ToUpper(name))
		}
	} else {
		text, err := s.readPrivateFile(s.backups.credentials, "credentials")
		if err != nil {
			return keys, err
		}
		meant := true
		for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
			line := strings.TrimSpace(lines.Text())
			if strings.HasPrefix(line, "[") {
				meant = line == "[default]"
			}
			name, value, ok := strings.Cut(line, "=")
			if to := of[strings.ToLower(strings.TrimSpace(name))]; ok && meant && to != nil {
				*to = strings.TrimSpace(value)
			}
		}
	}
	if keys.AccessKey == "" || keys.SecretKey == "" {
		return keys, errors.New("no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name their file with -credentials")
	}
	return keys, nil
}

// loadIdentities reads the file of -identity.
func loadIdentities(s *session) ([]string, error) {
	if s.backups.identity == "" {
		return nil, nil
	}
	text, err := s.readPrivateFile(s.backups.identity, "identity")
	if err != nil {
		return nil, err
	}
	return []string{text}, nil
}

// timeLayouts are how times are given.
var timeLayouts = [...]string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"}

// parseMoment returns what sets a time by a flag.
func parseMoment(to *time.Time) func(string) error {
	return func(text string) error {
		for _, layout := range timeLayouts {
			if t, err := time.Parse(layout, text); err == nil {
				*to = t
				return nil
			}
		}
		return errors.New(`a time is as 2006-01-02T15:04:05Z, "2006-01-02 15:04" or 2006-01-02, in UTC unless it says otherwise`)
	}
}
