package wire

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func objectFormats() []meshFormat {
	return []meshFormat{
		format("object-ask-put", ObjectAsk{Deed: PutObject, Name: "m/n/c/s-1", Upload: 1 << 63, Offset: MaxObjectPiece, Size: MaxObject, Data: []byte("piece")}, appended(AppendObjectAsk), DecodeObjectAsk),
		format("object-ask-list", ObjectAsk{Deed: ListObjects, Name: "m/", After: "m/n/c/s-1"}, appended(AppendObjectAsk), DecodeObjectAsk),
		format("object-answer", ObjectAnswer{Objects: []ObjectTold{{"m/n/c/s-1", MaxObject, time.UnixMilli(1 << 41).UTC()}, {Name: "m/n/c/s-2", Time: time.UnixMilli(-1).UTC()}}, More: true}, appended(AppendObjectAnswer), DecodeObjectAnswer),
		format("object-answer-piece", ObjectAnswer{Data: []byte("piece")}, appended(AppendObjectAnswer), DecodeObjectAnswer),
		format("object-answer-fault", ObjectAnswer{Fault: 1 << 40, Text: "why"}, appended(AppendObjectAnswer), DecodeObjectAnswer),
	}
}

func TestObjectFormats(t *testing.T) { roundTrips(t, objectFormats()) }

func TestObjectFormatsGolden(t *testing.T) { goldenFormats(t, "backup", objectFormats()) }

func TestObjectFormatsHaveLimits(t *testing.T) {
	for name, data := range map[string][]byte{
		"a long name":       AppendObjectAsk(nil, ObjectAsk{Name: strings.Repeat("a", maxObjectName+1)}),
		"a large piece":     AppendObjectAsk(nil, ObjectAsk{Data: make([]byte, MaxObjectPiece+1)}),
		"a large object":    AppendObjectAsk(nil, ObjectAsk{Size: MaxObject + 1}),
		"an offset outside": AppendObjectAsk(nil, ObjectAsk{Offset: MaxObject + 1}),
	} {
		if _, err := DecodeObjectAsk(data); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := DecodeObjectAnswer(AppendObjectAnswer(nil, ObjectAnswer{Objects: make([]ObjectTold, MaxObjectPage+1)})); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
	told, err := DecodeObjectAnswer(AppendObjectAnswer(nil, ObjectAnswer{Fault: 1, Text: strings.Repeat("x", 1<<20)}))
	if err != nil || len(told.Text) != maxObjectFault {
		t.Errorf("text of %d bytes, %v", len(told.Text), err)
	}
}

func FuzzDecodeObjectAsk(f *testing.F) {
	fuzzObjects(f, appended(AppendObjectAsk), DecodeObjectAsk)
}

func FuzzDecodeObjectAnswer(f *testing.F) {
	fuzzObjects(f, appended(AppendObjectAnswer), DecodeObjectAnswer)
}

func fuzzObjects[T any](f *testing.F, encode func(T) []byte, decode func([]byte) (T, error)) {
	for _, s := range objectFormats() {
		f.Add(s.encode(s.sample))
	}
	f.Fuzz(func(t *testing.T, data []byte) { readsBack(t, data, decode, func(v *T) []byte { return encode(*v) }) })
}
