package vip

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skeinmesh/skein/partition/token"
)

const (
	inTime   = 20 * time.Second        // on a machine that is busy
	busy     = 600 * time.Millisecond  // by how much such a machine may be late
	holderIn = "SKEIN_TEST_VIP_HOLDER" // environment of a process that holds an address
)

var floating = []string{"10.9.0.100/24", "10.9.0.101/32", "fd09::64/64", "fd09::65/128"}

// space is a network namespace in which the test's thread is, and a second one. The interface v0
// of the first leads to v1 of the second.
type space struct {
	t     *testing.T
	other string
}

// enterSpace puts the goroutine of the test into a namespace of its own, or skips the test.
func enterSpace(t *testing.T) *space {
	t.Helper()
	t.Parallel()
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("SKIP: network namespaces need the command ip")
	}
	s := &space{t: t, other: "skein-vip-" + strings.ToLower(rand.Text()[:8])}
	if out, err := exec.Command("ip", "netns", "add", s.other).CombinedOutput(); err != nil {
		t.Skipf("SKIP: this machine makes no network namespaces: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", s.other).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	runtime.LockOSThread() // for ever: the thread ends with the goroutine
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("SKIP: this machine makes no network namespaces: %v", err)
	}
	s.ip("link add v0 type veth peer name v1")
	s.ip("link set v1 netns " + s.other)
	s.ip("link set v0 up")
	s.ip("addr add 10.9.0.1/24 dev v0")
	s.ip("-6 addr add fd09::1/64 dev v0 nodad")
	s.ip("-n " + s.other + " link set v1 up")
	s.ip("-n " + s.other + " addr add 10.9.0.2/24 dev v1")
	s.ip("-n " + s.other + " -6 addr add fd09::2/64 dev v1 nodad")
	return s
}

// ip runs the command of that name, on the thread of the test.
func (s *space) ip(args string) string {
	s.t.Helper()
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("ip %s: %v: %s", args, err, out)
	}
	return string(out)
}

