package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/coordinate"
	"github.com/hashicorp/serf/serf"

	"github.com/skeinmesh/skein/mesh/view"
)

// Messages as memberlist and serf encode them.
type (
	pingMsg struct {
		SeqNo      uint32
		Node       string
		SourceAddr []byte
		SourcePort uint16
		SourceNode string
	}
	indirectMsg struct {
		SeqNo      uint32
		Target     []byte
		Port       uint16
		Node       string
		Nack       bool
		SourceAddr []byte
		SourcePort uint16
		SourceNode string
	}
	ackMsg struct {
		SeqNo   uint32
		Payload []byte
	}
	accuseMsg struct {
		Incarnation uint32
		Node, From  string
	}
	aliveMsg struct {
		Incarnation uint32
		Node        string
		Addr        []byte
		Port        uint16
		Meta, Vsn   []byte
	}
	headerMsg struct {
		Nodes, UserStateLen int
		Join                bool
	}
	stateMsg struct {
		Name        string
		Addr        []byte
		Port        uint16
		Meta        []byte
		Incarnation uint32
		State       int
		Vsn         []byte
	}
	intentMsg struct {
		LTime uint64
		Node  string
		Prune bool
	}
	joinMsg struct {
		LTime uint64
		Node  string
	}
	serfStateMsg struct {
		LTime        uint64
		StatusLTimes map[string]uint64
		LeftMembers  []string
		EventLTime   uint64
		Events       []*struct{ LTime uint64 }
		QueryLTime   uint64
	}
)

const peerID, selfID = view.NodeID(0xa1), view.NodeID(0xb2)

var (
	peerName, selfName = peerID.String(), selfID.String()
	goodVsn            = []byte{1, 5, 2, 2, 5, 5}
	goodMeta           = append([]byte{tagMagic}, pack(0x81, "k")...)
	goodCoordinate     = pack(pingVersion, coordinate.NewCoordinate(coordinate.DefaultConfig()))
)

func init() { goodMeta = append(goodMeta, 0xa1, 'v') }

func compound(parts ...[]byte) []byte {
	b := []byte{mlCompound, byte(len(parts))}
	for _, p := range parts {
		b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
	}
	return append(b, bytes.Join(parts, nil)...)
}

func checksummed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{mlChecksum}, crc32.ChecksumIEEE(b)), b...)
}

func user(serfMessage []byte) []byte { return append([]byte{mlUser}, serfMessage...) }

// pushPull builds the stream of one exchange. pack's leading byte is cut off
// where none belongs.
func pushPull(state []byte, nodes ...stateMsg) []byte {
	b := pack(mlPushPull, headerMsg{Nodes: len(nodes), UserStateLen: len(state), Join: true})
	for _, n := range nodes {
		b = append(b, pack(0, n)[1:]...)
	}
	return append(b, state...)
}

func goodAlive() aliveMsg {
	return aliveMsg{3, peerName, []byte{10, 0, 0, 1}, 7946, goodMeta, goodVsn}
}

func goodNode() stateMsg {
	return stateMsg{peerName, make([]byte, 16), 7946, goodMeta, 3, 0, goodVsn}
}

func otherNode() stateMsg {
	n := goodNode()
	n.Name = selfName
	return n
}

func goodState() []byte {
	return pack(serfPushPull, serfStateMsg{
		LTime: 9, StatusLTimes: map[string]uint64{peerName: 4, selfName: 1 << 40},
		LeftMembers: []string{selfName}, EventLTime: 1, QueryLTime: 1, Events: make([]*struct{ LTime uint64 }, 512),
	})
}

func honestPackets() map[string][]byte {
	ping := pack(mlPing, pingMsg{1, selfName, []byte{127, 0, 0, 1}, 7946, peerName})
	alive := pack(mlAlive, goodAlive())
	return map[string][]byte{
		"ping":      ping,
		"indirect":  pack(mlIndirectPing, indirectMsg{7, []byte{10, 0, 0, 2}, 7946, selfName, true, make([]byte, 16), 1, peerName}),
		"ack":       pack(mlAck, ackMsg{math.MaxUint32, goodCoordinate}),
		"plain ack": pack(mlAck, ackMsg{5, nil}),
		"nack":      pack(mlNack, struct{ SeqNo uint32 }{70000}),
		"suspect":   pack(mlSuspect, accuseMsg{1, selfName, peerName}),
		"dead":      pack(mlDead, accuseMsg{1, selfName, selfName}),
		"alive":     alive,
		"no tags":   pack(mlAlive, aliveMsg{3, peerName, make([]byte, 16), 1, nil, goodVsn}),
		"join":      user(pack(serfJoin, joinMsg{300, peerName})),
		"leave":     user(pack(serfLeave, intentMsg{300, peerName, false})),
		"compound":  compound(ping, alive, user(pack(serfJoin, joinMsg{1, peerName}))),
		"checksum":  checksummed(compound(ping, alive)),
	}
}

