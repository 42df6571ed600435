package watch

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

const (
	testBeat     = time.Second
	testPatience = 10 * time.Second
)

func watchOf(opts Options, plan Plan) *Watch {
	opts.Shards, opts.Beat, opts.Patience = len(plan), testBeat, testPatience
	return New(opts, plan, 0)
}

// pollOf returns the poll of a store, which there must be.
func pollOf(t *testing.T, w *Watch, to view.NodeID, now time.Duration) Poll {
	t.Helper()
	for _, p := range w.Polls(now) {
		if p.To == to {
			return p
		}
	}
	t.Fatalf("%v is not polled at %v", to, now)
	return Poll{}
}

// placesOf is where a watch stands by shard, by what was told when its stands changed last
// and where its sources are.
func placesOf(w *Watch) []Place {
	stands, number := w.Stands()
	if number != w.StandsNumber() {
		panic("two numbers")
	}
	out := make([]Place, len(stands))
	for i := range stands {
		if out[i] = stands[i].Place; stands[i].Followed && !slices.Contains(w.Sources(), out[i]) {
			panic("a source is not where it is")
		}
	}
	return out
}

func wantMarks(t *testing.T, w *Watch, want ...Mark) {
	t.Helper()
	if got := w.Marks(); !reflect.DeepEqual(got, want) {
		t.Fatalf("marks %+v, want %+v", got, want)
	}
}

// begun is a watch whose shards, all of store 1, are current at a position.
func begun(t *testing.T, plan Plan) *Watch {
	w := watchOf(Options{}, plan)
	p := pollOf(t, w, 1, 0)
	if p.At != (Position{}) {
		t.Fatalf("a watch begins at %v", p.At)
	}
	w.Answered(p.ID, Answer{At: Position{7, 100}}, 0)
	return w
}

func TestWatchBeginsWhereTheChangesHaveComeTo(t *testing.T) {
	w := begun(t, Plan{{1, 2}, {1, 2}})
	wantMarks(t, w, Mark{Shards: []int{0, 1}})
	if p := pollOf(t, w, 1, 0); p.At != (Position{7, 100}) || w.Fills(0) != nil {
		t.Fatalf("it goes on with %+v", p)
	}
}

func TestPresentValuesAreReadOnceTheSourceHasToldItsPosition(t *testing.T) {
	w := watchOf(Options{Present: true}, Plan{{1, 2}, {2, 1}})
	polls := w.Polls(0)
	if len(polls) != 2 || w.Fills(0) != nil {
		t.Fatal("it is read too soon")
	}
	w.Answered(polls[0].ID, Answer{At: Position{7, 1}}, 0)
	if fills := w.Fills(0); !slices.Equal(fills, []Fill{{0, 1}}) {
		t.Fatalf("fills %+v", fills)
	}
	w.Answered(polls[1].ID, Answer{At: Position{8, 1}}, 0)
	if w.Fills(0) != nil {
		t.Fatal("two fills at a time")
	}
	w.Filled(func(int) bool { return true }, 0)
	wantMarks(t, w, Mark{Shards: []int{0}, Open: 1})
	if fills := w.Fills(0); !slices.Equal(fills, []Fill{{1, 2}}) {
		t.Fatalf("fills %+v", fills)
	}
	w.Filled(func(int) bool { return false }, 0)
	wantMarks(t, w, Mark{Gap: true, Shards: []int{1}, Open: 1})
	if w.Fills(testBeat-1) != nil || len(w.Fills(testBeat)) != 1 {
		t.Fatal("what was not read whole is not read again a beat later")
	}
}

func TestSilentSourceIsGivenUpAfterThreeBeats(t *testing.T) {
	w := begun(t, Plan{{1, 2}})
	w.Marks()
	p := pollOf(t, w, 1, 0)
	if p.Within != 3*testBeat {
		t.Fatalf("a poll has %v", p.Within)
	}
	w.Failed(p.ID, 0)
	p = pollOf(t, w, 1, testBeat/2) // it is asked again first
	w.Failed(p.ID, 3*testBeat-1)
	wantMarks(t, w)
	p = pollOf(t, w, 1, 4*testBeat)
	w.Failed(p.ID, 4*testBeat)
	wantMarks(t, w, Mark{Gap: true, Shards: []int{0}, Open: 1})
	p = pollOf(t, w, 2, 4*testBeat)
	w.Answered(p.ID, Answer{At: Position{8, 5}}, 4*testBeat)
	if len(w.Fills(4*testBeat)) != 1 {
		t.Fatal("the shard is not read anew")
	}
	w.Filled(func(int) bool { return true }, 4*testBeat)
	wantMarks(t, w, Mark{Shards: []int{0}})
	if w.Replan(Plan{{1, 2}}, time.Hour); w.Polls(time.Hour)[0].To != 2 {
		t.Error("a source that does well is left")
	}
}

