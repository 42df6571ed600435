// Package s3 is a tier of backups in a bucket of S3, or of a service that speaks its protocol.
//
// Who may only put (s3:PutObject) can use it for Put: an object is one request, before which
// nothing is asked. The request carries the MD5 and the SHA-256 of the object, so that a service
// that follows the protocol refuses what came changed or cut short. It keeps the SHA-256 beside the
// object, and Get refuses bytes that are others. A service that says yes and keeps something else
// is found out by Get only.
//
// Each request is signed with the time, and services refuse one that is a quarter of an hour off.
// A refusal carries the right time: it is used from then on, and the request is made again. Before
// that, over TLS, the certificate of the service must be valid by this machine's time: where a
// clock may be years off, give Options.Now.
package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/s3utils"
)

const (
	defaultRegion  = "us-east-1"
	defaultTimeout = 5 * time.Minute
)

// ErrOptions says that the Options have faults; the error lists all of them.
var ErrOptions = errors.New("backup/s3: bad options")

// Credentials say who asks. The zero value is nobody, and asks without a signature.
type Credentials struct {
	AccessKey, SecretKey string
	// SessionToken is that of credentials for a while; empty if these are for good.
	SessionToken string
}

// Options sets up a Tier. Endpoint, Bucket and Credentials are required.
type Options struct {
	// Endpoint is the address of the service, "https://s3.eu-central-1.amazonaws.com" say. With
	// http the objects are sealed and signed all the same, and their names are in the clear.
	Endpoint string
	// Region is part of what is signed. Empty: us-east-1, which most other services call theirs.
	Region string
	Bucket string
	// Prefix is put before all names, with a slash behind it; none at its ends. Empty: none.
	Prefix string
	// Credentials is asked at each request, so those that end can be renewed.
	Credentials func(ctx context.Context) (Credentials, error)
	// PathStyle has the bucket in the path of URLs always. Otherwise it is in the name of the host
	// with the services that are known to want this, Amazon's and Google's among them.
	PathStyle bool

	// RootCAs are the authorities that are trusted. Nil: those of the system.
	RootCAs *x509.CertPool
	// DialContext opens connections. Nil: that of package net, with 10 s at most.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Transport makes the requests, which come signed. Nil: one of this Tier's own, without a
	// proxy. With one RootCAs and DialContext are to be nil.
	Transport http.RoundTripper
	// Timeout is for how long a call may take, and each page of a List. 0: 5 minutes.
	Timeout time.Duration
	// Now tells the time. Nil: time.Now.
	Now func() time.Time
}

// Fixed returns credentials that never change, for Options.Credentials.
func Fixed(accessKey, secretKey string) func(context.Context) (Credentials, error) {
	return func(context.Context) (Credentials, error) {
		return Credentials{AccessKey: accessKey, SecretKey: secretKey}, nil
	}
}

// Validate reports every fault of the Options at once; errors.Is finds ErrOptions.
func (o Options) Validate() error {
	var faults []error
	u, err := url.Parse(o.Endpoint)
	if err != nil {
		faults = append(faults, errors.New("the Endpoint is no URL")) // which may have a password in it
	} else if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" {
		faults = append(faults, fmt.Errorf("the Endpoint %q is not http:// or https://, a host and no more", u.Redacted()))
	}
	if err := s3utils.CheckValidBucketName(o.Bucket); err != nil {
		faults = append(faults, fmt.Errorf("the Bucket %q: %w", o.Bucket, err))
	}
	if o.Prefix != "" && (!fs.ValidPath(o.Prefix) || o.Prefix == "." || strings.ContainsFunc(o.Prefix, func(r rune) bool { return r <= ' ' || r > '~' })) {
		faults = append(faults, fmt.Errorf("the Prefix %q is not parts of visible ASCII with slashes between them", o.Prefix))
	}
	if o.Credentials == nil {
		faults = append(faults, errors.New("no Credentials"))
	}
	if o.Transport != nil && (o.RootCAs != nil || o.DialContext != nil) {
		faults = append(faults, errors.New("RootCAs or DialContext beside a Transport"))
	}
	if o.Timeout < 0 {
		faults = append(faults, fmt.Errorf("a Timeout of %v is below 0", o.Timeout))
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrOptions, errors.Join(faults...))
}

// withDefaults returns valid Options without zeros.
func (o Options) withDefaults() Options {
	if o.Region == "" {
		o.Region = defaultRegion
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.DialContext == nil {
		o.DialContext = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	if o.Transport == nil {
		o.Transport = &http.Transport{
			DialContext:           o.DialContext,
			TLSClientConfig:       &tls.Config{RootCAs: o.RootCAs, Time: o.Now},
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: time.Minute,
			IdleConnTimeout:       time.Minute,
			MaxIdleConnsPerHost:   4,
			DisableCompression:    true,
		}
	}
	return o
}