func honestStreams() map[string][]byte {
	return map[string][]byte{
		"ping":      pack(mlPing, pingMsg{1, selfName, []byte{127, 0, 0, 1}, 7946, peerName}),
		"ack":       pack(mlAck, ackMsg{5, nil}),
		"error":     pack(mlError, struct{ Error string }{"no room"}),
		"exchange":  pushPull(goodState(), goodNode(), otherNode()),
		"no state":  pushPull(nil, goodNode()),
		"no member": pushPull(goodState()),
	}
}

// hostilePackets are what a holder of the key could send to harm memberlist
// or serf.
func hostilePackets() map[string][]byte {
	ping := pack(mlPing, pingMsg{1, selfName, []byte{127, 0, 0, 1}, 7946, peerName})
	with := func(change func(*aliveMsg)) []byte {
		m := goodAlive()
		change(&m)
		return pack(mlAlive, m)
	}
	damaged := checksummed(ping)
	damaged[len(damaged)-1] ^= 1
	nan := append([]byte{pingVersion}, pack(0, dict{"Vec": []float64{math.NaN()}, "Error": 1.0, "Adjustment": 0.0, "Height": 0.0})[1:]...)
	huge := []byte{mlAlive, 0x86, 0xa3, 'V', 's', 'n', 0xdd, 0xff, 0xff, 0xff, 0xff}
	return map[string][]byte{
		"empty":                    {},
		"type alone":               {mlPing},
		"unknown type":             {99, 0x80},
		"compressed":               pack(9, dict{"Algo": 0, "Buf": []byte("x")}),
		"encrypted":                {10, 1, 2, 3},
		"label":                    {244, 3, 'a', 'b', 'c'},
		"push-pull":                pushPull(goodState(), goodNode()),
		"error":                    pack(mlError, struct{ Error string }{"x"}),
		"checksum wrong":           damaged,
		"checksum alone":           {mlChecksum, 0, 0, 0, 0},
		"checksum twice":           checksummed(checksummed(ping)),
		"compound empty":           compound(),
		"compound with empty part": compound(ping, nil),
		"compound in compound":     compound(compound(ping)),
		"compound cut":             compound(ping, ping)[:30],
		"compound lengths cut":     {mlCompound, 200, 0},
		"compound with rest":       append(compound(ping), 0),
		"checksum in compound":     compound(checksummed(ping)),
		"ping with rest":           append(bytes.Clone(ping), 0xc0),
		"ping cut":                 ping[:len(ping)-1],
		"ping for nobody":          pack(mlPing, pingMsg{1, "", []byte{127, 0, 0, 1}, 1, peerName}),
		"answer to another node":   pack(mlPing, pingMsg{1, selfName, []byte{127, 0, 0, 1}, 1, selfName}),
		"answer to no node":        pack(mlPing, pingMsg{1, selfName, []byte{127, 0, 0, 1}, 1, ""}),
		"answer without address":   pack(mlPing, pingMsg{1, selfName, nil, 0, peerName}),
		"indirect for another":     pack(mlIndirectPing, indirectMsg{7, []byte{1, 2, 3, 4}, 1, selfName, true, make([]byte, 4), 1, selfName}),
		"indirect to odd address":  pack(mlIndirectPing, indirectMsg{7, []byte{1, 2, 3}, 1, selfName, true, make([]byte, 4), 1, peerName}),
		"sequence as text":         pack(mlNack, dict{"SeqNo": "one"}),
		"sequence too large":       pack(mlNack, dict{"SeqNo": uint64(1 << 33)}),
		"sequence negative":        pack(mlNack, dict{"SeqNo": -1}),
		"field twice":              append([]byte{mlNack, 0x82}, bytes.Repeat([]byte{0xa5, 'S', 'e', 'q', 'N', 'o', 1}, 2)...),
		"field unknown":            pack(mlNack, dict{"SeqNo": 1, "More": 1}),
		"field missing":            {mlNack, 0x80},
		"array instead":            {mlNack, 0x91, 1},
		"coordinate of NaN":        pack(mlAck, ackMsg{1, nan}),
		"coordinate of version 2":  pack(mlAck, ackMsg{1, append([]byte{2}, goodCoordinate[1:]...)}),
		"coordinate cut":           pack(mlAck, ackMsg{1, goodCoordinate[:20]}),
		"coordinate empty":         pack(mlAck, ackMsg{1, []byte{}}),
		"nested deep":              append([]byte{mlAck, 0x82, 0xa5, 'S', 'e', 'q', 'N', 'o'}, bytes.Repeat([]byte{0x91}, 1000)...),
		"suspect by nobody":        pack(mlSuspect, accuseMsg{1, selfName, "root"}),
		"alive without versions":   with(func(m *aliveMsg) { m.Vsn = nil }),
		"alive with 3 versions":    with(func(m *aliveMsg) { m.Vsn = []byte{1, 5, 2} }),
		"alive with 7 versions":    with(func(m *aliveMsg) { m.Vsn = append(bytes.Clone(goodVsn), 1) }),
		"alive of the future":      with(func(m *aliveMsg) { m.Vsn = []byte{9, 9, 9, 9, 9, 9} }),
		"alive nowhere":            with(func(m *aliveMsg) { m.Addr = nil }),
		"alive at 5 bytes":         with(func(m *aliveMsg) { m.Addr = make([]byte, 5) }),
		"alive at port 0":          with(func(m *aliveMsg) { m.Port = 0 }),
		"alive under a free name":  with(func(m *aliveMsg) { m.Node = "gateway-7" }),
		"alive in capitals":        with(func(m *aliveMsg) { m.Node = "00000000000000AB" }),
		"alive as zero":            with(func(m *aliveMsg) { m.Node = "0000000000000000" }),
		"meta too long":            with(func(m *aliveMsg) { m.Meta = bytes.Repeat([]byte{tagMagic}, 600) }),
		"meta of anything":         with(func(m *aliveMsg) { m.Meta = []byte("role") }),
		"meta not a map":           with(func(m *aliveMsg) { m.Meta = []byte{tagMagic, 0xdd, 0xff, 0xff, 0xff, 0xff} }),
		"length beyond the end":    huge,
		"user empty":               {mlUser},
		"serf push-pull":           user(goodState()),
		"serf event":               user(pack(3, dict{"LTime": 1, "Name": "x", "Payload": []byte("x"), "CC": false})),
		"serf query":               user(pack(4, dict{"LTime": 1, "ID": 1, "Filters": [][]byte{{}}})),
		"serf response":            user(pack(5, dict{"LTime": 1, "ID": 1, "From": peerName})),
		"serf key request":         user(pack(7, dict{"Key": []byte("x")})),
		"serf relay":               user(pack(9, dict{"DestAddr": dict{"IP": []byte{8, 8, 8, 8}, "Port": 53}, "DestName": selfName})),
		"prune":                    user(pack(serfLeave, intentMsg{1, selfName, true})),
		"join at the end of time":  user(pack(serfJoin, joinMsg{math.MaxUint64, peerName})),
		"join of a free name":      user(pack(serfJoin, joinMsg{1, strings.Repeat("x", 1000)})),
	}
}

