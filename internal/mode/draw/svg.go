package draw

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strings"

	"github.com/skeinmesh/skein/internal/mode"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	lineHeight        = 17
	headHeight        = 122
	footHeight        = 52
	maxLinks          = 200 // drawn
	maxCaptionLeaders = 4   // lines of leaders beneath a disc
)

// style is all colours. They differ in lightness too, and each state in shape:
// nothing is told by colour alone.
const style = `
.skein{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;font-size:13px}
.skein text{fill:#1b2430}
.skein .bg{fill:#ffffff}
.skein .halo{paint-order:stroke;stroke:#f4f7fa;stroke-width:3px;stroke-linejoin:round}
.skein .own .halo{stroke:#eff5fe}
.skein .lost .halo{stroke:#ffffff}
.skein .big{font-size:21px;font-weight:600}
.skein text.soft{fill:#5a6572}
.skein .small{font-size:11px}
.skein .rim{fill:#f4f7fa;stroke:#c3ccd5;stroke-width:1.2}
.skein .own .rim{fill:#eff5fe;stroke:#3a78d0;stroke-width:2}
.skein .lost .rim{fill:none;stroke:#9aa4ae;stroke-dasharray:5 5}
.skein .sector{stroke:#c3ccd5;stroke-width:1}
.skein .alive{fill:#2a8f62;stroke:#2a8f62}
.skein .suspect{fill:#e79b12;stroke:#b97600}
.skein .failed{fill:#aab2ba;stroke:#7b858f}
.skein .unknown{fill:#dfe4e9;stroke:#9aa4ae;stroke-dasharray:2.5 2}
.skein .thin{fill:#ffffff}
.skein .cross{stroke:#ffffff;stroke-width:1.8;fill:none}
.skein .thin+.cross{stroke:#7b858f}
.skein .star{fill:#f6c531;stroke:#8a6400;stroke-width:1}
.skein .me{fill:none;stroke:#3a78d0;stroke-width:2}
.skein .doubt{stroke:#c8372d;stroke-width:1.6;stroke-dasharray:6 4;fill:none}
.skein .tip{fill:#c8372d}
.skein .good{fill:#2a8f62}
.skein .bad{fill:#c8372d}
.skein .none{fill:#9aa4ae}
.skein text.badge{fill:#ffffff;font-weight:600}
.skein .slash{stroke:#ffffff;stroke-width:3}
@media (prefers-color-scheme:dark){
.skein text{fill:#e6ebf0}
.skein .bg{fill:#12171d}
.skein text.soft{fill:#9ba7b3}
.skein .halo{stroke:#1a2129}
.skein .own .halo{stroke:#17233a}
.skein .lost .halo{stroke:#12171d}
.skein .rim{fill:#1a2129;stroke:#3d4854}
.skein .own .rim{fill:#17233a;stroke:#5b95e6}
.skein .lost .rim{stroke:#5f6b77}
.skein .sector{stroke:#3d4854}
.skein .alive{fill:#35b57d;stroke:#35b57d}
.skein .failed{fill:#5f6b77;stroke:#8a95a0}
.skein .unknown{fill:#2a333d;stroke:#76828d}
.skein .thin{fill:#12171d}
.skein .me{stroke:#7fb0f2}
.skein .doubt{stroke:#ff7a6e}
.skein .tip{fill:#ff7a6e}
.skein text.badge{fill:#ffffff}
}
`

// SVG draws a picture as an image that stands alone: no scripts, no links to
// anything, a title and a description for those who do not see it, a title for
// each node, and colours for light and dark screens.
func SVG(p Picture) []byte {
	s := arrange(p)
	d := drawing{scene: s, layout: placeGroups(&s, headHeight)}
	d.drawHead()
	for i := range d.discs {
		d.drawDisc(&d.discs[i])
	}
	d.drawLinks()
	for i := range d.discs {
		d.drawMembers(&d.discs[i])
	}
	d.drawLegend()
	d.writeMarkup("</svg>\n")
	return d.out.Bytes()
}

type drawing struct {
	scene
	layout
	out bytes.Buffer
}

func (d *drawing) writeMarkup(format string, args ...any) { fmt.Fprintf(&d.out, format, args...) }

// drawText puts words, which may hold anything printable, at a place.
func (d *drawing) drawText(x, y int, class, anchor, words string) {
	d.writeMarkup(`<text x="%d" y="%d" class="%s" text-anchor="%s">%s</text>`+"\n", x, y, class, anchor, html.EscapeString(words))
}

