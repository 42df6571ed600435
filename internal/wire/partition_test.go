package wire

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

func partitionFormats() []meshFormat {
	e, m := Election{Name: "mesh"}, Election{Name: "plc-writer", Scope: 1}
	notice := Notice{
		Node: 1 << 63, Boot: 7, Seq: 300, Up: 90 * time.Second, Score: 4000, Cloud: 2, Isolated: true,
		Unreachable: []view.NodeID{3, 9}, Standing: []Stand{{Election: e}, {Election: m}}, Leads: []Claim{{m, 70000}},
		Voters: Voters{Version: 1, IDs: []view.NodeID{3, 5, 1 << 60}},
	}
	prefers := notice
	prefers.Standing = []Stand{{e, 1}, {m, 0}, {Election{Name: "line"}, 1<<32 - 1}}
	return []meshFormat{
		format("notice-swap-prefers", NoticeSwap{Have: []Notice{prefers}}, appended(AppendNoticeSwap), decodeAllNotices),
		format("elect-renewals", ElectRenewals{Lease: 2 * time.Second, List: []Renewal{
			{Election{Name: "service/line-1", Scope: 1}, 7}, {Election{Name: "service/line-2"}, 1 << 40}, {Election{Name: "service/line-2", Scope: 1}, 1}, {Election{Name: "serv"}, 1},
		}}, appended(AppendElectRenewals), DecodeElectRenewals),
		format("elect-renewed", ElectRenewed{Granted: []bool{true, false, true}}, appended(AppendElectRenewed), DecodeElectRenewed),
		format("elect-ask", ElectAsk{Election: m, Term: 1 << 40, Renew: true, Electorate: 1 << 63, Lease: 2 * time.Second, Score: 65000}, appended(AppendElectAsk), DecodeElectAsk),
		format("elect-answer", ElectAnswer{Reason: 1, Max: 9, Wait: 1500 * time.Millisecond, Holder: token.Token{Term: 9, Node: 4}}, appended(AppendElectAnswer), DecodeElectAnswer),
		format("elect-back", ElectBack{Election: e, Term: 4, Nominee: 77}, appended(AppendElectBack), DecodeElectBack),
		format("elect-state", ElectState{Election: m, Max: 12, Grant: token.Token{Term: 12, Node: 4}, Lease: time.Minute}, appended(AppendElectState), DecodeElectState),
		format("voters", Voters{Version: 1, IDs: []view.NodeID{1, 2, 1 << 62}}, appended(AppendVoters), DecodeVoters),
		format("notice-sums", NoticeSums{Digest: 1 << 61, Sums: []NoticeSum{{5, NoticeVersion{2, 70}}, {1 << 63, NoticeVersion{1, 1}}}}, appended(AppendNoticeSums), DecodeNoticeSums),
		format("resources", Resources{Score: 1 << 40, CPU: 4000, FreeCPU: 1500, Memory: 1 << 33, FreeMemory: 1 << 30, Storage: 1 << 40, FreeStorage: 1 << 39, Mains: true, Battery: NoBattery, Uptime: time.Hour}, appended(AppendResources), DecodeResources),
		format("notice-swap", NoticeSwap{Have: []Notice{notice, {Node: 2}}, Want: []view.NodeID{8}}, appended(AppendNoticeSwap), decodeAllNotices),
	}
}

func decodeAllNotices(data []byte) (NoticeSwap, error) {
	return DecodeNoticeSwap(data, func(NoticeSum) bool { return true })
}

