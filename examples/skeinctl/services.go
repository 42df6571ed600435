package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/skeinmesh/skein/failover"
	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/view"
)

// maxPlanText is how much of standard input plan set reads.
const maxPlanText = 64 << 10

// serviceCommands look after services.
func serviceCommands() []command {
	return []command{
		{name: "services", short: "which services the node can run, and where they run", run: (*session).runServices, flags: set{(*session).nodeFlags}, long: `
Prints a line for each service that the node serves: its mode, who leads it, its
health if it runs at this node, and what keeps this node from running it. It is what
this one node sees.`},
		{name: "plan", args: "show|set|drop", short: "show, set or drop the plans of services", run: (*session).runPlan, flags: set{(*session).nodeFlags, (*session).planFlags}, long: `
show prints the plans in the records as JSON, each on lines of its own, or that of one
service with -service. set reads one plan as JSON from standard input and gives it to
all nodes, also to those that are away; what keeps the service from running as things
are is a warning. drop takes the plan of -service out of the records.
  skeinctl plan show -service press > press.json
  skeinctl plan set < press.json`},
		{name: "move", args: "service node", short: "have a service run at another node", run: (*session).runMove, flags: set{(*session).nodeFlags}, long: `
Has the service stop where it runs, in order, and start at the node named. It does not
wait for that: services and history tell how it went.`},
		{name: "drill", args: "service", short: "try whether another node can run a service", run: (*session).runDrill, flags: set{(*session).nodeFlags}, long: `
Has the service move to the next best node, be verified there, and move back; or has
its shadow be tried there, if its plan says so. It does not wait for that: history
tells how it has ended.`},
		{name: "history", args: "service", short: "what has happened to a service", run: (*session).runHistory, flags: set{(*session).nodeFlags, (*session).historyFlags}, long: `
Prints a line for each event at any node, the newest last: its time by that node's
clock, the node, and what happened.`},
		{name: "resolve", args: "service", short: "where a service is found", run: (*session).runResolve, flags: set{(*session).nodeFlags}, long: `
Prints the address at which the service runs, verified. The exit status is 3 if it is
not served.`},
	}
}

func (s *session) planFlags(fs *flag.FlagSet) {
	fs.StringVar(&s.service, "service", "", "`name` of a service")
	fs.BoolVar(&s.perComponent, "per-component", false, "drop: the plan of that mode, not of the exclusive one")
}

func (s *session) historyFlags(fs *flag.FlagSet) {
	fs.DurationVar(&s.since, "since", 7*24*time.Hour, "for how `long` to look back")
	fs.IntVar(&s.limit, "limit", 0, "`number` of events at most; 0: 1000")
}

// withServices asks the node about services.
func (s *session) withServices(fn func(ctx context.Context, c *failover.Client, v view.View) error) error {
	return s.withNode(func(ctx context.Context, node *mesh.Client) error {
		v, err := node.View(ctx)
		if err != nil {
			return err
		}
		return fn(ctx, failover.NewClient(node), v)
	})
}

// nameIn returns the name of a member, or its id.
func nameIn(v view.View, id view.NodeID) string {
	if m, ok := v.Member(id); ok && m.Name != "" {
		return cleanLine(m.Name)
	}
	return id.String()
}

func (s *session) runServices() error {
	return s.withServices(func(ctx context.Context, c *failover.Client, v view.View) error {
		all, err := c.Services(ctx)
		if err != nil {
			return err
		}
		if s.json {
			return s.printJSON(map[string]any{"services": append([]failover.Status{}, all...)})
		}
		tw := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "SERVICE\tMODE\tLED BY\tHERE\tSTANDS\tLACKS")
		for _, st := range all {
			leader, here, stands := "nobody", "-", "no"
			if st.Leader != 0 {
				leader = nameIn(v, st.Leader)
			}
			if st.Here {
				here = st.Health.String()
			}
			if st.Stands {
				stands = "yes"
			}
			fmt.Fprintln(tw, strings.Join([]string{cleanLine(st.Service), st.Mode.String(), leader, here, stands, cmp.Or(lacksInWords(st.Lacks), "-")}, "\t"))
		}
		return tw.Flush()
	})
}