func TestSourceThatIsBackGoesOnWhereItWas(t *testing.T) {
	w := begun(t, Plan{{1}, {1}})
	w.Marks()
	w.Failed(pollOf(t, w, 1, 0).ID, 3*testBeat)
	wantMarks(t, w, Mark{Gap: true, Shards: []int{0, 1}, Open: 2})
	if w.Polls(3*testBeat) != nil || placesOf(w)[1] != (Place{1, Position{7, 100}}) {
		t.Fatal("it is not left alone, or its place is lost")
	}
	now := 3*testBeat + testPatience
	p := pollOf(t, w, 1, now)
	if p.At != (Position{7, 100}) {
		t.Fatalf("it goes on from %v", p.At)
	}
	w.Answered(p.ID, Answer{At: Position{7, 130}}, now)
	wantMarks(t, w, Mark{Shards: []int{0, 1}})
	if w.Fills(now) != nil {
		t.Error("it is read anew for nothing")
	}
}

func TestWhatWasForgotten(t *testing.T) {
	w := begun(t, Plan{{1}})
	w.Answered(pollOf(t, w, 1, 0).ID, Answer{At: Position{7, 200}, Forgotten: true}, 0)
	if !w.IsTooSlow() {
		t.Error("a watcher that does not fetch in time is not too slow")
	}
	for name, at := range map[string]Position{"restarted": {9, 3}, "out of reach": {7, 200}} {
		w := begun(t, Plan{{1}})
		w.Marks()
		if name == "out of reach" {
			w.Failed(pollOf(t, w, 1, 0).ID, 0)
		}
		p := pollOf(t, w, 1, testBeat)
		w.Answered(p.ID, Answer{At: at, Forgotten: true}, 0)
		wantMarks(t, w, Mark{Gap: true, Shards: []int{0}, Open: 1})
		if w.IsTooSlow() || len(w.Fills(testBeat)) != 1 || placesOf(w)[0] != (Place{}) {
			t.Errorf("%s: it is not made good", name)
		}
	}
}

func TestRefusedShardGoesElsewhere(t *testing.T) {
	w := begun(t, Plan{{1, 2}, {1, 2}})
	w.Marks()
	w.Answered(pollOf(t, w, 1, 0).ID, Answer{At: Position{7, 101}, Refused: []int{1, 99}}, 0)
	wantMarks(t, w, Mark{Gap: true, Shards: []int{1}, Open: 1})
	p := pollOf(t, w, 2, 0)
	if p.At != (Position{}) || !slices.Equal(p.Shards, []bool{false, true}) {
		t.Fatalf("2 is asked %+v", p)
	}
}

// A store has left out what it knows of a shard that it refuses: it does not go on there.
func TestRefusedShardIsReadAnewWhereItWas(t *testing.T) {
	w := begun(t, Plan{{1}})
	w.Answered(pollOf(t, w, 1, 0).ID, Answer{At: Position{7, 101}, Refused: []int{0}}, 0)
	if at := placesOf(w)[0]; at != (Place{}) {
		t.Errorf("it stands at %v", at)
	}
	p := pollOf(t, w, 1, testPatience)
	w.Answered(p.ID, Answer{At: Position{7, 110}}, testPatience)
	if len(w.Fills(testPatience)) != 1 {
		t.Error("it is not read anew")
	}
}

// Two homes that refuse a shard do not take turns: the third one is followed, and the shard
// is read no more often than once in a beat.
func TestHomesThatRefuseAreAllLeftAlone(t *testing.T) {
	w := begun(t, Plan{{1, 2, 3}})
	for _, to := range []view.NodeID{1, 2} {
		p := pollOf(t, w, to, 0)
		w.Answered(p.ID, Answer{At: Position{uint64(to) + 6, 100}, Refused: []int{0}}, 0)
	}
	p := pollOf(t, w, 3, 0)
	w.Answered(p.ID, Answer{At: Position{9, 100}}, 0)
	if len(w.Fills(0)) != 1 {
		t.Fatal("it is not read anew")
	}
	w.Filled(func(int) bool { return true }, 0)
	p = pollOf(t, w, 3, 0)
	w.Answered(p.ID, Answer{At: Position{9, 101}, Refused: []int{0}}, 0)
	if polls := w.Polls(testPatience - 1); len(polls) != 0 {
		t.Fatalf("one that has refused is asked again: %+v", polls)
	}
	pollOf(t, w, 1, testPatience)
}

func TestShardInDoubtAgainAndAgainIsReadOnceInABeat(t *testing.T) {
	w := begun(t, Plan{{1}})
	fills, now := 0, time.Duration(0)
	for seq := uint64(101); now < 10*testBeat; seq++ {
		w.Answered(pollOf(t, w, 1, now).ID, Answer{At: Position{7, seq}, Doubtful: []int{0}}, now)
		if len(w.Fills(now)) > 0 {
			fills++
			w.Filled(func(int) bool { return true }, now)
		}
		now += testBeat / 10
	}
	if fills != 10 {
		t.Errorf("%d fills in 10 beats", fills)
	}
}

