package dns

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"

	"github.com/miekg/dns"

	"github.com/skeinmesh/skein/failover/route"
)

const (
	headerSize = 12
	isResponse = 1 << 15 // in the second two bytes of a message
	maxService = 56      // bytes of the name of a service
	ednsSize   = maxRequest
)

// zone answers requests, by what its routes are at that time.
type zone struct {
	name   string // in lower case, with a dot at its end
	ttl    uint32 // seconds
	routes Routes
}

// answerMessage returns the response to a request. Nil is none: to a response, above all, for two
// servers could go on for ever.
func (z zone) answerMessage(request []byte, udp bool) []byte {
	if len(request) < headerSize || binary.BigEndian.Uint16(request[2:])&isResponse != 0 {
		return nil
	}
	var q dns.Msg
	malformed := q.Unpack(request) != nil
	a := new(dns.Msg).SetReply(&q)
	a.Compress = true
	limit := math.MaxUint16
	if udp {
		limit = dns.MinMsgSize
	}
	opt := q.IsEdns0()
	if opt != nil && !malformed {
		a.SetEdns0(ednsSize, false)
		if udp {
			limit = min(max(int(opt.UDPSize()), dns.MinMsgSize), maxRequest)
		}
	}
	switch {
	case malformed:
		a = &dns.Msg{MsgHdr: dns.MsgHdr{Id: binary.BigEndian.Uint16(request), Response: true, Rcode: dns.RcodeFormatError}}
	case q.Opcode != dns.OpcodeQuery:
		a.Rcode = dns.RcodeNotImplemented
	case len(q.Question) != 1 || len(q.Answer) > 0 || len(q.Ns) > 0:
		a.Rcode = dns.RcodeFormatError
	case opt != nil && opt.Version() != 0:
		a.Rcode = dns.RcodeBadVers
	default:
		z.answerQuestion(a, q.Question[0])
	}
	a.Truncate(limit)
	response, err := a.Pack()
	if err != nil {
		return nil
	}
	return response
}

// answerQuestion puts the answer to a question into a.
func (z zone) answerQuestion(a *dns.Msg, q dns.Question) {
	name := strings.ToLower(q.Name)
	below := name != z.name
	if q.Qclass != dns.ClassINET || q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR || !dns.IsSubDomain(z.name, name) {
		a.Rcode = dns.RcodeRefused
		return
	}
	a.Authoritative = true
	if !below {
		if q.Qtype == dns.TypeSOA || q.Qtype == dns.TypeANY {
			a.Answer = append(a.Answer, z.newSOA(q.Name))
		}
	} else {
		a.Rcode = z.answerService(a, q, strings.TrimSuffix(name, "."+z.name))
	}
	if len(a.Answer) == 0 && a.Rcode != dns.RcodeServerFailure {
		a.Ns = append(a.Ns, z.newSOA(z.name)) // it says for how long there is none
	}
}

// answerService adds what there is of a service, and returns the response code.
func (z zone) answerService(a *dns.Msg, q dns.Question, name string) int {
	if !isServiceName(name) {
		return dns.RcodeNameError
	}
	r, err := z.routes.Resolve(name)
	if errors.Is(err, route.ErrNotServed) {
		return dns.RcodeNameError
	}
	if err != nil {
		return dns.RcodeServerFailure
	}
	e, err := r.Endpoint()
	if err != nil {
		return dns.RcodeSuccess
	}
	isSRV, all := q.Qtype == dns.TypeSRV, q.Qtype == dns.TypeANY
	host := z.newHost(q.Name, e)
	if (isSRV || all) && e.Port != 0 {
		srv := &dns.SRV{Hdr: z.newHeader(q.Name, dns.TypeSRV), Port: e.Port, Target: q.Name}
		if e.Name != "" {
			srv.Target = dns.Fqdn(e.Name)
		} else if isSRV {
			a.Extra = append([]dns.RR{host}, a.Extra...) // EDNS stays last
		}
		a.Answer = append(a.Answer, srv)
	}
	isAddress := q.Qtype == dns.TypeA || q.Qtype == dns.TypeAAAA
	switch kind := host.Header().Rrtype; {
	case q.Qtype == kind, isAddress && kind == dns.TypeCNAME, all && kind != dns.TypeCNAME:
		a.Answer = append(a.Answer, host)
	}
	return dns.RcodeSuccess
}

// newHost returns the record of the address of a service, or of the name that has one.
func (z zone) newHost(owner string, e route.Endpoint) dns.RR {
	switch {
	case e.IP.Is4():
		return &dns.A{Hdr: z.newHeader(owner, dns.TypeA), A: e.IP.AsSlice()}
	case e.IP.Is6():
		return &dns.AAAA{Hdr: z.newHeader(owner, dns.TypeAAAA), AAAA: e.IP.AsSlice()}
	}
	return &dns.CNAME{Hdr: z.newHeader(owner, dns.TypeCNAME), Target: dns.Fqdn(e.Name)}
}

// newSOA returns the record of the zone. What is not there may be kept for as long as what is.
func (z zone) newSOA(owner string) dns.RR {
	return &dns.SOA{
		Hdr: z.newHeader(owner, dns.TypeSOA), Ns: z.name, Mbox: "hostmaster." + z.name,
		Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: z.ttl,
	}
}

func (z zone) newHeader(owner string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: kind, Class: dns.ClassINET, Ttl: z.ttl}
}

// isServiceName tells whether one word of a domain names a service: as a service is called,
// in a form that needs no escapes.
func isServiceName(label string) bool {
	return label != "" && len(label) <= maxService && !strings.ContainsFunc(label, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}
