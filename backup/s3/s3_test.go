package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	theirs "github.com/minio/minio-go/v7/pkg/signer"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/backup/tiertest"
)

const secret = "the-secret-key"

// newService returns a service in memory with an empty bucket, and what answers before it.
func newService(t *testing.T, before func(w http.ResponseWriter, r *http.Request, service http.Handler), opts ...gofakes3.Option) *httptest.Server {
	backend := s3mem.New()
	if err := backend.CreateBucket("backups"); err != nil {
		t.Fatal(err)
	}
	service := gofakes3.New(backend, opts...).Server()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before == nil {
			service.ServeHTTP(w, r)
			return
		}
		before(w, r, service)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	return server
}

func newTier(t *testing.T, o Options) *Tier {
	t.Helper()
	if o.Bucket == "" {
		o.Bucket = "backups"
	}
	if o.Credentials == nil {
		o.Credentials = Fixed("the-access-key", secret)
	}
	tier, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tier.Close() })
	return tier
}

func TestTier(t *testing.T) {
	tiertest.Test(t, func(t *testing.T) backup.Tier { return newTier(t, Options{Endpoint: newService(t, nil).URL}) })
	place := newService(t, nil).URL
	tiertest.TestOpenedAnew(t, func(t *testing.T) backup.Tier {
		return newTier(t, Options{Endpoint: place, Prefix: "some/Where", PathStyle: true})
	})
}

func TestOptionsNameAllFaults(t *testing.T) {
	_, err := New(Options{Endpoint: "ftp://user:" + secret + "@host/x", Bucket: "B", Prefix: "/a", Timeout: -1,
		Transport: http.DefaultTransport, DialContext: http.DefaultTransport.(*http.Transport).DialContext})
	if !errors.Is(err, ErrOptions) || strings.Contains(err.Error(), secret) {
		t.Fatal(err)
	}
	for _, want := range []string{"Endpoint", "Bucket", "Prefix", "Credentials", "DialContext", "Timeout"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not speak of %s", err, want)
		}
	}
}

// A Put is one PUT, whatever its size, and nothing else: no right but s3:PutObject is needed.
func TestPutIsOneRequest(t *testing.T) {
	var asked []string
	server := newService(t, func(w http.ResponseWriter, r *http.Request, service http.Handler) {
		asked = append(asked, r.Method+" "+r.URL.RequestURI())
		if r.Method != http.MethodPut || r.URL.RawQuery != "" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if r.Header.Get("Content-Md5") == "" || len(r.Header.Get("X-Amz-Content-Sha256")) != 64 {
			t.Errorf("no sums: %v", r.Header)
		}
		service.ServeHTTP(w, r)
	})
	tier := newTier(t, Options{Endpoint: server.URL, Prefix: "p"})
	for _, size := range []int{0, 1, backup.MaxObject} {
		if err := tier.Put(t.Context(), "a/b", make([]byte, size)); err != nil {
			t.Error(err)
		}
	}
	if want := "PUT /backups/p/a/b"; len(asked) != 3 || asked[0] != want || asked[1] != want || asked[2] != want {
		t.Errorf("asked %q", asked)
	}
	_, err := tier.Get(t.Context(), "a/b", 10)
	_, statErr := tier.Stat(t.Context(), "a/b")
	for _, err := range []error{err, statErr, tier.Delete(t.Context(), "a/b")} {
		if !errors.Is(err, backup.ErrDenied) {
			t.Errorf("with the right to put: %v", err)
		}
	}
}

// Our signature is the one of the client library, for all kinds of requests.
func TestSignatureIsThatOfOthers(t *testing.T) {
	for i, target := range []string{"http://host/b/a/b-c.d", "http://host:9000/b/?list-type=2&prefix=a%2Fb&continuation-token=a+b%2B%3D", "https://b.s3.amazonaws.com/x"} {
		for _, c := range []Credentials{{AccessKey: "k", SecretKey: "s"}, {AccessKey: "k", SecretKey: "s", SessionToken: "t"}} {
			req, err := http.NewRequest([]string{"PUT", "GET", "DELETE"}[i], target, nil)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				req.Header.Set(sumHeader, hexSum([]byte("x")))
				req.Header.Set("Content-Md5", "abc=")
			}
			other := req.Clone(t.Context())
			other.Header.Set("X-Amz-Content-Sha256", hexSum([]byte("x")[:1-min(i, 1)]))
			other = theirs.SignV4(*other, c.AccessKey, c.SecretKey, c.SessionToken, "r")
			at, err := time.Parse("20060102T150405Z", other.Header.Get("X-Amz-Date"))
			if err != nil {
				t.Fatal(err)
			}
			signRequest(req, c, "r", at)
			if got, want := req.Header.Get("Authorization"), other.Header.Get("Authorization"); got != want {
				t.Errorf("%s\n%s\nwant\n%s", target, got, want)
			}
		}
	}
}