func (d *drawing) drawHead() {
	d.writeMarkup(`<svg xmlns="http://www.w3.org/2000/svg" class="skein" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n",
		d.width, d.height+footHeight, d.width, d.height+footHeight)
	name := cleanName(d.Mesh)
	if name == "" {
		name = d.MeshID.String()
	}
	name = clipText(name, 48)
	d.writeMarkup("<title>mesh %s</title>\n", html.EscapeString(name))
	d.writeMarkup("<desc>%s</desc>\n", html.EscapeString(d.description()))
	d.writeMarkup("<style>%s</style>\n", style)
	d.writeMarkup(`<rect class="bg" width="%d" height="%d"/>`+"\n", d.width, d.height+footHeight)
	d.drawText(margin, 40, "big", "start", name)
	self := d.Self.String()
	if m, ok := d.byID[d.Self]; ok {
		self = m.label
	}
	d.drawText(margin, 62, "soft", "start", clipText("as seen from "+self+" · "+describeCounts(d.inOrder), 90))
	for i, line := range limitLines(wrapText(d.Situation, 110), 2, 110) {
		d.drawText(margin, 62+(i+1)*lineHeight, "", "start", line)
	}
	d.drawBadge()
	d.drawCloud()
}

// description says in sentences what the image shows.
func (d *drawing) description() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Mode %s. Cloud %s. %s.", modeWords(d.Mode), d.Cloud, describeCounts(d.inOrder))
	if words := wrapText(d.Situation, 1000); len(words) > 0 {
		b.WriteString(" Situation: " + strings.Join(words, " ") + ".")
	}
	for _, g := range d.groups {
		fmt.Fprintf(&b, " %s: %s.", g.title, describeCounts(g.nodes))
		for _, m := range g.nodes {
			if words := m.leadPhrase(); words != "" {
				fmt.Fprintf(&b, " %s %s.", m.label, words)
			}
		}
	}
	if len(d.Leaderless) > 0 {
		fmt.Fprintf(&b, " Without a leader: %s.", listed(d.Leaderless))
	}
	if n := len(d.doubtful()); n > 0 {
		fmt.Fprintf(&b, " %s in doubt.", countNoun(n, "link"))
	}
	return b.String()
}

// drawBadge shows the mode at the top on the right.
func (d *drawing) drawBadge() {
	class := "bad"
	if d.Mode == mode.Normal {
		class = "good"
	}
	x := d.width - margin - 100
	d.writeMarkup(`<g><title>mode %s</title><rect class="%s" x="%d" y="20" width="100" height="28" rx="14"/>`, html.EscapeString(modeWords(d.Mode)), class, x)
	d.drawText(x+50, 39, "badge", "middle", d.Mode.String())
	d.writeMarkup("</g>\n")
}

// drawCloud shows to the left of the mode whether the cloud is reachable.
func (d *drawing) drawCloud() {
	class := map[mode.Cloud]string{mode.Reachable: "good", mode.Unreachable: "bad"}[d.Cloud]
	if class == "" {
		class = "none"
	}
	x := d.width - margin - 296
	d.writeMarkup(`<g><title>cloud %s</title><path class="%s" transform="translate(%d,18)" d="M11 29a9 9 0 0 1-1-18a13 13 0 0 1 25-2a10 10 0 0 1 3 20z"/>`, d.Cloud, class, x)
	if d.Cloud == mode.Unreachable {
		d.writeMarkup(`<path class="slash" d="M%d 46L%d 19"/>`, x+12, x+36)
	}
	d.drawText(x+54, 38, "", "start", "cloud "+d.Cloud.String())
	d.writeMarkup("</g>\n")
}

// caption says what a disc is and who leads there.
func caption(g group) []string {
	lines := []string{g.title, describeCounts(g.nodes)}
	leaders := 0
	for _, m := range g.nodes {
		if len(m.Leads) == 0 {
			continue
		}
		if leaders++; leaders <= maxCaptionLeaders {
			lines = append(lines, clipText("★ "+clipText(m.label, 24)+" "+m.leadPhrase(), 48))
		}
	}
	if leaders > maxCaptionLeaders {
		lines = append(lines, fmt.Sprintf("and %d more leaders", leaders-maxCaptionLeaders))
	}
	return lines
}

func (g *group) cssClass() string {
	switch {
	case g.own:
		return "own"
	case g.lost:
		return "lost"
	}
	return "other"
}

// drawDisc draws what lies beneath the nodes.
func (d *drawing) drawDisc(c *disc) {
	d.writeMarkup(`<g class="%s">`+"\n"+`<circle class="rim" cx="%d" cy="%d" r="%d"/>`+"\n", c.cssClass(), c.x, c.y, c.r)
	if d.rimNames(c) {
		d.drawRim(c)
	}
	for i, line := range c.caption {
		class := "soft"
		if i == 0 {
			class = ""
		}
		d.drawText(c.x, c.y+c.r+22+i*lineHeight, class, "middle", line)
	}
	d.writeMarkup("</g>\n")
}

// drawRim draws the bounds of the zones and writes their names around the disc.
func (d *drawing) drawRim(c *disc) {
	r := float64(c.r)
	gap := math.Pi / float64(len(c.nodes)) // half the mean step from node to node
	for _, s := range c.sectors {
		a := s.from - gap
		from, to := pointAt(0.1*r*math.Cos(a), 0.1*r*math.Sin(a)), pointAt(r*math.Cos(a), r*math.Sin(a))
		d.writeMarkup(`<path class="sector" d="M%s %sL%s %s"/>`+"\n", tenths(c.x, from.x), tenths(c.y, from.y), tenths(c.x, to.x), tenths(c.y, to.y))
		middle := (s.from + s.to) / 2
		anchor := "start"
		switch cos := math.Cos(middle); {
		case cos < -0.2:
			anchor = "end"
		case cos < 0.2:
			anchor = "middle"
		}
		p := pointAt((r+10)*math.Cos(middle), (r+10)*math.Sin(middle))
		zone := s.zone
		if zone == "" {
			zone = "(no zone)"
		}
		d.drawText(c.x+p.x/10, c.y+p.y/10+4, "soft small", anchor, clipText(zone, rimCells))
	}
}

// drawMembers draws the nodes of a disc.
func (d *drawing) drawMembers(c *disc) {
	d.writeMarkup(`<g class="%s">`+"\n", c.cssClass())
	for i, m := range c.nodes {
		d.drawMember(m, tenths(c.x, c.places[i].x), tenths(c.y, c.places[i].y))
	}
	d.writeMarkup("</g>\n")
}

func (d *drawing) drawMember(m member, x, y string) {
	d.writeMarkup(`<g transform="translate(%s,%s)"><title>%s</title>`, x, y, html.EscapeString(d.describeNode(m)))
	d.drawSign(m.Node, m.ID == d.Self, float64(d.node))
	if d.names {
		d.drawText(0, d.node+19, "small halo", "middle", clipText(m.label, 15))
		if m.zone != "" {
			d.drawText(0, d.node+32, "small soft halo", "middle", clipText(m.zone, 15))
		}
	}
	d.writeMarkup("</g>\n")
}

// drawSign draws the sign for a node around the origin.
func (d *drawing) drawSign(n Node, self bool, r float64) {
	if len(n.Leads) > 0 {
		d.writeMarkup(`<path class="star" d="%s"/>`, starPath(r*2.1))
	}
	if self {
		d.writeMarkup(`<circle class="me" r="%.1f"/>`, r+4)
	}
	class, thin, line := drawnState(n.State).String(), "", max(r*0.22, 1.2)
	if !n.Storing {
		r, thin = r*0.8, " thin"
	}
	d.writeMarkup(`<circle class="%s%s" r="%.1f" stroke-width="%.1f"/>`, class, thin, r, line)
	switch drawnState(n.State) {
	case view.Failed:
		a := r * 0.45
		d.writeMarkup(`<path class="cross" d="M%.1f %.1fL%.1f %.1fM%.1f %.1fL%.1f %.1f"/>`, -a, -a, a, a, -a, a, a, -a)
	case view.Suspect:
		d.writeMarkup(`<path class="cross" d="M0 %.1fV%.1fM0 %.1fV%.1f"/>`, -r*0.55, r*0.15, r*0.35, r*0.6)
	}
}

// describeNode says all about a node.
func (d *drawing) describeNode(m member) string {
	words := []string{m.label, stateWord(m.State)}
	if m.label != m.ID.String() {
		words = []string{m.label, m.ID.String(), stateWord(m.State)}
	}
	if m.ID == d.Self {
		words = append(words, "sees this")
	}
	if m.zone != "" {
		words = append(words, "zone "+m.zone)
	}
	if m.Storing {
		words = append(words, "stores")
	}
	if leads := m.leadPhrase(); leads != "" {
		words = append(words, leads)
	}
	return strings.Join(words, ", ")
}

// starPath is the outline of a star with five points around the origin.
func starPath(r float64) string {
	var b strings.Builder
	for i := range 10 {
		reach := r
		if i%2 == 1 {
			reach = r * 0.55
		}
		a := math.Pi*float64(i)/5 - math.Pi/2
		p := pointAt(reach*math.Cos(a), reach*math.Sin(a))
		b.WriteString(map[bool]string{true: "M", false: "L"}[i == 0] + tenths(0, p.x) + " " + tenths(0, p.y))
	}
	return b.String() + "z"
}

// tenths prints whole + part/10.
func tenths(whole, part int) string {
	n := whole*10 + part
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	return fmt.Sprintf("%s%d.%d", sign, n/10, n%10)
}
