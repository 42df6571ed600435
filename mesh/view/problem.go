package view

import (
	"fmt"
	"strings"
	"time"
)

// ProblemKind says for programs what is wrong. Kinds are never used for anything else
// later; there may be new ones.
type ProblemKind string

// Problem is one thing that an operator should look at (protocol G.8): fields for
// programs, String for people. What a kind has no use for is zero; the constants say what each uses
// beside Text.
type Problem struct {
	Kind   ProblemKind   `json:"kind"`
	Nodes  []Named       `json:"nodes,omitempty"`  // whom it is about
	Cut    []Named       `json:"cut,omitempty"`    // of those away, whom others reach
	Silent []Named       `json:"silent,omitempty"` // of those away, of whom no more is known than that
	By     []Named       `json:"by,omitempty"`     // who reaches them
	Where  []string      `json:"where,omitempty"`  // an address, a seed, a directory
	Shards int           `json:"shards,omitempty"`
	Count  int           `json:"count,omitempty"` // of what the kind says
	Of     int           `json:"of,omitempty"`    // out of how many
	Bytes  int64         `json:"bytes,omitempty"`
	For    time.Duration `json:"for,omitempty"`
	Text   string        `json:"text,omitempty"` // what an error said, mostly
}

// Named is a node with the name that people know it by, if there is one.
type Named struct {
	ID   NodeID `json:"id"`
	Name string `json:"name,omitempty"`
}

// String returns the name with the id, or the id.
func (n Named) String() string {
	if n.Name == "" {
		return n.ID.String()
	}
	return fmt.Sprintf("%s (%v)", n.Name, n.ID)
}

// String says it in one sentence, with what to do.
func (p Problem) String() string {
	for _, table := range []map[ProblemKind]func(Problem) string{meshSentences, storeSentences} {
		if say := table[p.Kind]; say != nil {
			return say(p)
		}
	}
	if p.Kind == ProblemInWords {
		return p.Text
	}
	return p.unknown()
}

// unknown tells what there is of a kind that a later release has.
func (p Problem) unknown() string {
	out := []string{fmt.Sprintf("%q, for which this release has no words", string(p.Kind))}
	for _, list := range []struct {
		name  string
		nodes []Named
	}{{"nodes", p.Nodes}, {"cut off", p.Cut}, {"silent", p.Silent}, {"reached by", p.By}} {
		if len(list.nodes) > 0 {
			out = append(out, list.name+" "+joinNames(list.nodes))
		}
	}
	for _, n := range []struct {
		name  string
		value any
		set   bool
	}{
		{"at", strings.Join(p.Where, ", "), len(p.Where) > 0}, {"shards", p.Shards, p.Shards != 0}, {"count", p.Count, p.Count != 0},
		{"of", p.Of, p.Of != 0}, {"bytes", p.Bytes, p.Bytes != 0}, {"for", p.For, p.For != 0}, {"text", p.Text, p.Text != ""},
	} {
		if n.set {
			out = append(out, fmt.Sprint(n.name, " ", n.value))
		}
	}
	return strings.Join(out, "; ")
}

// joinNames lists nodes.
func joinNames(nodes []Named) string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = n.String()
	}
	return strings.Join(out, ", ")
}

// firstPlace is the first of the places, which is the only one mostly.
func (p Problem) firstPlace() string { return strings.Join(p.Where[:min(len(p.Where), 1)], "") }
