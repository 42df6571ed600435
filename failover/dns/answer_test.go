package dns

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/skeinmesh/skein/failover/route"
)

var errClosed = errors.New("closed")

// book is Routes that tests set: an address for each service.
type book struct {
	mu      sync.Mutex
	at      map[string]string
	closed  bool
	entered chan struct{} // if not nil: told of each Resolve, which waits for
	leave   chan struct{}
}

func (b *book) setAddress(name, address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at[name] = address
}

func (b *book) Resolve(name string) (route.Route, error) {
	if b.entered != nil {
		b.entered <- struct{}{}
		<-b.leave
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	address, ok := b.at[name]
	switch {
	case b.closed:
		return route.Route{}, errClosed
	case !ok:
		return route.Route{}, route.ErrNotServed
	}
	return route.Route{Service: name, Node: 1, Address: address}, nil
}

func newBook() *book {
	return &book{at: map[string]string{
		"press": "10.0.0.7:80", "six": "[2001:db8::7]:443", "bare": "10.0.0.8", "named": "press.example:8080", "host": "press.example",
		"url": "http://press/", "with space": "10.0.0.9", "two.words": "10.0.0.9",
	}}
}

func testZone() zone { return zone{name: "plant.example.", ttl: 1, routes: newBook()} }

// askZone has a zone answer a question.
func askZone(t *testing.T, z zone, name string, kind uint16, change ...func(*dns.Msg)) *dns.Msg {
	t.Helper()
	q := new(dns.Msg).SetQuestion(name, kind)
	for _, c := range change {
		c(q)
	}
	request, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	response := z.answerMessage(request, true)
	a := new(dns.Msg)
	if err := a.Unpack(response); err != nil {
		t.Fatalf("%s: %v in %x", name, err, response)
	}
	if !a.Response || a.RecursionAvailable || a.Id != q.Id {
		t.Errorf("%s: header %+v", name, a.MsgHdr)
	}
	return a
}

// printRecords returns records in one line, owner and TTL left out.
func printRecords(all []dns.RR) string {
	var out []string
	for _, r := range all {
		if _, isOpt := r.(*dns.OPT); !isOpt {
			out = append(out, dns.TypeToString[r.Header().Rrtype]+" "+strings.TrimPrefix(r.String(), r.Header().String()))
		}
	}
	return strings.Join(out, "; ")
}

func TestAServiceIsFound(t *testing.T) {
	for _, c := range []struct {
		name   string
		kind   uint16
		answer string
		extra  string
	}{
		{"press", dns.TypeA, "A 10.0.0.7", ""},
		{"PresS", dns.TypeA, "A 10.0.0.7", ""},
		{"press", dns.TypeAAAA, "", ""},
		{"press", dns.TypeSRV, "SRV 0 0 80 press.plant.example.", "A 10.0.0.7"},
		{"press", dns.TypeANY, "SRV 0 0 80 press.plant.example.; A 10.0.0.7", ""},
		{"press", dns.TypeMX, "", ""},
		{"six", dns.TypeAAAA, "AAAA 2001:db8::7", ""},
		{"six", dns.TypeA, "", ""},
		{"six", dns.TypeSRV, "SRV 0 0 443 six.plant.example.", "AAAA 2001:db8::7"},
		{"bare", dns.TypeA, "A 10.0.0.8", ""},
		{"bare", dns.TypeSRV, "", ""},
		{"named", dns.TypeSRV, "SRV 0 0 8080 press.example.", ""},
		{"named", dns.TypeA, "CNAME press.example.", ""},
		{"named", dns.TypeANY, "SRV 0 0 8080 press.example.", ""},
		{"host", dns.TypeAAAA, "CNAME press.example.", ""},
		{"host", dns.TypeCNAME, "CNAME press.example.", ""},
		{"host", dns.TypeSRV, "", ""},
		{"url", dns.TypeA, "", ""},
	} {
		a := askZone(t, testZone(), c.name+".plant.example.", c.kind)
		if got, extra := printRecords(a.Answer), printRecords(a.Extra); got != c.answer || extra != c.extra || a.Rcode != dns.RcodeSuccess || !a.Authoritative {
			t.Errorf("%s %s: %s %q and %q, want %q and %q", c.name, dns.TypeToString[c.kind], dns.RcodeToString[a.Rcode], got, extra, c.answer, c.extra)
		}
		if none := c.answer == ""; none != (len(a.Ns) == 1) {
			t.Errorf("%s %s: authority %q", c.name, dns.TypeToString[c.kind], printRecords(a.Ns))
		}
		for _, r := range slices.Concat(a.Answer, a.Ns) {
			if soa, ok := r.(*dns.SOA); r.Header().Ttl != 1 || ok && soa.Minttl != 1 {
				t.Errorf("%s may be kept for longer than a second: %v", c.name, r)
			}
		}
	}
}

func TestWhatIsNotThere(t *testing.T) {
	z := testZone()
	closed := testZone()
	closed.routes.(*book).closed = true
	for _, c := range []struct {
		zone  zone
		name  string
		rcode int
	}{
		{z, "other.plant.example.", dns.RcodeNameError},
		{z, "press.line.plant.example.", dns.RcodeNameError},
		{z, `with\032space.plant.example.`, dns.RcodeNameError},
		{z, `two\.words.plant.example.`, dns.RcodeNameError},
		{z, "two.words.plant.example.", dns.RcodeNameError},
		{z, strings.Repeat("a", 57) + ".plant.example.", dns.RcodeNameError},
		{z, "plant.example.", dns.RcodeSuccess},
		{closed, "press.plant.example.", dns.RcodeServerFailure},
		{z, "example.", dns.RcodeRefused},
		{z, ".", dns.RcodeRefused},
		{z, "press.powerplant.example.", dns.RcodeRefused},
		{z, "powerplant.example.", dns.RcodeRefused},
		{z, `foo\.plant.example.`, dns.RcodeRefused},
		{z, "plant.example.org.", dns.RcodeRefused},
	} {
		a := askZone(t, c.zone, c.name, dns.TypeA)
		if a.Rcode != c.rcode || len(a.Answer) > 0 {
			t.Errorf("%s: %s, %v", c.name, dns.RcodeToString[a.Rcode], a.Answer)
		}
		if says := c.rcode == dns.RcodeNameError || c.rcode == dns.RcodeSuccess; says != (len(a.Ns) == 1) || says != (a.Authoritative && a.Rcode != dns.RcodeServerFailure) {
			t.Errorf("%s: authority %v", c.name, a.Ns)
		}
	}
	if a := askZone(t, z, "plant.example.", dns.TypeSOA); len(a.Answer) != 1 || len(a.Ns) != 0 {
		t.Errorf("the zone: %v", a)
	}
}

func TestBadRequests(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*dns.Msg)
		rcode  int
	}{
		"an update":     {func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }, dns.RcodeNotImplemented},
		"two questions": {func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, dns.RcodeFormatError},
		"no question":   {func(m *dns.Msg) { m.Question = nil }, dns.RcodeFormatError},
		"an answer":     {func(m *dns.Msg) { m.Answer = append(m.Answer, testZone().newSOA("a.")) }, dns.RcodeFormatError},
		"another class": {func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, dns.RcodeRefused},
		"a transfer": {func(m *dns.Msg) {
			m.Question[0] = dns.Question{Name: "plant.example.", Qtype: dns.TypeAXFR, Qclass: dns.ClassINET}
		}, dns.RcodeRefused},
		"EDNS of the next": {func(m *dns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetVersion(1) }, dns.RcodeBadVers},
	} {
		if a := askZone(t, testZone(), "press.plant.example.", dns.TypeA, c.change); a.Rcode != c.rcode || len(a.Answer) > 0 {
			t.Errorf("%s: %s, %v", name, dns.RcodeToString[a.Rcode], a.Answer)
		}
	}
	z := testZone()
	q := new(dns.Msg).SetQuestion("press.plant.example.", dns.TypeA)
	request, _ := q.Pack()
	a := new(dns.Msg)
	if err := a.Unpack(z.answerMessage(request[:len(request)-1], true)); err != nil || a.Rcode != dns.RcodeFormatError || a.Id != q.Id {
		t.Errorf("a request that was cut off: %v, %v", a, err)
	}
	q.Response = true
	if request, _ = q.Pack(); z.answerMessage(request, true) != nil || z.answerMessage(request[:headerSize-1], true) != nil {
		t.Error("a response, or half a header, is answered")
	}
}

