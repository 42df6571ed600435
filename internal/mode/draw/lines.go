package draw

import (
	"html"
	"math"

	"github.com/skeinmesh/skein/mesh/view"
)

// drawLinks draws the doubtful links as dashed lines. One that works one way has
// its arrow at the end that is not reached.
func (d *drawing) drawLinks() {
	where := map[view.NodeID]point{}
	for _, c := range d.discs {
		for i, m := range c.nodes {
			where[m.ID] = point{c.x*10 + c.places[i].x, c.y*10 + c.places[i].y}
		}
	}
	links := d.doubtful()
	for _, l := range links[:min(len(links), maxLinks)] {
		d.drawLink(l, where[l.A], where[l.B])
	}
}

func (d *drawing) drawLink(l Link, a, b point) {
	dx, dy := float64(b.x-a.x), float64(b.y-a.y)
	length := math.Hypot(dx, dy)
	off := float64(d.node)*10 + 20 // from the middle of a node to where its line ends
	if length <= 2*off {
		return
	}
	ux, uy := dx/length, dy/length
	from := point{a.x + int(math.Round(ux*off)), a.y + int(math.Round(uy*off))}
	to := point{b.x - int(math.Round(ux*off)), b.y - int(math.Round(uy*off))}
	d.writeMarkup(`<g><title>%s</title><path class="doubt" d="M%s %sL%s %s"/>`, html.EscapeString(d.describeLink(l)),
		tenths(0, from.x), tenths(0, from.y), tenths(0, to.x), tenths(0, to.y))
	if l.OneWay {
		const long, half = 90, 45
		base := point{to.x - int(math.Round(ux*long)), to.y - int(math.Round(uy*long))}
		sx, sy := int(math.Round(-uy*half)), int(math.Round(ux*half))
		d.writeMarkup(`<path class="tip" d="M%s %sL%s %sL%s %sz"/>`, tenths(0, to.x), tenths(0, to.y),
			tenths(0, base.x+sx), tenths(0, base.y+sy), tenths(0, base.x-sx), tenths(0, base.y-sy))
	}
	d.writeMarkup("</g>\n")
}

// drawLegend explains the signs, at the foot.
func (d *drawing) drawLegend() {
	if n := len(d.doubtful()) - maxLinks; n > 0 {
		d.drawText(margin, d.height-4, "soft small", "start", countNoun(n, "doubtful link")+" not drawn")
	}
	x, y := margin+10, d.height+24
	for _, sign := range []struct {
		words string
		node  Node
		self  bool
		width int
	}{
		{"stores", Node{State: view.Alive, Storing: true}, false, 84},
		{"does not store", Node{State: view.Alive}, false, 132},
		{"leads", Node{State: view.Alive, Storing: true, Leads: []string{""}}, false, 84},
		{"sees this", Node{State: view.Alive, Storing: true}, true, 104},
		{"suspect", Node{State: view.Suspect, Storing: true}, false, 94},
		{"failed", Node{State: view.Failed, Storing: true}, false, 84},
		{"never met", Node{State: view.Unknown, Storing: true}, false, 104},
	} {
		d.writeMarkup(`<g transform="translate(%d,%d)">`, x, y)
		d.drawSign(sign.node, sign.self, 8)
		d.drawText(22, 4, "soft small", "start", sign.words)
		d.writeMarkup("</g>\n")
		x += sign.width
	}
	d.writeMarkup(`<path class="doubt" d="M%d %dh34"/>`+"\n", x-8, y)
	d.drawText(x+34, y+4, "soft small", "start", "doubtful link")
}