type clockAt struct{ time.Time }

func (c clockAt) Now() time.Time                  { return c.Time }
func (c clockAt) Since(t time.Time) time.Duration { return c.Sub(t) }

// A clock in 1970 or 2106, or one that jumps, costs one request that is refused.
func TestClockIsWrong(t *testing.T) {
	here := time.Now()
	var requests atomic.Int32
	server := newService(t, func(w http.ResponseWriter, r *http.Request, service http.Handler) {
		requests.Add(1)
		service.ServeHTTP(w, r)
	}, gofakes3.WithTimeSource(clockAt{here}))
	for _, first := range []time.Time{time.Unix(0, 0), time.Date(2106, 2, 7, 0, 0, 0, 0, time.UTC)} {
		now := first
		requests.Store(0)
		tier := newTier(t, Options{Endpoint: server.URL, Now: func() time.Time { return now }})
		for i := range 3 {
			if err := tier.Put(t.Context(), "a/b", []byte("x")); err != nil {
				t.Fatalf("put %d by a clock at %v: %v", i, first, err)
			}
		}
		if n := requests.Load(); n != 4 {
			t.Errorf("%d requests for three puts by a clock at %v", n, first)
		}
		now = here.Add(time.Minute)
		for o, err := range tier.List(t.Context(), "") {
			if err != nil || o.Name != "a/b" {
				t.Errorf("after the clock was set: %v, %v", o, err)
			}
		}
	}
}

// Each fault of a service ends with an error of that name, soon, after few requests, and without
// the secret. A Put that failed can be made again.
func TestFaultsOfTheService(t *testing.T) {
	answer := func(status int, code string) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(status)
			if code != "" {
				fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, code)
			}
		}
	}
	// changed answers a Get with other bytes than there are.
	changed := func(change func([]byte) []byte) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, service http.Handler) {
			rec := httptest.NewRecorder()
			service.ServeHTTP(rec, r)
			body := rec.Body.Bytes()
			for name, values := range rec.Header() {
				w.Header()[name] = values
			}
			if r.Method == http.MethodGet {
				body = change(body)
			}
			w.WriteHeader(rec.Code)
			w.Write(body)
		}
	}
	for _, c := range []faultCase{
		{"full", answer(507, ""), backup.ErrTierFull, nil, false},
		{"quota", answer(403, "QuotaExceeded"), backup.ErrTierFull, nil, false},
		{"no room", answer(500, "XMinioStorageFull"), backup.ErrTierFull, nil, false},
		{"denied", answer(403, "AccessDenied"), backup.ErrDenied, backup.ErrDenied, false},
		{"bad secret", answer(403, "SignatureDoesNotMatch"), backup.ErrDenied, backup.ErrDenied, false},
		{"denied without a word", answer(403, ""), backup.ErrDenied, backup.ErrDenied, false},
		{"no bucket", answer(404, "NoSuchBucket"), nil, nil, false},
		{"broken", answer(500, "InternalError"), nil, nil, false},
		{"busy", answer(503, "SlowDown"), nil, nil, false},
		{"not S3", answer(404, "<html>"), nil, nil, false},
		{"hangs up", func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }, nil, nil, false},
		{"cut", changed(func(b []byte) []byte { return b[:len(b)/2] }), nil, io.ErrUnexpectedEOF, true},
		{"other bytes", changed(func(b []byte) []byte { return bytes.ToUpper(b) }), nil, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.judge(t)
		})
	}
}

type faultCase struct {
	name  string
	fault func(http.ResponseWriter, *http.Request, http.Handler)
	put   error // nil: any
	get   error
	isGet bool // Put goes well
}

