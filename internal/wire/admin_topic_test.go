package wire

import (
	"errors"
	"strings"
	"testing"
)

func adminTopicSamples() []sample {
	publish := AdminPublish{Topic: "alarm", Payload: []byte("81\x00\xff")}
	begin, next := AdminSubscribe{Topic: "alarm"}, AdminSubscribe{Session: 1 << 63, End: true}
	messages := AdminMessages{Session: 1 << 63, Messages: []AdminMessage{{From: 1<<63 + 1, Payload: []byte("hot")}, {From: 2, Payload: []byte{}, Lost: 300}}}
	return []sample{
		{"publish", AppendAdminPublish(nil, &publish), publish, as(DecodeAdminPublish)},
		{"subscribe", AppendAdminSubscribe(nil, &begin), begin, as(DecodeAdminSubscribe)},
		{"subscribe-next", AppendAdminSubscribe(nil, &next), next, as(DecodeAdminSubscribe)},
		{"messages", AppendAdminMessages(nil, &messages), messages, as(DecodeAdminMessages)},
		{"messages-none", AppendAdminMessages(nil, &AdminMessages{Session: 1}), AdminMessages{Session: 1}, as(DecodeAdminMessages)},
	}
}

// What is larger than a message may be is refused, and as many as are sent are read.
func TestAdminMessagesAreBounded(t *testing.T) {
	large := []byte(strings.Repeat("x", MaxPayload))
	if _, err := DecodeAdminPublish(AppendAdminPublish(nil, &AdminPublish{Topic: "t", Payload: append(large, 'x')})); !errors.Is(err, ErrMalformed) {
		t.Errorf("a payload that is too large: %v", err)
	}
	for payload, n := range map[string]int{"": MostAdminMessages, string(large): MostAdminMessages} {
		m := AdminMessages{Session: 1}
		for range n {
			m.Messages = append(m.Messages, AdminMessage{From: 1, Payload: []byte(payload)})
		}
		if got, err := DecodeAdminMessages(AppendAdminMessages(nil, &m)); err != nil || len(got.Messages) != n {
			t.Errorf("%d messages of %d bytes: %d, %v", n, len(payload), len(got.Messages), err)
		}
		m.Messages = append(m.Messages, m.Messages[0])
		if _, err := DecodeAdminMessages(AppendAdminMessages(nil, &m)); !errors.Is(err, ErrMalformed) {
			t.Errorf("one more message of %d bytes: %v", len(payload), err)
		}
	}
}

func FuzzDecodeAdminPublish(f *testing.F) {
	fuzzAdmin(f, "publish", DecodeAdminPublish, func(m *AdminPublish) []byte { return AppendAdminPublish(nil, m) })
}

func FuzzDecodeAdminSubscribe(f *testing.F) {
	fuzzAdmin(f, "subscribe", DecodeAdminSubscribe, func(m *AdminSubscribe) []byte { return AppendAdminSubscribe(nil, m) })
}

func FuzzDecodeAdminMessages(f *testing.F) {
	fuzzAdmin(f, "messages", DecodeAdminMessages, func(m *AdminMessages) []byte { return AppendAdminMessages(nil, m) })
}
