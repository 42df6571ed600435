package retain

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// pointOf returns a point of policy p, days old at noon, with a segment of its own and one that it shares.
func pointOf(node view.NodeID, chain, seq uint64, age float64) Point {
	at := noon.Add(-time.Duration(age * float64(day)))
	p := Point{PointID: PointID{node, chain, seq}, Policy: "p", Time: at, Put: at, Segments: [][16]byte{{byte(seq)}, {0xff}}}
	p.Hash[0] = byte(seq)
	if p.Previous[0] = byte(seq - 1); seq == 1 {
		p.Previous = [32]byte{}
	}
	return p
}

// holdingsOf has all segments of some points.
func holdingsOf(points ...Point) Holdings {
	h := Holdings{Points: points, Keep: map[string]Keep{"p": {For: 10 * day, Every: day}}, Own: noon, Tier: noon}
	seen := map[SegmentID]bool{}
	for _, p := range points {
		for i := range p.Segments {
			if s := p.segment(i); !seen[s] {
				seen[s] = true
				h.Segments = append(h.Segments, Segment{s, p.Time})
			}
		}
	}
	return h
}

// drawPass tells what a pass deletes: m2 is the manifest 2, s2 the segment of its own.
func drawPass(t *testing.T, h Holdings) string {
	t.Helper()
	out, err := Prune(h)
	if err != nil {
		return err.Error()
	}
	var words []string
	for _, o := range out.Delete {
		if o.Seq > 0 {
			words = append(words, fmt.Sprint("m", o.Seq))
		} else {
			words = append(words, fmt.Sprint("s", o.Segment[0]))
		}
	}
	if out.More {
		words = append(words, "more")
	}
	return strings.Join(words, " ")
}

func TestWhatGoes(t *testing.T) {
	old := func() Holdings { // 1 to 3 are beyond, 4 and 5 are young
		return holdingsOf(pointOf(1, 7, 1, 30), pointOf(1, 7, 2, 20), pointOf(1, 7, 3, 11), pointOf(1, 7, 4, 9), pointOf(1, 7, 5, 0))
	}
	for name, c := range map[string]struct {
		change func(h *Holdings)
		want   string
	}{
		"the newest beyond stays":   {func(h *Holdings) {}, "m1 s1 m2 s2"},
		"bounded":                   {func(h *Holdings) { h.Most = 3 }, "m1 s1 m2 more"},
		"a policy without a rule":   {func(h *Holdings) { h.Keep = map[string]Keep{"q": {For: 1, Every: day}} }, ""},
		"kept for ever":             {func(h *Holdings) { h.Keep["p"] = Keep{Every: day} }, ""},
		"pinned":                    {func(h *Holdings) { h.Pinned = h.Points[:1:1] }, "m2 s2"},
		"pinned, its manifest gone": {func(h *Holdings) { h.Pinned, h.Points = h.Points[1:2:2], slices.Delete(slices.Clone(h.Points), 1, 2) }, "m1 s1"},
		"only old ones":             {func(h *Holdings) { h.Points = append(h.Points[:3:3], pointOf(2, 8, 1, 0)) }, "m1 s1 m2 s2"},
		"does not verify":           {func(h *Holdings) { h.Points[3] = Point{PointID: h.Points[3].PointID, Fault: errRead} }, ""},
		"the newest beyond is not whole": {func(h *Holdings) {
			h.Segments = slices.DeleteFunc(h.Segments, func(s Segment) bool { return s.ID[0] == 3 })
		},
			"m1 s1"},
		"none is whole": {func(h *Holdings) {
			h.Segments = slices.DeleteFunc(h.Segments, func(s Segment) bool { return s.ID[0] == 0xff })
		},
			"m1 s1 m2 s2"},
		"left lately": {func(h *Holdings) {
			h.Left = []view.NodeID{1}
			h.Keep["p"] = Keep{For: 10 * day, Lost: 12 * day, Every: day}
		}, "m1 s1 m2 s2"},
		"left long ago": {func(h *Holdings) {
			h.Left = []view.NodeID{1}
			h.Keep["p"] = Keep{For: 10 * day, Lost: 11 * day, Every: day}
		}, "m1 s1 m2 s2 m3 s3"},
		"left, lost before kept": {func(h *Holdings) { h.Left = []view.NodeID{1}; h.Keep["p"] = Keep{For: 10 * day, Lost: day, Every: day} }, "m1 s1 m2 s2 m3 s3"},
		"not left":               {func(h *Holdings) { h.Keep["p"] = Keep{For: 10 * day, Lost: day, Every: day} }, "m1 s1 m2 s2"},
		"left for ever":          {func(h *Holdings) { h.Left = []view.NodeID{1} }, "m1 s1 m2 s2"},
		"put again lately":       {func(h *Holdings) { h.Segments[0].Put = noon.Add(-23 * time.Hour) }, "m1 m2 s2"},
		"dates of 1970":          {func(h *Holdings) { h.Segments[0].Put = y70 }, "m1 s1 m2 s2"},
		"dates of 2106":          {func(h *Holdings) { h.Segments[0].Put = y106 }, "m1 s1 m2 s2"},
		"no dates":               {func(h *Holdings) { h.Segments[0].Put = time.Time{} }, "m1 s1 m2 s2"},
	} {
		h := old()
		if c.change(&h); true {
			if got := drawPass(t, h); got != c.want {
				t.Errorf("%s: %q, want %q", name, got, c.want)
			}
		}
	}
}