func (c faultCase) judge(t *testing.T) {
	var faulty atomic.Bool
	var requests atomic.Int32
	server := newService(t, func(w http.ResponseWriter, r *http.Request, service http.Handler) {
		requests.Add(1)
		if faulty.Load() {
			c.fault(w, r, service)
			return
		}
		service.ServeHTTP(w, r)
	})
	tier := newTier(t, Options{Endpoint: server.URL, Timeout: 20 * time.Second})
	judge := func(method string, err, want error) {
		t.Helper()
		if n := requests.Swap(0); err == nil || want != nil && !errors.Is(err, want) || n > attempts+1 { // one more is package net/http's own
			t.Errorf("%s ends with %v after %d requests; want %v", method, err, n, want)
		}
		if err != nil && (strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), method+" a/b in bucket backups")) {
			t.Error(err)
		}
		if want == nil && errors.Is(err, backup.ErrNoObject) && c.name != "not S3" {
			t.Errorf("%s says that there is no object: %v", method, err)
		}
	}
	data := bytes.Repeat([]byte("data"), 1<<16)
	faulty.Store(true)
	if err := tier.Put(t.Context(), "a/b", data); !c.isGet || err != nil {
		judge("put", err, c.put)
	}
	faulty.Store(false)
	if err := tier.Put(t.Context(), "a/b", data); err != nil {
		t.Errorf("put again: %v", err)
	}
	requests.Store(0)
	faulty.Store(true)
	_, err := tier.Get(t.Context(), "a/b", len(data))
	judge("get", err, c.get)
}

// What fails twice goes well at the third attempt; a service that keeps quiet is left when the
// timeout is over, or the context.
func TestServiceIsSlow(t *testing.T) {
	var failures atomic.Int32
	failures.Store(2)
	server := newService(t, func(w http.ResponseWriter, r *http.Request, service http.Handler) {
		if failures.Add(-1) >= 0 {
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if strings.HasSuffix(r.URL.Path, "/quiet") {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			return
		}
		service.ServeHTTP(w, r)
	})
	tier := newTier(t, Options{Endpoint: server.URL})
	if err := tier.Put(t.Context(), "a/b", []byte("x")); err != nil {
		t.Error(err)
	}
	hasty := newTier(t, Options{Endpoint: server.URL, Timeout: 50 * time.Millisecond})
	if err := hasty.Put(t.Context(), "a/quiet", []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := tier.Get(ctx, "a/quiet", 10); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// Credentials are asked for at each request; when there are none nothing is sent.
func TestCredentialsThatEnd(t *testing.T) {
	var token string
	server := newService(t, func(w http.ResponseWriter, r *http.Request, service http.Handler) {
		token = r.Header.Get("X-Amz-Security-Token")
		service.ServeHTTP(w, r)
	})
	n := 0
	none := errors.New("no credentials today")
	tier := newTier(t, Options{Endpoint: server.URL, Credentials: func(context.Context) (Credentials, error) {
		if n++; n > 2 {
			return Credentials{}, none
		}
		return Credentials{"k", "s", fmt.Sprint("token ", n)}, nil
	}})
	for i := 1; i <= 2; i++ {
		if err := tier.Put(t.Context(), "a/b", nil); err != nil || token != fmt.Sprint("token ", i) {
			t.Errorf("with %q: %v", token, err)
		}
	}
	token = ""
	if err := tier.Put(t.Context(), "a/b", nil); !errors.Is(err, none) || token != "" {
		t.Errorf("with %q: %v", token, err)
	}
}

// A bucket may hold what is no object, and a service may list in another order.
func TestForeignKeys(t *testing.T) {
	server := newService(t, nil)
	for _, key := range []string{"a/b", "README.md", "x y/z", "p/q", "p/../q", "p/A"} {
		req, err := http.NewRequest(http.MethodPut, server.URL+"/backups/"+url.PathEscape(key), strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	var names []string
	for o, err := range newTier(t, Options{Endpoint: server.URL}).List(t.Context(), "") {
		names = append(names, fmt.Sprint(o.Name, err))
	}
	if got := strings.Join(names, " "); got != "a/b<nil> p/q<nil>" {
		t.Error(got)
	}
}