// Notices that nobody wants are not kept while the rest is read.
func TestUnwantedNoticesAreNotKept(t *testing.T) {
	sent := NoticeSwap{Have: []Notice{{Node: 4, Boot: 1, Seq: 2}, {Node: 5, Boot: 3, Seq: 4}, {Node: 6}}, Want: []view.NodeID{8}}
	got, err := DecodeNoticeSwap(AppendNoticeSwap(nil, sent), func(s NoticeSum) bool { return s == NoticeSum{5, NoticeVersion{3, 4}} })
	if err != nil || len(got.Have) != 1 || got.Have[0].Node != 5 || len(got.Want) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// Releases that know of no preferences read notices that have some, and hand them on whole:
// to them a preference is an election of an unknown scope. Who is not preferred sends not a
// byte more.
func TestPreferencesInNotices(t *testing.T) {
	line, press := Election{Name: "line", Scope: 1}, Election{Name: "press"}
	bytesOf := func(list ...Stand) []byte { return appendFields(nil, &list, earlierStanding) }
	encode := func(list ...Stand) []byte {
		return appendFields(nil, &list, func(l *[]Stand, c *codec) { codeStanding(c, l) })
	}
	if got, want := encode(Stand{Election: line}, Stand{Election: press}), bytesOf(Stand{Election: line}, Stand{Election: press}); !bytes.Equal(got, want) {
		t.Errorf("without preferences %x instead of %x", got, want)
	}
	for preference, more := range map[uint32]int{1: 3, 255: 3, 256: 4, 1<<32 - 1: 6} {
		sent := []Stand{{line, preference}, {Election: press}}
		told := encode(sent...)
		if n := len(told) - len(encode(Stand{Election: line}, Stand{Election: press})); n != more {
			t.Errorf("a preference of %d takes %d bytes", preference, n)
		}
		read, err := readFields(told, "earlier", earlierStanding)
		if err != nil || len(read) != 3 || read[0].Election != line || read[2].Election != press {
			t.Errorf("an earlier release reads %+v, %v", read, err)
		}
		got, err := readFields(bytesOf(read...), "now", func(l *[]Stand, c *codec) { codeStanding(c, l) })
		if err != nil || !slices.Equal(got, sent) {
			t.Errorf("handed on by an earlier release it is %+v, %v", got, err)
		}
	}
	all := slices.Repeat([]Stand{{Election{Name: strings.Repeat("x", MaxElectionName)}, 1<<32 - 1}}, MaxElections)
	if got, err := decodeAllNotices(AppendNoticeSwap(nil, NoticeSwap{Have: []Notice{{Node: 1, Standing: all}}})); err != nil || !slices.Equal(got.Have[0].Standing, all) {
		t.Errorf("as many as there may be: %v", err)
	}
}

// earlierStanding is how releases before preferences have read and written the list.
func earlierStanding(list *[]Stand, c *codec) {
	for i := range codeList(c, list, 2, MaxElections) {
		(*list)[i].Election.codeFields(c)
	}
}

func TestPartitionFormats(t *testing.T) { roundTrips(t, partitionFormats()) }

func TestPartitionFormatsGolden(t *testing.T) { goldenFormats(t, "partition", partitionFormats()) }

func TestPartitionDecodersRefuse(t *testing.T) {
	bad := map[string]error{}
	add := func(what string, err error) { bad[what] = err }
	_, err := DecodeElectAsk(AppendElectAsk(nil, ElectAsk{}))
	add("election without a name", err)
	_, err = DecodeElectAnswer(AppendElectAnswer(nil, ElectAnswer{Holder: token.Token{Term: 1}}))
	add("half a token", err)
	_, err = DecodeElectState(AppendElectState(nil, ElectState{Election: Election{Name: "x"}, Max: 1, Grant: token.Token{Term: 2, Node: 1}}))
	add("a grant above the highest term", err)
	_, err = DecodeVoters(AppendVoters(nil, Voters{Version: 1, IDs: []view.NodeID{2, 1}}))
	add("voters out of order", err)
	_, err = DecodeVoters(AppendVoters(nil, Voters{Version: 1}))
	add("no voters", err)
	_, err = DecodeVoters(AppendVoters(nil, Voters{Version: 1, IDs: []view.NodeID{1, 2, 3, 4, 5, 6, 7, 8}}))
	add("too many voters", err)
	_, err = DecodeNoticeSums([]byte{1, 0, 0x92, 1, 1})
	add("part of a sum", err)
	_, err = decodeAllNotices(AppendNoticeSwap(nil, NoticeSwap{Have: []Notice{{}}}))
	add("a notice of nobody", err)
	_, err = DecodeElectRenewals([]byte{1, 5, 0x94, 1, 0xa1, 'x', 0, 1})
	add("a name that begins as none before", err)
	_, err = DecodeElectRenewals([]byte{1, 5, 0x94, 0, 0xa0, 0, 1})
	add("a renewal without a name", err)
	_, err = DecodeElectRenewals(AppendElectRenewals(nil, ElectRenewals{List: []Renewal{{Election{Name: strings.Repeat("x", MaxElectionName)}, 1}, {Election{Name: strings.Repeat("x", MaxElectionName+1)}, 1}}}))
	add("a name that is too long in parts", err)
	_, err = DecodeElectRenewals(AppendElectRenewals(nil, ElectRenewals{List: slices.Repeat([]Renewal{{Election{Name: "x"}, 1}}, MaxElections+1)}))
	add("too many renewals", err)
	none, prefers, zero := Stand{Election: Election{Name: "x"}}, Stand{Election: Election{Name: "\x05", Scope: preferenceScope}}, Stand{Election: Election{Name: "\x00\x05", Scope: preferenceScope}}
	for what, list := range map[string][]Stand{
		"a preference for nothing": {prefers}, "two preferences": {none, prefers, prefers}, "a preference in more bytes than it takes": {none, zero},
		"a preference in too many bytes": {none, {Election: Election{Name: "12345", Scope: preferenceScope}}}, "too many elections": slices.Repeat([]Stand{none}, MaxElections+1),
	} {
		_, err = decodeAllNotices(AppendNoticeSwap(nil, NoticeSwap{Have: []Notice{{Node: 1, Standing: list}}}))
		add(what, err)
	}
	for what, err := range bad {
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", what, err)
		}
	}
}

func FuzzDecodeElectAsk(f *testing.F) { fuzzMesh(f, appended(AppendElectAsk), DecodeElectAsk) }

func FuzzDecodeElectAnswer(f *testing.F) { fuzzMesh(f, appended(AppendElectAnswer), DecodeElectAnswer) }

func FuzzDecodeElectBack(f *testing.F) { fuzzMesh(f, appended(AppendElectBack), DecodeElectBack) }

func FuzzDecodeElectState(f *testing.F) { fuzzMesh(f, appended(AppendElectState), DecodeElectState) }

func FuzzDecodeVoters(f *testing.F) { fuzzMesh(f, appended(AppendVoters), DecodeVoters) }

func FuzzDecodeNoticeSums(f *testing.F) { fuzzMesh(f, appended(AppendNoticeSums), DecodeNoticeSums) }

func FuzzDecodeResources(f *testing.F) { fuzzMesh(f, appended(AppendResources), DecodeResources) }

func FuzzDecodeNoticeSwap(f *testing.F) { fuzzMesh(f, appended(AppendNoticeSwap), decodeAllNotices) }

func FuzzDecodeElectRenewals(f *testing.F) {
	fuzzMesh(f, appended(AppendElectRenewals), DecodeElectRenewals)
}

func FuzzDecodeElectRenewed(f *testing.F) {
	fuzzMesh(f, appended(AppendElectRenewed), DecodeElectRenewed)
}
