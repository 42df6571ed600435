package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/skeinmesh/skein/backup"
)

// attempts is how often a request is made that the service fails to answer, or asks to make again;
// half a second passes in between. Whoever calls tries again much later.
const attempts = 3

// Tier is a backup.Tier.
type Tier struct {
	opts   Options
	prefix string // of all names, with its slash
	core   *minio.Core
	signer *signer
}

var _ backup.Tier = (*Tier)(nil)

// New returns the tier of a bucket. It asks nothing of the service. The error is ErrOptions.
func New(o Options) (*Tier, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	t := &Tier{opts: o, signer: &signer{credentials: o.Credentials, region: o.Region, now: o.Now, next: o.Transport}}
	if o.Prefix != "" {
		t.prefix = o.Prefix + "/"
	}
	u, err := url.Parse(o.Endpoint)
	if err != nil {
		return nil, errors.Join(ErrOptions, err)
	}
	lookup := minio.BucketLookupAuto
	if o.PathStyle {
		lookup = minio.BucketLookupPath
	}
	t.core, err = minio.NewCore(u.Host, &minio.Options{
		Creds:  credentials.NewStatic("", "", "", credentials.SignatureAnonymous),
		Secure: u.Scheme == "https", Transport: t.signer, Region: o.Region, BucketLookup: lookup, MaxRetries: attempts,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return t, nil
}

// Close closes the connections that are open and not in use. It is the last call.
func (t *Tier) Close() error {
	if own, ok := t.opts.Transport.(*http.Transport); ok {
		own.CloseIdleConnections()
	}
	return nil
}

// attempt makes a request within the timeout, and again when the service's time became known by it.
func (t *Tier) attempt(ctx context.Context, what, name string, request func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, t.opts.Timeout)
	defer cancel()
	ahead := t.signer.ahead.Load()
	err := request(ctx)
	if err != nil && ctx.Err() == nil && t.signer.ahead.Load() != ahead {
		err = request(ctx)
	}
	if err == nil {
		return nil
	}
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		err = errors.Join(ended, err)
	}
	return fmt.Errorf("%s %s in bucket %s: %w", what, t.prefix+name, t.opts.Bucket, nameCause(err))
}

// nameCause adds the error of package backup that an answer stands for.
func nameCause(err error) error {
	var r minio.ErrorResponse
	if !errors.As(err, &r) {
		return err
	}
	err = fmt.Errorf("%s, status %d: %w", r.Code, r.StatusCode, err)
	switch {
	case r.Code == minio.NoSuchKey:
		return errors.Join(backup.ErrNoObject, err)
	case r.StatusCode == http.StatusInsufficientStorage, strings.Contains(r.Code, "Quota"), strings.Contains(r.Code, "StorageFull"):
		return errors.Join(backup.ErrTierFull, err)
	case r.StatusCode == http.StatusForbidden && r.Code != minio.RequestTimeTooSkewed, r.StatusCode == http.StatusUnauthorized:
		return errors.Join(backup.ErrDenied, err)
	}
	return err
}

// Put keeps an object, by one request; see backup.Tier.
func (t *Tier) Put(ctx context.Context, name string, data []byte) error {
	if err := backup.CheckName(name); err != nil {
		return fmt.Errorf("put %.100q: %w", name, err)
	}
	if len(data) > backup.MaxObject {
		return fmt.Errorf("put %s: %d bytes are more than the %d of an object", name, len(data), backup.MaxObject)
	}
	sum := md5.Sum(data)
	opts := minio.PutObjectOptions{UserMetadata: map[string]string{sumKey: hexSum(data)}}
	return t.attempt(ctx, "put", name, func(ctx context.Context) error {
		_, err := t.core.PutObject(ctx, t.opts.Bucket, t.prefix+name, bytes.NewReader(data), int64(len(data)),
			base64.StdEncoding.EncodeToString(sum[:]), "", opts)
		return err
	})
}

