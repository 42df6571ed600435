package draw

import (
	"cmp"
	"math"
	"slices"
)

const (
	canvas      = 960 // least width of the image
	margin      = 24
	maxLabelled = 24 // up to so many nodes each has its name beneath it
	maxOnCircle = 9  // up to so many nodes of a group stand on one circle
)

// point is a place in the image, in tenths of a unit: whole numbers print the
// same on every processor.
type point struct{ x, y int }

func pointAt(x, y float64) point {
	return point{int(math.Round(x * 10)), int(math.Round(y * 10))}
}

// disc is a group with its place.
type disc struct {
	group
	x, y, r   int // centre and radius
	caption   []string
	places    []point // of the nodes, in the order of the group
	sectors   []sector
	cellWidth int
}

// sector is the part of a disc in which a zone lies.
type sector struct {
	zone     string
	from, to float64 // angles
}

// layout places the groups row by row.
type layout struct {
	discs         []disc
	spacing       float64 // between neighbours
	node          int     // radius of a node
	names         bool
	width, height int
}

func placeGroups(s *scene, top int) layout {
	l := layout{names: len(s.inOrder) <= maxLabelled, width: canvas}
	if l.names {
		l.spacing, l.node = 104, 13
	} else {
		l.spacing = min(max(math.Floor(math.Sqrt(360_000/float64(len(s.inOrder)))), 13), 60)
		l.node = max(int(l.spacing*0.27), 3)
	}
	for _, g := range s.groups {
		d := disc{group: g, caption: caption(g)}
		l.placeAround(&d)
		l.measure(&d)
		l.discs = append(l.discs, d)
		l.width = max(l.width, d.cellWidth+2*margin)
	}
	l.shelve(top)
	return l
}

// placeAround places the nodes of a disc around its centre, neighbours of a zone
// beside each other.
func (l *layout) placeAround(d *disc) {
	n := len(d.nodes)
	spots := make([]spot, n)
	outer := 0.0
	for i := range spots {
		r, angle := 0.0, 0.0
		switch {
		case n == 1:
		case n <= maxOnCircle:
			r = max(l.spacing*float64(n)/(2*math.Pi), l.spacing*0.6)
			angle = 2*math.Pi*float64(i)/float64(n) - math.Pi/2
		default: // Vogel's sunflower: every spot takes the same area
			r = l.spacing * 0.56 * math.Sqrt(float64(i)+0.5)
			angle = math.Mod(float64(i)*math.Pi*(3-math.Sqrt(5)), 2*math.Pi) - math.Pi/2
		}
		spots[i] = spot{r, angle}
		outer = max(outer, r)
	}
	slices.SortFunc(spots, func(a, b spot) int { return cmp.Compare(a.angle, b.angle) })
	up := 0.0
	if l.names {
		up = 12 // half of what stands beneath a node
	}
	for i, s := range spots {
		d.places = append(d.places, pointAt(s.r*math.Cos(s.angle), s.r*math.Sin(s.angle)-up))
		if i == 0 || d.nodes[i].zone != d.nodes[i-1].zone {
			d.sectors = append(d.sectors, sector{zone: d.nodes[i].zone, from: s.angle})
		}
	}
	for i := range d.sectors {
		next := d.sectors[0].from + 2*math.Pi
		if i+1 < len(d.sectors) {
			next = d.sectors[i+1].from
		}
		d.sectors[i].to = next
	}
	d.r = int(math.Ceil(outer + l.spacing*0.6))
	if !l.names && n > 1 && len(d.sectors) == 1 && d.nodes[0].zone != "" {
		d.caption = append(d.caption, "zone "+clipText(d.nodes[0].zone, 40))
	}
}

// measure finds how wide a disc is with all that stands around it.
func (l *layout) measure(d *disc) {
	wide := 2 * d.r
	if l.rimNames(d) {
		wide += 2 * rimCells * 7
	}
	for _, line := range d.caption {
		wide = max(wide, textCells(line)*8)
	}
	d.cellWidth = wide + margin
}

// spot is a place in polar coordinates.
type spot struct{ r, angle float64 }

// rimCells is how much of a zone's name stands at the rim of its disc.
const rimCells = 14

// rimNames tells whether the zones of a disc have their names at its rim.
func (l *layout) rimNames(d *disc) bool {
	return !l.names && len(d.sectors) > 1 && len(d.sectors) <= 16 && len(d.sectors)*4 <= len(d.nodes)
}

// shelve puts the discs into rows, each row centred.
func (l *layout) shelve(top int) {
	y, from := top, 0
	for from < len(l.discs) {
		to, total, high, lines := from, 0, 0, 0
		for to < len(l.discs) && (to == from || total+l.discs[to].cellWidth <= l.width-2*margin) {
			d := &l.discs[to]
			total, high, lines = total+d.cellWidth, max(high, d.r), max(lines, len(d.caption))
			to++
		}
		x := (l.width - total) / 2
		for i := from; i < to; i++ {
			d := &l.discs[i]
			d.x, d.y = x+d.cellWidth/2, y+high
			x += d.cellWidth
		}
		y += 2*high + 20 + lines*lineHeight + margin
		from = to
	}
	l.height = y
}