// TestSegmentsWithoutAName are of backups under way, or left over.
func TestSegmentsWithoutAName(t *testing.T) {
	for name, c := range map[string]struct {
		put   time.Time
		last  float64 // age of the newest manifest, in days
		quiet bool
		want  string
	}{
		"left over":                        {noon.Add(-3 * day), 1, false, "s9"},
		"under way for two days":           {noon.Add(-2 * day), 2.5, false, ""},
		"left over, and nothing is made":   {noon.Add(-2 * day), 2.5, true, "s9"},
		"of this day, and nothing is made": {noon.Add(-day), 0.5, true, ""},
		"undated":                          {time.Time{}, 0.5, true, ""},
		"of 1970":                          {y70, 0.5, true, ""},
		"of 2106":                          {y106, 0.5, true, ""},
	} {
		h := holdingsOf(pointOf(1, 7, 1, c.last), pointOf(2, 8, 1, 0))
		h.Segments = append(h.Segments, Segment{SegmentID{1, 7, [16]byte{9}}, c.put})
		h.Keep["p"] = Keep{For: 10 * day, Every: 3 * day}
		if c.quiet {
			h.Quiet = []view.NodeID{1}
		}
		if got := drawPass(t, h); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	h := holdingsOf(pointOf(1, 7, 1, 5), pointOf(1, 7, 2, 0))
	h.Points[1].Put = y106 // says nothing of when the last backup ended
	h.Segments = append(h.Segments, Segment{SegmentID{1, 7, [16]byte{9}}, noon.Add(-2 * day)})
	if got := drawPass(t, h); got != "" {
		t.Errorf("what may be under way goes: %q", got)
	}
	h = holdingsOf(pointOf(1, 7, 1, 5), pointOf(1, 7, 2, 0))
	h.Segments = append(h.Segments, Segment{SegmentID{1, 7, [16]byte{9}}, noon.Add(-2 * day)})
	h.Points[0] = Point{PointID: h.Points[0].PointID, Fault: errRead}
	if out, err := Prune(h); err != nil || len(out.Delete) > 0 || !slices.Equal(out.Faulty, []PointID{{1, 7, 1}}) {
		t.Errorf("in a chain at fault: %+v, %v", out, err)
	}
}

func TestTheTimeThatDecides(t *testing.T) {
	far := func(p Point, at time.Time) Point { p.Time = at; return p }
	nodes := func(at ...time.Time) (points []Point) {
		for i, t := range at {
			points = append(points, far(pointOf(view.NodeID(i+1), 7, 1, 0), t))
		}
		return points
	}
	ago := noon.Add(-3 * day)
	for name, c := range map[string]struct {
		points    []Point
		own, tier time.Time
		want      time.Time
		err       error
	}{
		"all agree":                         {nodes(noon, noon, noon), noon, noon, noon, nil},
		"two of five of 2106":               {nodes(noon, y106, noon, y106, noon), noon, time.Time{}, noon, nil},
		"this one of 1970":                  {nodes(noon, noon), y70, noon, noon, ErrClock},
		"this one of 2106":                  {nodes(noon, noon), y106, noon, noon, ErrClock},
		"this one a day behind":             {nodes(noon, noon), noon.Add(-25 * time.Hour), noon, noon, ErrClock},
		"ahead by less than the interval":   {nodes(noon, noon), noon.Add(47 * time.Hour), time.Time{}, noon, nil},
		"ahead by more":                     {nodes(noon, noon), noon.Add(49 * time.Hour), time.Time{}, noon, ErrClock},
		"the tier of 1970":                  {nodes(noon, noon), noon, y70, noon, ErrClock},
		"the tier of 2106":                  {nodes(noon, noon), noon, y106, noon, ErrClock},
		"the earlier of two":                {nodes(noon), noon, noon.Add(-time.Hour), noon.Add(-time.Hour), nil},
		"all others are silent":             {nodes(noon, ago, ago, ago), noon, noon, ago, ErrClock},
		"nobody has a clock":                {nodes(y70, y70), y70, y70, time.Time{}, ErrNoTime},
		"nothing is there":                  {nil, noon, time.Time{}, time.Time{}, ErrNoTime},
		"a chain given up in 2106":          {append(nodes(noon), far(pointOf(1, 6, 1, 0), y106)), noon, time.Time{}, noon, nil},
		"a chain given up long ago":         {append(nodes(noon), pointOf(1, 6, 1, 90)), noon, time.Time{}, noon, nil},
		"a chain goes on":                   {append(nodes(ago), far(pointOf(1, 7, 2, 0), noon)), noon, time.Time{}, noon, nil},
		"a point of another policy of 2106": {append(nodes(noon), func() Point { p := far(pointOf(1, 6, 1, 0), y106); p.Policy = "q"; return p }()), y106, time.Time{}, noon, ErrClock},
		"a policy that is made no more":     {append(nodes(noon), func() Point { p := pointOf(1, 6, 1, 90); p.Policy = "r"; return p }()), noon, time.Time{}, noon, nil},
		"those that have left":              {append(nodes(noon), pointOf(8, 7, 1, 90), pointOf(9, 7, 1, 90)), noon, time.Time{}, noon, nil},
		"one that does not verify":          {append(nodes(noon), Point{PointID: PointID{2, 2, 2}, Policy: "p", Time: ago, Fault: errRead}), noon, time.Time{}, noon, nil},
	} {
		h := Holdings{Points: c.points, Own: c.own, Tier: c.tier, Left: []view.NodeID{8, 9},
			Keep: map[string]Keep{"p": {For: 1, Every: day}, "q": {For: 1, Every: day}, "r": {For: 1}}}
		if now, err := h.judgeTime(); !errors.Is(err, c.err) || (err == nil) != (c.err == nil) || !now.Equal(c.want) {
			t.Errorf("%s: %v, %v", name, now, err)
		}
	}
}

func TestDates(t *testing.T) {
	at := func(seq uint64, own, put time.Time) Point {
		return Point{PointID: PointID{1, 1, seq}, Time: own, Put: put}
	}
	h := noon.Add
	points := []Point{
		at(4, h(-3*time.Hour), time.Time{}),
		at(1, h(-9*time.Hour), h(-8*time.Hour)), // its own
		at(2, y106, time.Time{}),                // the next one's
		at(3, y70, y106),
		at(5, y70, h(-2*time.Hour)),         // the tier's
		at(6, h(-4*time.Hour), time.Time{}), // behind the chain
		at(7, h(-1*time.Hour), time.Time{}),
		at(8, y106, y70), // the last
		{PointID: PointID{1, 2, 1}, Time: y70},
		{PointID: PointID{1, 2, 2}, Time: h(-20 * time.Hour)},
	}
	from := []time.Duration{-9, -9, -9, -3, -2, -2, -1, -1, 0, -20}
	to := []time.Duration{-9, -3, -3, -3, -2, -1, -1, 0, -20, -20}
	for i, p := range datePoints(points, noon) {
		if !p.to.Equal(h(to[i]*time.Hour)) || i != 8 && !p.from.Equal(h(from[i]*time.Hour)) || i == 8 && !p.from.IsZero() {
			t.Errorf("%v: %v to %v", p.PointID, p.from, p.to)
		}
	}
	out, err := Prune(Holdings{Points: points, Own: noon, Tier: noon, Keep: map[string]Keep{"": {For: time.Hour}}})
	if err != nil || !slices.Equal(out.Undated, []PointID{{1, 1, 8}}) {
		t.Errorf("%v, %v", out.Undated, err)
	}
}

func TestChains(t *testing.T) {
	keep := map[string]Keep{"p": {For: 10 * day}}
	all := func() []Point {
		return []Point{pointOf(1, 7, 1, 5), pointOf(1, 7, 2, 4), pointOf(1, 7, 3, 3), pointOf(1, 7, 4, 2), pointOf(2, 8, 1, 1)}
	}
	known := []Point{pointOf(1, 7, 4, 2), pointOf(2, 8, 1, 1)}
	for name, c := range map[string]struct {
		change func(p []Point) []Point
		want   string
	}{
		"whole":                  {func(p []Point) []Point { return p }, "[]"},
		"in another order":       {func(p []Point) []Point { slices.Reverse(p); return p }, "[]"},
		"at two tiers":           {func(p []Point) []Point { return append(p, p...) }, "[]"},
		"a gap":                  {func(p []Point) []Point { return slices.Delete(p, 1, 3) }, "[{2 0000000000000001/0000000000000007/0000000000000004 2}]"},
		"begins late":            {func(p []Point) []Point { return p[2:] }, "[{2 0000000000000001/0000000000000007/0000000000000003 1}]"},
		"deleted by age":         {func(p []Point) []Point { p[1].Time = noon.Add(-11 * day); return p[1:] }, "[]"},
		"not its previous":       {func(p []Point) []Point { p[2].Previous[5]++; return p }, "[{3 0000000000000001/0000000000000007/0000000000000003 0}]"},
		"begins with a previous": {func(p []Point) []Point { p[0].Previous[5]++; return p }, "[{3 0000000000000001/0000000000000007/0000000000000001 0}]"},
		"does not verify":        {func(p []Point) []Point { p[1] = Point{PointID: p[1].PointID, Fault: errRead}; return p }, "[{1 0000000000000001/0000000000000007/0000000000000002 0}]"},
		"two of one number": {func(p []Point) []Point { q := p[1]; q.Hash[5]++; return slices.Insert(p, 1, q) },
			"[{3 0000000000000001/0000000000000007/0000000000000002 0}]"},
		"forked from what is known": {func(p []Point) []Point { p[4].Hash[5]++; return p }, "[{4 0000000000000002/0000000000000008/0000000000000001 0}]"},
		"rolled back":               {func(p []Point) []Point { return slices.Delete(p, 3, 4) }, "[{5 0000000000000001/0000000000000007/0000000000000004 0}]"},
		"a newer chain":             {func(p []Point) []Point { return append(slices.Delete(p, 3, 4), pointOf(1, 9, 1, 0)) }, "[]"},
		"an older chain":            {func(p []Point) []Point { return append(slices.Delete(p, 3, 4), pointOf(1, 9, 1, 2.5)) }, "[{5 0000000000000001/0000000000000007/0000000000000004 0}]"},
		"of 2106 in its place": {func(p []Point) []Point {
			q := pointOf(1, 9, 1, 0)
			q.Time, q.Put = y106, y106
			return append(slices.Delete(p, 3, 4), q)
		},
			"[{5 0000000000000001/0000000000000007/0000000000000004 0}]"},
		"numbered 0": {func(p []Point) []Point { return append(p, pointOf(3, 3, 0, 0)) }, "[]"},
	} {
		if got := fmt.Sprint(CheckChains(c.change(all()), known, keep, noon)); got != c.want && !(name == "two of one number" && strings.Contains(got, "{4 0000000000000001/0000000000000007/0000000000000002 0}")) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	p := pointOf(1, 7, 2, 20)
	if got := CheckChains([]Point{p}, nil, nil, noon); len(got) != 1 || got[0].Kind != Missing {
		t.Errorf("what is kept for ever is gone: %v", got)
	}
}
