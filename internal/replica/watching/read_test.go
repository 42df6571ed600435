package watching

import (
	"testing"

	"github.com/skeinmesh/skein/internal/watch"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/version"
)

// What one has read others need not read again, and nobody is shown another change for it.
func TestItemsAreReadOnceForAll(t *testing.T) {
	var l lastRead
	read := func(epoch, seq uint64, value string) *byte {
		t.Helper()
		a := version.Actor{Store: 1, Session: 1, Seq: 1}
		it := version.Item{Ctx: version.Context{{A: a, N: seq}}, Sibs: []version.Sibling{{Dot: version.Dot{A: a, N: seq}, Value: []byte(value)}}}
		got, err := l.readItem(watch.Position{Epoch: epoch, Seq: seq}, wire.AppendItem(nil, &it))
		if err != nil || !got.Equal(it) || string(got.Sibs[0].Value) != value {
			t.Fatalf("%d of %d is %+v, %v", seq, epoch, got, err)
		}
		return &got.Sibs[0].Value[0]
	}
	a := read(1, 1, "a")
	if read(1, 1, "a") != a {
		t.Error("it is read again")
	}
	read(1, 1+mostRead, "later")
	b := read(2, 1+mostRead, "b")
	read(2, 1, "of another ring")
	if read(2, 1+mostRead, "b") != b {
		t.Error("who is late takes the place of what others come to")
	}
	if _, err := l.readItem(watch.Position{Epoch: 2, Seq: 2}, []byte("no item")); err == nil {
		t.Error("what does not read is read")
	}
	read(2, 2, "c")
	l.forgetAll()
	if read(2, 1+mostRead, "b") == b {
		t.Error("nothing is forgotten")
	}
}