// TestWhatIsTooLongIsCut asks for more than a datagram may hold.
func TestWhatIsTooLongIsCut(t *testing.T) {
	z := testZone()
	z.name = strings.Repeat("b2345678.", 20)
	long := strings.Repeat(strings.Repeat("a", 60)+".", 4) + "org"
	z.routes.(*book).setAddress("press", long+":80")
	ask := func(edns uint16, udp bool) (*dns.Msg, int) {
		q := new(dns.Msg).SetQuestion("press."+z.name, dns.TypeSRV)
		if edns > 0 {
			q.SetEdns0(edns, false)
		}
		request, _ := q.Pack()
		response := z.answerMessage(request, udp)
		a := new(dns.Msg)
		if err := a.Unpack(response); err != nil {
			t.Fatal(err)
		}
		return a, len(response)
	}
	small, n := ask(0, true)
	if n > 512 || small.Truncated != (len(small.Answer) == 0) {
		t.Errorf("%d bytes, truncated: %v", n, small.Truncated)
	}
	for _, udp := range []bool{true, false} {
		if a, n := ask(4096, udp); len(a.Answer) != 1 || a.Truncated || n > maxRequest || a.IsEdns0() == nil {
			t.Errorf("with EDNS, UDP %v: %v of %d bytes", udp, a, n)
		}
	}
}

func FuzzAnswerMessage(f *testing.F) {
	for _, name := range []string{"press.plant.example.", "other.plant.example.", "plant.example.", "example."} {
		for _, kind := range []uint16{dns.TypeSRV, dns.TypeA, dns.TypeANY} {
			m := new(dns.Msg).SetQuestion(name, kind)
			m.SetEdns0(4096, true)
			request, _ := m.Pack()
			f.Add(request)
		}
	}
	z := testZone()
	f.Fuzz(func(t *testing.T, request []byte) {
		for _, udp := range []bool{true, false} {
			response := z.answerMessage(request, udp)
			if response == nil {
				continue
			}
			if len(response) > maxRequest && udp {
				t.Errorf("a response of %d bytes", len(response))
			}
			var a dns.Msg
			if err := a.Unpack(response); err != nil || !a.Response || a.RecursionAvailable {
				t.Errorf("response %x: %v", response, err)
			}
			if z.answerMessage(response, udp) != nil {
				t.Error("a response is answered")
			}
		}
	})
}
