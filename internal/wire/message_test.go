package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

func decodeAllMessages(data []byte) (MessageSwap, error) {
	return DecodeMessageSwap(data, func(MessageSum) bool { return true })
}

func keyed(node view.NodeID, boot, seq uint64) MessageKey {
	return NewMessageKey(node, NoticeVersion{boot, seq})
}

func messageFormats() []meshFormat {
	a, b := keyed(7, 2, 300), keyed(1<<63, 1, 1)
	return []meshFormat{
		format("message-sums", MessageSums{Digest: 1 << 61, Sums: []MessageSum{{Key: a}, {Key: b}}}, appended(AppendMessageSums), DecodeMessageSums),
		format("message-swap", MessageSwap{Have: []Message{
			{Key: a, Age: 1500 * time.Millisecond, Topic: "alarm", Payload: []byte("hot")}, {Key: b, Topic: "t"},
		}, Want: []MessageKey{b}}, appended(AppendMessageSwap), decodeAllMessages),
	}
}

func TestMessageFormats(t *testing.T) { roundTrips(t, messageFormats()) }

func TestMessageFormatsGolden(t *testing.T) { goldenFormats(t, "mesh", messageFormats()) }

func TestMessageKey(t *testing.T) {
	k := keyed(1<<63+5, 9, 1<<40)
	if k.Node() != 1<<63+5 || k.Version() != (NoticeVersion{9, 1 << 40}) {
		t.Errorf("%v %v", k.Node(), k.Version())
	}
	if keyed(1, 1, 255) >= keyed(1, 1, 256) || keyed(1, 1, 1<<60) >= keyed(1, 2, 1) {
		t.Error("keys are not in the order of publishing")
	}
}

// One message that cannot be read is left out, and the others are read.
func TestMessagesThatCannotBeReadAreLeftOut(t *testing.T) {
	good := Message{Key: keyed(9, 1, 1), Topic: "t", Payload: []byte("p")}
	for name, bad := range map[string]Message{
		"a long payload": {Key: keyed(8, 1, 1), Topic: "t", Payload: make([]byte, MaxPayload+1)},
		"a long topic":   {Key: keyed(8, 1, 1), Topic: strings.Repeat("t", MaxTopic+1)},
		"a huge payload": {Key: keyed(8, 1, 1), Topic: "t", Payload: make([]byte, 1<<16)},
	} {
		got, err := decodeAllMessages(AppendMessageSwap(nil, MessageSwap{Have: []Message{bad, good}}))
		if err != nil || len(got.Have) != 1 || got.Have[0].Key != good.Key {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	unwanted, err := DecodeMessageSwap(AppendMessageSwap(nil, MessageSwap{Have: []Message{good}}), func(MessageSum) bool { return false })
	if err != nil || len(unwanted.Have) != 0 {
		t.Errorf("unwanted ones are kept: %+v, %v", unwanted, err)
	}
	data := AppendMessageSwap(nil, MessageSwap{Have: []Message{good}})
	got, _ := decodeAllMessages(data)
	clear(data)
	if !bytes.Equal(got.Have[0].Payload, []byte("p")) {
		t.Error("a payload lies in the message that it came in")
	}
	for name, swap := range map[string]MessageSwap{
		"no node":     {Have: []Message{{Key: keyed(0, 1, 1)}}},
		"half a key":  {Want: []MessageKey{keyed(1, 1, 1)[:23]}},
		"a key extra": {Want: []MessageKey{keyed(1, 1, 1) + "x"}},
	} {
		if _, err := decodeAllMessages(AppendMessageSwap(nil, swap)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeMessageSums(f *testing.F) { fuzzMesh(f, appended(AppendMessageSums), DecodeMessageSums) }

func FuzzDecodeMessageSwap(f *testing.F) { fuzzMesh(f, appended(AppendMessageSwap), decodeAllMessages) }