func hostileStreams() map[string][]byte {
	node := func(change func(*stateMsg)) []byte {
		n := goodNode()
		change(&n)
		return pushPull(goodState(), n)
	}
	state := func(v dict) []byte {
		full := dict{"LTime": 1, "StatusLTimes": dict{}, "LeftMembers": nil, "EventLTime": 1, "Events": nil, "QueryLTime": 1}
		for k, x := range v {
			full[k] = x
		}
		return pushPull(pack(serfPushPull, full))
	}
	return map[string][]byte{
		"empty":                 {},
		"compressed":            pack(9, dict{"Algo": 0, "Buf": []byte("x")}),
		"encrypted":             append([]byte{10, 0, 0, 0, 29}, make([]byte, 29)...),
		"user message":          pack(mlUser, dict{"UserMsgLen": 1 << 30}),
		"alive":                 pack(mlAlive, goodAlive()),
		"label":                 append([]byte{244, 1, 'x'}, pushPull(nil)...),
		"nodes announced":       pack(mlPushPull, headerMsg{Nodes: 1 << 15}),
		"nodes negative":        pack(mlPushPull, headerMsg{Nodes: -1}),
		"too many nodes":        pack(mlPushPull, headerMsg{Nodes: 1 << 20}),
		"state announced":       pack(mlPushPull, headerMsg{UserStateLen: 20 << 20}),
		"state longer":          append(pushPull(goodState()), 0),
		"state shorter":         pushPull(goodState())[:100],
		"state of other type":   pushPull(pack(serfJoin, joinMsg{1, peerName})),
		"node without versions": node(func(n *stateMsg) { n.Vsn = nil }),
		"node of 5 versions":    node(func(n *stateMsg) { n.Vsn = goodVsn[:5] }),
		"node unknown state":    node(func(n *stateMsg) { n.State = 4 }),
		"node negative state":   node(func(n *stateMsg) { n.State = -1 }),
		"node odd address":      node(func(n *stateMsg) { n.Addr = []byte{1} }),
		"node twice":            pushPull(goodState(), goodNode(), goodNode()),
		"node free name":        node(func(n *stateMsg) { n.Name = "x" }),
		"event":                 state(dict{"Events": []any{dict{"LTime": 1, "Events": []any{}}}}),
		"many events":           state(dict{"Events": make([]any, maxEvents+1)}),
		"clock at the end":      state(dict{"EventLTime": uint64(math.MaxUint64)}),
		"status of a free name": state(dict{"StatusLTimes": dict{"x": 1}}),
		"status announced":      pushPull(append(pack(serfPushPull, nil)[:1], 0x86, 0xac, 'S', 't', 'a', 't', 'u', 's', 'L', 'T', 'i', 'm', 'e', 's', 0xdf, 0xff, 0xff, 0xff, 0xff)),
		"long error":            pack(mlError, struct{ Error string }{strings.Repeat("x", 2000)}),
	}
}