func lacksInWords(lacks []service.Lack) string {
	var words []string
	for _, l := range lacks {
		word := l.Kind.String()
		if l.What != "" {
			word += " " + cleanLine(l.What)
		}
		if l.Used > 0 {
			word += fmt.Sprintf(" (%d.%d %% used)", l.Used/10, l.Used%10)
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

func (s *session) runPlan() error {
	do, ok := map[string]func(context.Context, *session, *failover.Client) error{"show": showPlans, "set": setPlan, "drop": dropPlan}[s.words[0]]
	switch {
	case !ok:
		return usageError(fmt.Sprintf("does show, set or drop, not %.20q", s.words[0]))
	case s.words[0] == "drop" && s.service == "":
		return usageError("drop needs -service")
	}
	return s.withServices(func(ctx context.Context, c *failover.Client, _ view.View) error { return do(ctx, s, c) })
}

func showPlans(ctx context.Context, s *session, c *failover.Client) error {
	plans, err := c.Plans(ctx)
	if err != nil && len(plans) == 0 {
		return err
	}
	found := false
	for _, p := range plans {
		if s.service != "" && p.Service != s.service {
			continue
		}
		found = true
		if s.json {
			err = errors.Join(err, s.printJSON(p))
			continue
		}
		text, wrong := json.MarshalIndent(p, "", "  ")
		_, failed := fmt.Fprintf(s.out, "%s\n", text)
		err = errors.Join(err, wrong, failed)
	}
	if s.service != "" && !found && err == nil {
		return fmt.Errorf("%w: the records have no plan of %q", errNoValue, s.service)
	}
	return err
}

func setPlan(ctx context.Context, s *session, c *failover.Client) error {
	text, err := io.ReadAll(io.LimitReader(s.in, maxPlanText+1))
	if err != nil {
		return err
	}
	if len(text) > maxPlanText {
		return fmt.Errorf("a plan has %d bytes at most", maxPlanText)
	}
	var p service.Plan
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	warnings, err := c.SetPlan(ctx, p)
	for _, w := range warnings {
		s.printWarning("%s", w)
	}
	return err
}

func dropPlan(ctx context.Context, s *session, c *failover.Client) error {
	mode := service.Exclusive
	if s.perComponent {
		mode = service.PerComponent
	}
	return c.DropPlan(ctx, s.service, mode)
}

func (s *session) runMove() error {
	return s.withServices(func(ctx context.Context, c *failover.Client, _ view.View) error {
		return c.Move(ctx, s.words[0], s.words[1])
	})
}

func (s *session) runDrill() error {
	return s.withServices(func(ctx context.Context, c *failover.Client, _ view.View) error {
		return c.Drill(ctx, s.words[0])
	})
}

func (s *session) runHistory() error {
	return s.withServices(func(ctx context.Context, c *failover.Client, v view.View) error {
		events, err := c.History(ctx, s.words[0], time.Now().Add(-s.since), s.limit)
		for _, e := range events {
			if s.json {
				err = errors.Join(err, s.printJSON(e))
				continue
			}
			_, failed := fmt.Fprintln(s.out, eventInWords(v, e))
			err = errors.Join(err, failed)
		}
		return err
	})
}

// eventInWords makes one line of an event.
func eventInWords(v view.View, e failover.Event) string {
	line := fmt.Sprintf("%s  %-12s %s", e.At.UTC().Format("2006-01-02 15:04:05.000"), nameIn(v, e.Node), cleanLine(string(e.What)))
	if e.Step != "" {
		line += " " + cleanLine(e.Step)
	}
	if e.What == failover.HealthChanged {
		line += " to " + e.Health.String()
	}
	if e.Took > 0 {
		line += fmt.Sprintf(" in %v", e.Took.Round(time.Millisecond))
	}
	if e.Why != "" {
		line += ": " + cleanLine(e.Why)
	}
	if e.Other != 0 {
		line += ", " + nameIn(v, e.Other)
	}
	if e.Error != "" {
		line += ": failed: " + cleanLine(e.Error)
	}
	return line
}

func (s *session) runResolve() error {
	return s.withServices(func(ctx context.Context, c *failover.Client, v view.View) error {
		r, err := c.Resolve(ctx, s.words[0])
		if errors.Is(err, failover.ErrNotServed) {
			return fmt.Errorf("%w: %w", errNoValue, err)
		}
		if err != nil {
			return err
		}
		if s.json {
			return s.printJSON(r)
		}
		_, err = fmt.Fprintf(s.out, "%s\tat %s\n", cleanLine(r.Address), nameIn(v, r.Node))
		return err
	})
}