func TestShardThatComesBackLaterIsReadAnew(t *testing.T) {
	w := begun(t, Plan{{1, 2}, {1, 2}})
	w.Replan(Plan{{1, 2}, {}}, 0)
	w.Answered(pollOf(t, w, 1, 0).ID, Answer{At: Position{7, 150}}, 0) // without shard 1
	w.Replan(Plan{{1, 2}, {1}}, 0)
	if fills := w.Fills(0); !slices.Equal(fills, []Fill{{1, 1}}) {
		t.Fatalf("fills %+v: what came up to 150 is missing", fills)
	}
}

func TestDoubtfulShardIsReadAnew(t *testing.T) {
	w := begun(t, Plan{{1}, {1}})
	w.Marks()
	w.Answered(pollOf(t, w, 1, 0).ID, Answer{At: Position{7, 101}, Doubtful: []int{0, 99}}, 0)
	wantMarks(t, w, Mark{Gap: true, Shards: []int{0}, Open: 1})
	if fills := w.Fills(0); !slices.Equal(fills, []Fill{{0, 1}}) {
		t.Fatalf("fills %+v", fills)
	}
}

func TestShardThatComesToASourceVoidsThePollUnderWay(t *testing.T) {
	w := watchOf(Options{}, Plan{{1, 2}, {2}})
	for _, p := range w.Polls(0) {
		w.Answered(p.ID, Answer{At: Position{uint64(p.To), 10}}, 0)
	}
	w.Marks()
	p := pollOf(t, w, 1, 0) // nobody is under way to 2 but what Polls has returned, too
	w.Replan(Plan{{1, 2}, {1}}, 0)
	if w.Follows(p.ID, 0) {
		t.Error("the answer without the new shard counts")
	}
	w.Answered(p.ID, Answer{At: Position{1, 50}}, 0)
	if p = pollOf(t, w, 1, 0); p.At.Seq != 10 || !w.Follows(p.ID, 1) || w.Follows(p.ID, 2) || w.Follows(p.ID, -1) {
		t.Errorf("polled %+v", p)
	}
	if fills := w.Fills(0); !slices.Equal(fills, []Fill{{1, 1}}) {
		t.Errorf("fills %+v", fills)
	}
}

// A poll under way is somebody else's, too.
func TestPollUnderWayIsNotChanged(t *testing.T) {
	w := watchOf(Options{}, Plan{{1, 2}, {2}, {1}})
	p := pollOf(t, w, 1, 0)
	w.Replan(Plan{{1, 2}, {1}, {2}}, 0)
	if next := pollOf(t, w, 1, 0); !slices.Equal(p.Shards, []bool{true, false, true}) || !slices.Equal(next.Shards, []bool{true, true, false}) {
		t.Errorf("polls of %v, then of %v", p.Shards, next.Shards)
	}
}

func TestSourcesStandWhereTheyHaveAnswered(t *testing.T) {
	w := watchOf(Options{}, Plan{{1}, {2}})
	want := func(places ...Place) {
		t.Helper()
		if got := w.Sources(); !slices.Equal(got, places) {
			t.Errorf("sources %v, want %v", got, places)
		}
	}
	want(Place{Store: 1}, Place{Store: 2})
	before := w.Sources()
	w.Answered(pollOf(t, w, 1, 0).ID, Answer{At: Position{7, 9}}, 0)
	want(Place{1, Position{7, 9}}, Place{Store: 2})
	if before[0].At != (Position{}) {
		t.Error("what was told of the sources has changed")
	}
	w.Replan(Plan{{1}, {1}}, 0)
	want(Place{1, Position{7, 9}})
	w.Replan(Plan{{1}, {3}}, 0)
	want(Place{1, Position{7, 9}}, Place{Store: 3})
}

func TestCursorGoesOn(t *testing.T) {
	plan := Plan{{3, 1}, {1}, {2}}
	w := watchOf(Options{From: []Place{{1, Position{7, 9}}, {}, {1, Position{7, 9}}}}, plan)
	wantMarks(t, w, Mark{Gap: true, Shards: []int{1, 2}, Open: 3}) // 1 was not current, 2 has another home
	polls := w.Polls(0)
	if len(polls) != 2 || polls[0].At != (Position{7, 9}) || polls[1].At != (Position{}) {
		t.Fatalf("polls %+v", polls)
	}
	w.Answered(polls[0].ID, Answer{At: Position{7, 11}}, 0)
	wantMarks(t, w, Mark{Shards: []int{0}, Open: 2})
}
