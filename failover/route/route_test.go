package route

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestAnAddressIsTakenApart(t *testing.T) {
	ip := netip.MustParseAddr
	for address, want := range map[string]Endpoint{
		"10.0.0.7":            {IP: ip("10.0.0.7")},
		"10.0.0.7:80":         {IP: ip("10.0.0.7"), Port: 80},
		"::ffff:10.0.0.7":     {IP: ip("10.0.0.7")},
		"2001:db8::7":         {IP: ip("2001:db8::7")},
		"[2001:db8::7]:65535": {IP: ip("2001:db8::7"), Port: 65535},
		"press.example":       {Name: "press.example"},
		"press.example.:80":   {Name: "press.example", Port: 80},
		"line_1-b:1":          {Name: "line_1-b", Port: 1},
	} {
		if got, err := (Route{Address: address}).Endpoint(); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", address, got, err, want)
		}
	}
	for _, address := range []string{
		"", ":", ":80", ".", "a..b", "a b", "http://press/", "press:0", "press:65536", "press:http", "press:-1",
		"1.2.3", "10.0.0.256:80", "[::1]", "[::1", "[press]:80x", "a:b:80", "prüfung", strings.Repeat("a", 64), strings.Repeat("a.", 128),
	} {
		if got, err := ParseEndpoint(address); !errors.Is(err, ErrAddress) || got != (Endpoint{}) {
			t.Errorf("%q: %+v, %v", address, got, err)
		}
	}
}

func FuzzParseEndpoint(f *testing.F) {
	for _, s := range []string{"10.0.0.7:80", "[fe80::1%eth0]:80", "press.example.", "a:1", "::", "[]:1", "a:b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, address string) {
		e, err := ParseEndpoint(address)
		if err != nil {
			return
		}
		if e.IP.IsValid() == (e.Name != "") {
			t.Errorf("%q: an IP and a name, or none: %+v", address, e)
		}
		if again, err := ParseEndpoint(e.String()); err != nil || again != e {
			t.Errorf("%q: %+v is printed as %q, which is %+v, %v", address, e, e.String(), again, err)
		}
	})
}

// TestAListenersAddressIsNoPlace: a client would reach its own machine.
func TestAListenersAddressIsNoPlace(t *testing.T) {
	for _, address := range []string{"[::]:80", "0.0.0.0:80", "0.0.0.0", "::", "[::ffff:0.0.0.0]:80", "[fe80::1%eth0]:80", "fe80::1%eth0"} {
		if e, err := ParseEndpoint(address); !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %+v, %v", address, e, err)
		}
	}
}