// await polls until something holds, and returns after how long.
func (s *space) await(what string, holds func() bool) time.Duration {
	s.t.Helper()
	begin := time.Now()
	for !holds() {
		if time.Since(begin) > inTime {
			s.t.Fatalf("not after %v: %s", inTime, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return time.Since(begin)
}

func (s *space) openSystem(address string) *linux {
	s.t.Helper()
	sys, err := openSystem("v0", netip.MustParsePrefix(address))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = sys.Close() })
	return sys.(*linux)
}

func (s *space) newAddress(address string) *Address {
	s.t.Helper()
	a, err := New(Config{Election: testConfig.Election, Interface: "v0", Address: netip.MustParsePrefix(address)})
	if err != nil {
		s.t.Skipf("SKIP: no sockets for addresses and frames: %v", err)
	}
	s.t.Cleanup(func() {
		if err := a.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return a
}

func isThere(t *testing.T, sys *linux) bool {
	t.Helper()
	all, err := sys.findAddress()
	if err != nil {
		t.Fatal(err)
	}
	return len(all) > 0
}

// TestTheSystemDropsAnAddress sets addresses, and not again.
func TestTheSystemDropsAnAddress(t *testing.T) {
	s := enterSpace(t)
	for _, address := range floating {
		sys := s.openSystem(address)
		if isThere(t, sys) {
			t.Fatalf("%s is there", address)
		}
		if err := sys.setAddress(time.Second, true); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := sys.setAddress(time.Second, true); !errors.Is(err, errLeftover) {
			t.Errorf("%s is new twice: %v", address, err)
		}
		if all, err := sys.findAddress(); err != nil || len(all) != 1 || judgePresences(all) != errLeftover {
			t.Errorf("%s: %+v, %v", address, all, err)
		}
		if shown := s.ip("addr show dev v0"); !strings.Contains(shown, "deprecated") || !strings.Contains(shown, strings.Split(address, "/")[0]) {
			t.Errorf("%s can be the source of what the node sends: %s", address, shown)
		}
		s.await("it is dropped", func() bool { return !isThere(t, sys) })
		if took := time.Since(begin); took < 900*time.Millisecond || took > time.Second+lateness+busy {
			t.Errorf("%s was there for %v", address, took)
		} else {
			t.Logf("%s was there for %v", address, took)
		}
		if err := sys.removeAddress(); err != nil {
			t.Errorf("%s, which is gone, is removed: %v", address, err)
		}
	}
}

// TestAnAddressIsHeld holds addresses for longer than their lifetimes.
func TestAnAddressIsHeld(t *testing.T) {
	s := enterSpace(t)
	for _, address := range []string{floating[1], floating[3]} {
		a, sys := s.newAddress(address), s.openSystem(address)
		l := newLease(time.Hour)
		l.renew(lanLease)
		stop := time.Now().Add(2500 * time.Millisecond)
		if err := a.Hold(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		for time.Now().Before(stop) {
			l.renew(lanLease)
			if !isThere(t, sys) {
				t.Fatalf("%s is gone", address)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err := errors.Join(a.Check(t.Context()), a.Release(t.Context())); err != nil || isThere(t, sys) {
			t.Errorf("%s: released: %v", address, err)
		}
	}
}

// TestAnAddressOfAnother has the address be there for ever.
func TestAnAddressOfAnother(t *testing.T) {
	s := enterSpace(t)
	s.ip("addr add 10.9.0.101/24 dev v0")
	s.ip("-6 addr add fd09::65/64 dev v0 nodad")
	for _, address := range []string{floating[1], floating[3], "127.0.0.1/32"} {
		if address == "127.0.0.1/32" {
			s.ip("link set lo up")
		}
		a, sys := s.newAddress(address), s.openSystem(address)
		if err := a.Hold(t.Context(), newLease(time.Hour)); !errors.Is(err, ErrTaken) {
			t.Errorf("%s: %v", address, err)
		}
		if err := errors.Join(a.Release(t.Context()), a.Close()); err != nil || !isThere(t, sys) {
			t.Errorf("%s is not there any more: %v", address, err)
		}
	}
}

// TestNeighboursLearn has a neighbour believe that an address is somewhere else.
func TestNeighboursLearn(t *testing.T) {
	s := enterSpace(t)
	device, err := net.InterfaceByName("v0")
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{floating[0], floating[2]} {
		ip := strings.Split(address, "/")[0]
		s.ip("-n " + s.other + " neigh replace " + ip + " lladdr 02:00:00:00:00:99 dev v1 nud stale")
		a := s.newAddress(address)
		if err := a.Hold(t.Context(), newLease(time.Hour)); err != nil {
			t.Fatal(err)
		}
		took := s.await("the neighbour knows better", func() bool {
			return strings.Contains(s.ip("-n "+s.other+" neigh show "+ip+" dev v1"), device.HardwareAddr.String())
		})
		t.Logf("%s is known after %v", address, took)
	}
}

// TestAHolderIsFrozen stops a process that holds addresses, and kills one.
func TestAHolderIsFrozen(t *testing.T) {
	s := enterSpace(t)
	for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
		holder := exec.Command(os.Args[0], "-test.run=^TestHoldAddresses$")
		holder.Env = append(os.Environ(), holderIn+"=v0")
		holder.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := holder.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for lines.Scan() && lines.Text() != "held" {
		}
		time.Sleep(1500 * time.Millisecond)
		var all []*linux
		for _, address := range floating {
			sys := s.openSystem(address)
			all = append(all, sys)
			if !isThere(t, sys) {
				t.Errorf("%s is not held", address)
			}
		}
		if err := holder.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		for i, sys := range all {
			s.await("it is dropped", func() bool { return !isThere(t, sys) })
			took := time.Since(begin)
			t.Logf("%v: %s was there for %v", signal, floating[i], took)
			if took > lanLease+lanGuard+busy {
				t.Errorf("%v: %s was there for %v", signal, floating[i], took)
			}
		}
		_ = holder.Process.Kill()
		_ = holder.Wait()
	}
}

// TestHoldAddresses is the process that TestAHolderIsFrozen stops.
func TestHoldAddresses(t *testing.T) {
	device := os.Getenv(holderIn)
	if device == "" {
		t.Skip("SKIP: only as a process of another test")
	}
	ctx, cancel := context.WithTimeout(t.Context(), inTime)
	defer cancel()
	for _, address := range floating {
		a, err := New(Config{Election: token.Election{Name: "service/press", Scope: token.ScopeMajority}, Interface: device, Address: netip.MustParsePrefix(address)})
		if err == nil {
			err = a.Hold(ctx, everLasting{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println("\nheld")
	<-ctx.Done()
}

// everLasting is a lease that is always renewed.
type everLasting struct{}

func (everLasting) Left() time.Duration { return lanLease }

func FuzzParsePresence(f *testing.F) {
	f.Add(uint16(unix.RTM_NEWADDR), append([]byte{unix.AF_INET, 24, 0, 0, 2, 0, 0, 0, 8, 0, unix.IFA_LOCAL, 0, 10, 0, 0, 7, 20, 0, unix.IFA_CACHEINFO, 0}, make([]byte, 16)...))
	f.Add(uint16(unix.RTM_NEWADDR), bytes.Repeat([]byte{4, 0}, 20))
	f.Add(uint16(unix.NLMSG_ERROR), []byte{1, 0, 0})
	f.Fuzz(func(t *testing.T, kind uint16, data []byte) {
		m := syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: kind, Len: uint32(len(data) + unix.NLMSG_HDRLEN)}, Data: data}
		if ip, p, ok := parsePresence(m); ok && (!ip.IsValid() || p.lifetime < -1) {
			t.Errorf("%v, %+v", ip, p)
		}
		_, _ = readEnd(m)
	})
}