// Get returns an object; see backup.Tier. Bytes that are not those that Put gave are an error.
func (t *Tier) Get(ctx context.Context, name string, most int) (data []byte, err error) {
	if err := backup.CheckName(name); err != nil {
		return nil, fmt.Errorf("get %.100q: %w", name, err)
	}
	err = t.attempt(ctx, "get", name, func(ctx context.Context) error {
		body, info, _, err := t.core.GetObject(ctx, t.opts.Bucket, t.prefix+name, minio.GetObjectOptions{})
		if err != nil {
			return err
		}
		defer body.Close()
		if info.Size > int64(most) {
			return fmt.Errorf("%d bytes are more than %d", info.Size, most)
		}
		data, err = readBody(body, int64(most))
		if sum := info.UserMetadata[sumKey]; err == nil && sum != "" && sum != hexSum(data) {
			err = fmt.Errorf("it has %d bytes of another SHA-256 than %s", len(data), sum)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// readBody also reads one of which the length was not told.
func readBody(body io.Reader, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("it has more than %d bytes", most)
	}
	return data, err
}

// Stat tells of an object; see backup.Tier. Its time is that of the service.
func (t *Tier) Stat(ctx context.Context, name string) (o backup.Object, err error) {
	if err := backup.CheckName(name); err != nil {
		return o, fmt.Errorf("stat %.100q: %w", name, err)
	}
	err = t.attempt(ctx, "stat", name, func(ctx context.Context) error {
		info, err := t.core.StatObject(ctx, t.opts.Bucket, t.prefix+name, minio.StatObjectOptions{})
		if err == nil {
			o = backup.Object{Name: name, Size: info.Size, Time: info.LastModified}
		}
		return err
	})
	return o, err
}

// Delete has an object gone; see backup.Tier. In a bucket with versions the older ones stay.
func (t *Tier) Delete(ctx context.Context, name string) error {
	if err := backup.CheckName(name); err != nil {
		return fmt.Errorf("delete %.100q: %w", name, err)
	}
	err := t.attempt(ctx, "delete", name, func(ctx context.Context) error {
		return t.core.RemoveObject(ctx, t.opts.Bucket, t.prefix+name, minio.RemoveObjectOptions{})
	})
	if errors.Is(err, backup.ErrNoObject) {
		return nil // as some services say
	}
	return err
}

// List tells of the objects of a prefix; see backup.Tier. What has a name that no object can have
// is left out.
func (t *Tier) List(ctx context.Context, prefix string) iter.Seq2[backup.Object, error] {
	return func(yield func(backup.Object, error) bool) {
		last := ""
		for page, err := range t.listPages(ctx, prefix) {
			if err != nil {
				yield(backup.Object{}, err)
				return
			}
			for _, info := range page {
				o := backup.Object{Name: strings.TrimPrefix(info.Key, t.prefix), Size: info.Size, Time: info.LastModified}
				if backup.CheckName(o.Name) != nil {
					continue
				}
				if !strings.HasPrefix(info.Key, t.prefix+prefix) || o.Name <= last {
					yield(backup.Object{}, fmt.Errorf("list %s in bucket %s: %s after %q", t.prefix+prefix, t.opts.Bucket, info.Key, last))
					return
				}
				last = o.Name
				if !yield(o, nil) {
					return
				}
			}
		}
	}
}

// listPages lists by pages, each within the timeout and from the last name of the one before.
func (t *Tier) listPages(ctx context.Context, prefix string) iter.Seq2[[]minio.ObjectInfo, error] {
	const size = 1000
	return func(yield func([]minio.ObjectInfo, error) bool) {
		opts := minio.ListObjectsOptions{Prefix: t.prefix + prefix, Recursive: true, MaxKeys: size, FetchOwner: new(bool)}
		for more := backup.BeginsNames(prefix); more; {
			var page []minio.ObjectInfo
			err := t.attempt(ctx, "list", prefix, func(ctx context.Context) error {
				page = nil
				for info := range t.core.ListObjectsIter(ctx, t.opts.Bucket, opts) {
					if info.Err != nil {
						return info.Err
					}
					if page = append(page, info); len(page) == size {
						break
					}
				}
				return ctx.Err()
			})
			if more = yield(page, err) && err == nil && len(page) == size; more {
				opts.StartAfter = page[size-1].Key
			}
		}
	}
}