func TestScreen(t *testing.T) {
	for name, b := range honestPackets() {
		if err := screenPacket(peerID, b); err != nil {
			t.Errorf("honest packet %s: %v", name, err)
		}
	}
	for name, b := range honestStreams() {
		if err := screenStream(peerID, b); err != nil {
			t.Errorf("honest stream %s: %v", name, err)
		}
	}
	for name, b := range hostilePackets() {
		if err := screenPacket(peerID, b); !errors.Is(err, errScreened) {
			t.Errorf("hostile packet %s: %v", name, err)
		}
	}
	for name, b := range hostileStreams() {
		if err := screenStream(peerID, b); !errors.Is(err, errScreened) {
			t.Errorf("hostile stream %s: %v", name, err)
		}
	}
	// No prefix of an honest message passes for one.
	for name, b := range honestPackets() {
		for n := range len(b) {
			if screenPacket(peerID, b[:n]) == nil {
				t.Errorf("%s cut to %d bytes passes", name, n)
			}
		}
	}
	for name, b := range honestStreams() {
		for n := range len(b) {
			if screenStream(peerID, b[:n]) == nil {
				t.Errorf("%s cut to %d bytes passes", name, n)
			}
		}
	}
}

// parser is a transport that leads nowhere, under a real memberlist and serf:
// what passes the screen must not harm them. A panic in one of their
// goroutines ends the test process.
type parser struct {
	packets chan *memberlist.Packet
	streams chan net.Conn
	acks    chan struct{}
	serf    *serf.Serf
}

func newParser(t testing.TB) *parser {
	p := &parser{
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), acks: make(chan struct{}, 1),
	}
	conf := serf.DefaultConfig()
	conf.Init()
	conf.NodeName = selfName
	conf.EnableNameConflictResolution = false
	conf.LogOutput, conf.MemberlistConfig.LogOutput = io.Discard, io.Discard
	conf.MemberlistConfig.Transport = p
	conf.MemberlistConfig.RequireNodeNames = true
	conf.MemberlistConfig.EnableCompression = false
	conf.MemberlistConfig.ProbeTimeout = 20 * time.Millisecond // nothing waits longer after Shutdown
	s, err := serf.Create(conf)
	if err != nil {
		t.Fatal(err)
	}
	p.serf = s
	t.Cleanup(func() { _ = s.Shutdown() })
	return p
}

func (p *parser) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return net.IPv4(10, 0, 0, 9), 1, nil
}
func (p *parser) PacketCh() <-chan *memberlist.Packet { return p.packets }
func (p *parser) StreamCh() <-chan net.Conn           { return p.streams }
func (p *parser) Shutdown() error                     { return nil }

