package s3

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/backup/tiertest"
)

var versitygw = flag.String("versitygw", "", "the binary of a real service of S3, which checks signatures and rights")

// gateway is a service in a process of its own, which knows root and one account that may put.
type gateway struct {
	url     string
	address string
	dir     string
	cmd     *exec.Cmd
	buckets int
	t       *testing.T
}

func startGateway(t *testing.T) *gateway {
	if *versitygw == "" {
		t.Skip("needs -versitygw=BINARY")
	}
	dir := t.TempDir()
	for _, name := range []string{"meta", "data", "iam"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	g := &gateway{url: "http://" + address, address: address, dir: dir, t: t}
	t.Cleanup(func() {
		g.kill()
		if text, err := os.ReadFile(filepath.Join(dir, "log")); t.Failed() && err == nil {
			t.Logf("it said: %.2000s", text)
		}
	})
	g.start()
	return g
}

// start starts the service on its directory, and waits until it answers.
func (g *gateway) start() {
	out, err := os.OpenFile(filepath.Join(g.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		g.t.Fatal(err)
	}
	defer out.Close()
	g.cmd = exec.Command(*versitygw, "--port", g.address, "--quiet", "--iam-dir", filepath.Join(g.dir, "iam"), "posix", "--sidecar", filepath.Join(g.dir, "meta"), filepath.Join(g.dir, "data"))
	g.cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY=root", "ROOT_SECRET_KEY="+secret)
	g.cmd.Stdout, g.cmd.Stderr = out, out
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", g.address)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(end) {
			g.t.Fatal(err)
		}
	}
}

// kill ends the process as a loss of power would.
func (g *gateway) kill() {
	if g.cmd.Process != nil {
		g.cmd.Process.Kill()
		g.cmd.Wait()
	}
}

// newBucket makes a bucket with a policy, if there is one; %s in it is the bucket's name.
func (g *gateway) newBucket(policy string) string {
	g.buckets++
	name := fmt.Sprintf("bucket-%d", g.buckets)
	if err := g.ask(http.MethodPut, "/"+name, ""); err != nil {
		g.t.Fatal(err)
	}
	if policy != "" {
		if err := g.ask(http.MethodPut, "/"+name+"?policy=", strings.ReplaceAll(policy, "%s", name)); err != nil {
			g.t.Fatal(err)
		}
	}
	return name
}

func (g *gateway) ask(method, path, body string) error {
	req, err := http.NewRequest(method, g.url+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set(sumHeader, hexSum([]byte(body)))
	signRequest(req, Credentials{AccessKey: "root", SecretKey: secret}, defaultRegion, time.Now())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		text := make([]byte, 1000)
		n, _ := resp.Body.Read(text)
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text[:n])
	}
	return nil
}

func TestVersitygw(t *testing.T) {
	g := startGateway(t)
	root := Fixed("root", secret)
	tiertest.Test(t, func(t *testing.T) backup.Tier {
		return newTier(t, Options{Endpoint: g.url, Bucket: g.newBucket(""), Prefix: "site/1", Credentials: root})
	})

	bucket := g.newBucket("")
	good := newTier(t, Options{Endpoint: g.url, Bucket: bucket, Credentials: root})
	if err := good.Put(t.Context(), "m/n/c/s-1", []byte("data")); err != nil {
		t.Fatal(err)
	}
	wantDenied := func(what string, tier *Tier) {
		t.Helper()
		_, getErr := tier.Get(t.Context(), "m/n/c/s-1", 100)
		_, statErr := tier.Stat(t.Context(), "m/n/c/s-1")
		var listErr error
		for _, listErr = range tier.List(t.Context(), "") {
		}
		for _, err := range []error{getErr, statErr, listErr, tier.Delete(t.Context(), "m/n/c/s-1")} {
			if !errors.Is(err, backup.ErrDenied) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	liar := newTier(t, Options{Endpoint: g.url, Bucket: bucket, Credentials: Fixed("root", "not-the-secret")})
	wantDenied("wrong secret", liar)
	if err := liar.Put(t.Context(), "m/x", nil); !errors.Is(err, backup.ErrDenied) {
		t.Errorf("put with a wrong secret: %v", err)
	}

	slow := newTier(t, Options{Endpoint: g.url, Bucket: bucket, Credentials: root, Now: func() time.Time { return time.Unix(1e9, 0) }})
	if err := slow.Put(t.Context(), "m/n/c/s-2", []byte("by a wrong clock")); err != nil {
		t.Error(err)
	}

	if err := g.ask(http.MethodPatch, "/create-user", `<Account><Access>putter</Access><Secret>only</Secret><Role>user</Role></Account>`); err != nil {
		t.Fatal(err)
	}
	putOnly := g.newBucket(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["putter"]},"Action":["s3:PutObject"],"Resource":["arn:aws:s3:::%s/*"]}]}`)
	putter := newTier(t, Options{Endpoint: g.url, Bucket: putOnly, Credentials: Fixed("putter", "only")})
	if err := putter.Put(t.Context(), "m/n/c/s-1", make([]byte, backup.MaxObject)); err != nil {
		t.Errorf("who may put: %v", err)
	}
	wantDenied("who may put", putter)
	g.listOutside(bucket, "m/n/c/s-1", "m/n/c/s-2")
}

// listOutside has another program list the bucket.
func (g *gateway) listOutside(bucket string, want ...string) {
	path, err := exec.LookPath("s3cmd")
	if err != nil {
		g.t.Log("no s3cmd here")
		return
	}
	host := strings.TrimPrefix(g.url, "http://")
	ctx, cancel := context.WithTimeout(g.t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--config=/dev/null", "--no-ssl", "--host="+host, "--host-bucket="+host+"/%(bucket)", "--access_key=root",
		"--secret_key="+secret, "ls", "--recursive", "s3://"+bucket).CombinedOutput()
	if err != nil {
		g.t.Errorf("s3cmd: %v: %s", err, out)
	}
	for _, name := range want {
		if !strings.Contains(string(out), "s3://"+bucket+"/"+name+"\n") {
			g.t.Errorf("s3cmd does not list %s: %s", name, out)
		}
	}
}
