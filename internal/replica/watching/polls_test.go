package watching

import (
	"testing"

	"github.com/skeinmesh/skein/internal/watch"
)

// A poll that was matched is not looked at again, however long its answer takes: it is as if
// it did not wait, but it is counted.
func TestPollThatWasMatchedIsOutOfTheWay(t *testing.T) {
	w := newWaitingPolls()
	polls := make([]*waitingPoll, 3)
	for i, prefix := range []string{"a", "a", "b"} {
		polls[i] = &waitingPoll{about: subject{9, prefix}, shards: allShards()}
		w.addPoll(polls[i])
	}
	polls[1].seen = 5
	if woken := w.matchEntry(&watch.Entry{Bucket: 9, Key: "ab"}, 5, nil); len(woken) != 1 || woken[0] != polls[0] {
		t.Fatalf("woken %+v", woken)
	}
	if len(w.by) != 2 || len(w.by[polls[0].about]) != 1 || w.count != 3 {
		t.Errorf("there wait %+v", w)
	}
	w.removePoll(polls[0])
	if woken := w.wakeAll(6, nil); len(woken) != 2 || len(w.by)+len(w.lengths) != 0 || w.count != 2 {
		t.Errorf("there wait %+v", w)
	}
	w.removePoll(polls[1])
	w.removePoll(polls[2])
	if len(w.by)+len(w.lengths)+w.count != 0 {
		t.Errorf("there is left %+v", w)
	}
}