func (p *parser) WriteTo(b []byte, _ string) (time.Time, error) {
	if bytes.Contains(b, []byte("SeqNo")) {
		select {
		case p.acks <- struct{}{}:
		default:
		}
	}
	return time.Now(), nil
}

func (p *parser) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return p.WriteTo(b, a.Addr)
}

func (p *parser) DialTimeout(string, time.Duration) (net.Conn, error) {
	return nil, errors.New("leads nowhere")
}

func (p *parser) DialAddressTimeout(memberlist.Address, time.Duration) (net.Conn, error) {
	return nil, errors.New("leads nowhere")
}

// packet feeds a packet and waits until it has been looked at.
func (p *parser) packet(b []byte) {
	from := &net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 7}
	select {
	case <-p.acks:
	default:
	}
	p.packets <- &memberlist.Packet{Buf: b, From: from, Timestamp: time.Now()}
	p.packets <- &memberlist.Packet{Buf: pingOf(peerID, selfID), From: from, Timestamp: time.Now()}
	select {
	case <-p.acks:
	case <-time.After(10 * time.Second):
		panic("memberlist does not answer any more")
	}
}

// stream feeds a stream and waits until memberlist closes it. What passes the
// screen is complete: memberlist must not wait for more.
func (p *parser) stream(t testing.TB, b []byte) {
	ours, theirs := net.Pipe()
	p.streams <- theirs
	_ = ours.SetDeadline(time.Now().Add(5 * time.Second))
	go func() { _, _ = ours.Write(b) }()
	if _, err := io.Copy(io.Discard, ours); err != nil {
		t.Errorf("memberlist still waits: %v", err)
	}
	ours.Close()
}

func FuzzScreenPacket(f *testing.F) {
	for _, b := range honestPackets() {
		f.Add(b)
	}
	for _, b := range hostilePackets() {
		f.Add(b)
	}
	p := newParser(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) <= packetRoom && screenPacket(peerID, bytes.Clone(b)) == nil {
			p.packet(b)
		}
	})
}

func FuzzScreenStream(f *testing.F) {
	for _, b := range honestStreams() {
		f.Add(b)
	}
	for _, b := range hostileStreams() {
		f.Add(b)
	}
	p := newParser(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 0 && screenStream(peerID, bytes.Clone(b)) == nil {
			p.stream(t, b)
		}
	})
}

// TestScreenedReachesSerf makes sure that the parser of the fuzz targets
// takes in what it is fed.
func TestScreenedReachesSerf(t *testing.T) {
	p := newParser(t)
	p.packet(pack(mlAlive, goodAlive()))
	eventually(t, "the member of a packet is known", func() bool { return p.serf.NumNodes() == 2 })
	other := goodNode()
	other.Name = view.NodeID(0xc3).String()
	p.stream(t, pushPull(goodState(), other))
	eventually(t, "the member of a stream is known", func() bool { return p.serf.NumNodes() == 3 })
}

func FuzzSift(f *testing.F) {
	for _, b := range honestStreams() {
		f.Add(b)
	}
	for _, b := range honestPackets() {
		f.Add(b)
	}
	f.Add(pushPull(goodState(), goodNode(), otherNode()))
	none := func(view.NodeID) bool { return false }
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, s := range []*sift{newTestSift(), newSift(none)} {
			if kept, _, err := s.siftPacket(peerID, bytes.Clone(b)); err == nil && kept != nil && screenPacket(peerID, kept) != nil {
				t.Errorf("%q becomes %q", b, kept)
			}
			if kept, _, err := s.siftStream(peerID, bytes.Clone(b)); err == nil && screenStream(peerID, kept) != nil {
				t.Errorf("%q becomes %q", b, kept)
			}
			for id := range s.held {
				if held := s.releaseAlive(id); len(held) <= 1<<12 && screenPacket(peerID, held) != nil {
					t.Errorf("held back %q", held)
				}
			}
		}
	})
}

// screenPacket returns an error unless b is a packet that an honest node
// from sends to memberlist.
func screenPacket(from view.NodeID, b []byte) error {
	c := &cursor{rest: b}
	if err := c.takeChecksum(); err != nil {
		return err
	}
	if len(c.rest) > 0 && c.rest[0] == mlCompound {
		c.readCompound(from)
	} else {
		c.readPacketMessage(from)
	}
	return c.err
}
