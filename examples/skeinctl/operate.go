package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica"
)

// healthJSON is what health prints.
type healthJSON struct {
	Problems []problemJSON `json:"problems"`
	Shards   []shardJSON   `json:"shards,omitempty"` // with -all
}

// problemJSON is a problem with its sentence; times are texts like "1h0m0s".
type problemJSON struct {
	view.Problem
	For   string `json:"for,omitempty"`
	Words string `json:"words"`
}

// shardJSON is how one shard is doing.
type shardJSON struct {
	Bucket  string                 `json:"bucket"` // empty: the definitions of all buckets
	Shard   int                    `json:"shard"`
	Role    string                 `json:"role"`
	Homes   []view.NodeID          `json:"homes"`
	Copies  int                    `json:"copies"`
	Syncing bool                   `json:"syncing"`
	Hints   int                    `json:"hints"`
	Synced  map[view.NodeID]string `json:"synced"` // how long ago
}

func healthAsJSON(problems []view.Problem, shards []replica.ShardHealth) healthJSON {
	out := healthJSON{Problems: []problemJSON{}}
	for _, p := range problems {
		j := problemJSON{Problem: p, Words: p.String()}
		if p.For != 0 {
			j.For = p.For.String()
		}
		out.Problems = append(out.Problems, j)
	}
	for _, h := range shards {
		j := shardJSON{Bucket: h.Bucket, Shard: h.Shard, Role: h.Role, Homes: h.Homes, Copies: h.Copies, Syncing: h.Syncing, Hints: h.Hints, Synced: map[view.NodeID]string{}}
		for id, ago := range h.Synced {
			j.Synced[id] = ago.String()
		}
		out.Shards = append(out.Shards, j)
	}
	return out
}

// errProblems: health has told of some.
var errProblems = errors.New("there are problems")

func (s *session) runHealth() error {
	return s.withNode(func(ctx context.Context, node *mesh.Client) error {
		problems, shards, err := replica.NewClient(node).Health(ctx)
		if err != nil && len(problems) == 0 {
			return err
		}
		if !s.all {
			shards = nil
		}
		if err == nil && len(problems) > 0 {
			err = errProblems
		}
		if s.json {
			return cmp.Or(s.printJSON(healthAsJSON(problems, shards)), err)
		}
		for _, p := range problems {
			fmt.Fprintln(s.out, cleanLine(p.String()))
		}
		if len(problems) == 0 {
			fmt.Fprintln(s.out, "all is well")
		}
		for _, l := range shards {
			fmt.Fprintln(s.out, "  "+cleanLine(l.String()))
		}
		return err
	})
}

// evictJSON is what evict prints.
type evictJSON struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func (s *session) runEvict() error {
	var m view.Member
	err := s.withNode(func(ctx context.Context, node *mesh.Client) error {
		v, err := node.View(ctx)
		if err != nil {
			return err
		}
		m, err = findMember(v, s.words[0])
		return err
	})
	if err == nil && !s.yes {
		err = s.confirmEviction(m)
	}
	if err != nil {
		return err
	}
	return s.withNode(func(ctx context.Context, node *mesh.Client) error {
		if err := node.Evict(ctx, m.ID); err != nil {
			return err
		}
		if s.json {
			return s.printJSON(evictJSON{m.ID.String(), m.Name})
		}
		_, err = fmt.Fprintf(s.out, "%s (%v) is given up for good; health tells when the copies it held are made anew\n", cmp.Or(cleanLine(m.Name), "-"), m.ID)
		return err
	})
}

// findMember finds a member by its id or, of those that are not gone, by its name. What is
// both an id and the name of another one is neither: what follows is final.
func findMember(v view.View, word string) (m view.Member, err error) {
	id, noID := view.ParseNodeID(word)
	byID, known := v.Member(id)
	for _, other := range v.Members {
		if other.Name != word || other.Status.Gone() || other.ID == id {
			continue
		}
		if m.ID != 0 || noID == nil && known {
			return view.Member{}, usageError(fmt.Sprintf("%s means %v and %v: name one by its id", word, cmp.Or(m.ID, id), other.ID))
		}
		m = other
	}
	switch {
	case m.ID != 0:
		return m, nil
	case noID != nil:
		return m, fmt.Errorf("no member has the name %q: see skeinctl members", word)
	case !known:
		return view.Member{ID: id}, nil // the mesh says what is wrong with it
	}
	return byID, nil
}

// confirmEviction has the member's name typed once more.
func (s *session) confirmEviction(m view.Member) error {
	word := cmp.Or(cleanLine(m.Name), m.ID.String())
	fmt.Fprintf(s.err, "%s (%v) is given up for good, and what only its disk holds is lost. Type %s to go on: ", word, m.ID, word)
	line, err := bufio.NewReader(s.in).ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	if strings.TrimSpace(line) != word {
		return errors.New("not confirmed, and not given up: type the name, or give -yes")
	}
	return nil
}

// versionJSON is what version prints.
type versionJSON struct {
	Version string `json:"version"`
	Go      string `json:"go"`
}

func (s *session) runVersion() error {
	out := versionJSON{Version: "unknown", Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		out.Version = info.Main.Version
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				out.Version += " " + setting.Value
			}
		}
	}
	if s.json {
		return s.printJSON(out)
	}
	_, err := fmt.Fprintf(s.out, "skeinctl %s, %s %s/%s\n", out.Version, out.Go, runtime.GOOS, runtime.GOARCH)
	return err
}

// runCompletion prints what the shell runs when a tab is typed: words of a table, made of
// the same commands and flags that are parsed.
func (s *session) runCompletion() error {
	var names []string
	var cases strings.Builder
	for _, c := range commands() {
		names = append(names, c.name)
		var flags []string
		other := &session{command: c}
		other.newFlagSet().VisitAll(func(f *flag.Flag) { flags = append(flags, "-"+f.Name) })
		fmt.Fprintf(&cases, "    %s) words=%q ;;\n", c.name, strings.Join(flags, " "))
	}
	_, err := fmt.Fprintf(s.out, `_skeinctl() {
  local words=%q
  if [ "$COMP_CWORD" -gt 1 ]; then
    case "${COMP_WORDS[1]}" in
%s    *) words="" ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _skeinctl skeinctl
`, strings.Join(names, " "), cases.String())
	return err
}
