package s3

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	algorithm = "AWS4-HMAC-SHA256"
	// sumHeader has the SHA-256 of an object, which the service keeps with it.
	sumHeader = "X-Amz-Meta-" + sumKey
	sumKey    = "Sha256"
	// tolerated is how far the time of a refusal may be from ours without being the reason.
	tolerated = time.Minute
)

// signer signs requests by the time of the service. The client library signs by the clock of this
// machine alone, so it is kept from signing at all.
type signer struct {
	credentials func(context.Context) (Credentials, error)
	region      string
	now         func() time.Time
	ahead       atomic.Int64 // time.Duration by which the service is ahead of now
	next        http.RoundTripper
}

func (s *signer) RoundTrip(req *http.Request) (*http.Response, error) {
	c, err := s.credentials(req.Context())
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	req = req.Clone(req.Context())
	if c != (Credentials{}) {
		signRequest(req, c, s.region, s.serviceTime())
	}
	resp, err := s.next.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusForbidden {
		s.learnTime(resp.Header.Get("Date"))
	}
	return resp, err
}

func (s *signer) serviceTime() time.Time { return s.now().Add(time.Duration(s.ahead.Load())) }

// learnTime takes the time from a refusal. A false one does no harm: the next refusal corrects it.
func (s *signer) learnTime(date string) {
	t, err := http.ParseTime(date)
	if err == nil && t.Sub(s.serviceTime()).Abs() > tolerated {
		s.ahead.Store(int64(t.Sub(s.now())))
	}
}

// signRequest signs a request as Amazon's "Signature Version 4" says: all headers that matter, the
// query, and the hash of the body.
func signRequest(req *http.Request, c Credentials, region string, now time.Time) {
	body := hexSum(nil)
	if sum := req.Header.Get(sumHeader); sum != "" {
		body = sum
	}
	date := now.UTC().Format("20060102T150405Z")
	req.Header.Set("X-Amz-Date", date)
	req.Header.Set("X-Amz-Content-Sha256", body)
	if c.SessionToken != "" {
		req.Header.Set("X-Amz-Security-Token", c.SessionToken)
	}
	req.URL.RawQuery = strings.ReplaceAll(req.URL.Query().Encode(), "+", "%20")

	signed := []string{"host"}
	for name := range req.Header {
		if name = strings.ToLower(name); name == "content-md5" || strings.HasPrefix(name, "x-amz-") {
			signed = append(signed, name)
		}
	}
	slices.Sort(signed)
	lines := []string{req.Method, req.URL.EscapedPath(), req.URL.RawQuery}
	for _, name := range signed {
		value := strings.Join(req.Header.Values(name), ",")
		if name == "host" {
			value = req.Host
		}
		lines = append(lines, name+":"+strings.TrimSpace(value))
	}
	names := strings.Join(signed, ";")
	lines = append(lines, "", names, body)

	scope := []string{date[:8], region, "s3", "aws4_request"}
	key := []byte("AWS4" + c.SecretKey)
	for _, part := range scope {
		key = keyedSum(key, part)
	}
	signature := keyedSum(key, strings.Join([]string{algorithm, date, strings.Join(scope, "/"), hexSum([]byte(strings.Join(lines, "\n")))}, "\n"))
	req.Header.Set("Authorization", algorithm+" Credential="+c.AccessKey+"/"+strings.Join(scope, "/")+
		", SignedHeaders="+names+", Signature="+hex.EncodeToString(signature))
}

func keyedSum(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
