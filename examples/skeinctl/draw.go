package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition"
)

// partitionJSON is what status prints of cuts and leaders.
type partitionJSON struct {
	Component []string      `json:"component"` // ids
	Members   int           `json:"members"`
	Storing   int           `json:"storing"`
	Reached   int           `json:"reached"` // storing ones in the component
	Situation string        `json:"situation"`
	Since     time.Time     `json:"since,omitzero"`
	Evidence  []string      `json:"evidence"`
	Lost      []string      `json:"lost"`
	Unmet     []string      `json:"unmet"`
	Verdicts  []verdictJSON `json:"verdicts"`
	Leader    leaderJSON    `json:"leader"`
	Elections []leaderJSON  `json:"elections"`
	Voters    []string      `json:"voters"`
	Cloud     string        `json:"cloud"`
	Mode      string        `json:"mode"`
	ModeSince time.Time     `json:"mode_since,omitzero"`
	Merges    []mergeJSON   `json:"merges"`

	Scores map[view.NodeID]uint64 `json:"scores,omitempty"` // how fit nodes say they are to lead
}

type verdictJSON struct {
	Node   string    `json:"node"`
	Cause  string    `json:"cause"`
	At     time.Time `json:"at"`
	Outage float64   `json:"outage_s"`
}

type leaderJSON struct {
	Election string `json:"election"`
	Scope    string `json:"scope"`
	Token    string `json:"token"` // empty, with the next: nobody is known to lead
	Node     string `json:"node"`
	Here     bool   `json:"here"` // it is the node that was asked, by its lease
}

type mergeJSON struct {
	At   time.Time `json:"at"`
	Met  []string  `json:"met"`
	Text string    `json:"text"`
}

func statusOf(st partition.Status) *partitionJSON {
	out := &partitionJSON{
		Component: idStrings(st.Component), Members: st.Members, Storing: st.Storing, Reached: st.Reached,
		Situation: st.Situation.String(), Since: st.Since, Evidence: append([]string{}, st.Evidence...),
		Lost: idStrings(st.Lost), Unmet: idStrings(st.Unmet), Verdicts: []verdictJSON{},
		Leader: leaderOf(st.Leader), Elections: []leaderJSON{}, Voters: idStrings(st.Voters),
		Cloud: st.Cloud.String(), Mode: st.Mode.String(), ModeSince: st.ModeSince, Merges: []mergeJSON{}, Scores: st.Scores,
	}
	for _, v := range st.Verdicts {
		out.Verdicts = append(out.Verdicts, verdictJSON{v.Node.String(), v.Cause.String(), v.At, v.Outage.Seconds()})
	}
	for _, l := range st.Elections {
		out.Elections = append(out.Elections, leaderOf(l))
	}
	for _, m := range st.Merges {
		out.Merges = append(out.Merges, mergeJSON{m.At, idStrings(m.Met), m.Text})
	}
	return out
}

func leaderOf(l partition.Leadership) leaderJSON {
	out := leaderJSON{Election: l.Election.Name, Scope: l.Election.Scope.String(), Here: l.Here}
	if !l.Token.IsZero() {
		out.Token, out.Node = l.Token.String(), l.Token.Node.String()
	}
	return out
}

func idStrings(ids []view.NodeID) []string {
	out := []string{}
	for _, id := range ids {
		out = append(out, id.String())
	}
	return out
}

// leaders writes a line for each election.
func leaders(w io.Writer, v view.View, st partition.Status) {
	for _, l := range st.Elections {
		if l.Token.IsZero() {
			fmt.Fprintf(w, "leader\tnone\tof %s\n", cleanLine(l.Election.String()))
			continue
		}
		m, _ := v.Member(l.Token.Node)
		fmt.Fprintf(w, "leader\t%v\tof %s: %s\n", l.Token, cleanLine(l.Election.String()), cmp.Or(cleanLine(m.Name), "-"))
	}
}

func (s *session) runDraw() error {
	return s.withNode(func(ctx context.Context, node *mesh.Client) error {
		svg, err := partition.Draw(ctx, node)
		if err != nil {
			return err
		}
		told := struct {
			SVG  string `json:"svg,omitempty"`
			File string `json:"file,omitempty"`
		}{SVG: string(svg)}
		if s.file != "" {
			if err := os.WriteFile(s.file, svg, 0o644); err != nil {
				return err
			}
			told.SVG, told.File = "", s.file
		}
		switch {
		case s.json:
			return s.printJSON(told)
		case s.file != "":
			_, err = fmt.Fprintf(s.out, "drew the mesh as node %v sees it to %s\n", node.Node(), cleanLine(s.file))
		default:
			_, err = s.out.Write(svg)
		}
		return err
	})
}
