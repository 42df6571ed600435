package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition"
	"github.com/skeinmesh/skein/replica"
)

// memberJSON is one row of members.
type memberJSON struct {
	Name    string    `json:"name"`
	ID      string    `json:"id"`
	Zone    string    `json:"zone"`
	State   string    `json:"state"`
	Status  string    `json:"status"`
	Storing bool      `json:"storing"`
	Addr    string    `json:"addr"`
	Weight  int       `json:"weight"`
	RTT     float64   `json:"rtt_ms"` // 0: not known
	Since   time.Time `json:"since,omitzero"`

	Tags         map[string]string `json:"tags,omitempty"`
	Capabilities []string          `json:"capabilities,omitempty"`
}

func (s *session) runMembers() error {
	return s.withNode(func(ctx context.Context, node *mesh.Client) error {
		v, err := node.View(ctx)
		if err != nil {
			return err
		}
		rows := slices.SortedFunc(slices.Values(v.Members), func(a, b view.Member) int {
			return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
		})
		if s.json {
			return s.membersJSON(v, rows)
		}
		tw := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "NAME\tID\tZONE\tSTATE\tSTATUS\tSTORING\tADDR\tRTT\tSINCE\tTAGS\tCAPABILITIES")
		for _, m := range rows {
			storing, rtt, since := "no", "-", "-"
			if m.Storing {
				storing = "yes"
			}
			if m.RTT > 0 {
				rtt = m.RTT.Round(10 * time.Microsecond).String()
			}
			if !m.Since.IsZero() {
				since = m.Since.UTC().Format(time.RFC3339)
			}
			cells := []string{m.Name, m.ID.String(), m.Zone, m.State.String(), m.Status.String(), storing, m.Addr.String(), rtt, since, tagsOf(m), strings.Join(m.Capabilities, ",")}
			for i := range cells {
				cells[i] = cmp.Or(cleanLine(cells[i]), "-")
			}
			fmt.Fprintln(tw, strings.Join(cells, "\t"))
		}
		if err := tw.Flush(); err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.out, "\nas seen by %s, mesh %v\n", nameOf(v), v.Mesh)
		return err
	})
}

func (s *session) membersJSON(v view.View, rows []view.Member) error {
	out := struct {
		Mesh    string       `json:"mesh"`
		Self    string       `json:"self"`
		Members []memberJSON `json:"members"`
	}{Mesh: v.Mesh.String(), Self: v.Self.String(), Members: []memberJSON{}}
	for _, m := range rows {
		out.Members = append(out.Members, memberJSON{
			Name: m.Name, ID: m.ID.String(), Zone: m.Zone, State: m.State.String(), Status: m.Status.String(),
			Storing: m.Storing, Addr: m.Addr.String(), Weight: m.Weight, RTT: m.RTT.Seconds() * 1000, Since: m.Since,
			Tags: m.Tags, Capabilities: m.Capabilities,
		})
	}
	return s.printJSON(out)
}

// tagsOf lists the tags of a member by key, for people: -json keeps apart what has commas
// in it.
func tagsOf(m view.Member) string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(m.Tags)) {
		out = append(out, key+"="+m.Tags[key])
	}
	return strings.Join(out, ",")
}

// nameOf names the node that made a view.
func nameOf(v view.View) string {
	m, _ := v.Member(v.Self)
	return fmt.Sprintf("%s (%v)", cmp.Or(cleanLine(m.Name), "-"), v.Self)
}

// statusJSON is what status prints.
type statusJSON struct {
	Mesh    string         `json:"mesh"`
	Self    string         `json:"self"`
	Name    string         `json:"name"`
	Members map[string]int `json:"members"` // by state

	Tags         map[string]string `json:"tags,omitempty"` // of the node
	Capabilities []string          `json:"capabilities,omitempty"`

	Store *storeJSON `json:"store"` // null: the node has none
	// Partition is what the node knows of cuts and leaders; null: it opens none.
	Partition *partitionJSON `json:"partition"`
}

type storeJSON struct {
	Hints     int    `json:"hints"`
	Syncing   int    `json:"syncing"`
	Delivered uint64 `json:"delivered"`
	Repaired  uint64 `json:"repaired"`
	Compared  uint64 `json:"compared"`
	Moved     uint64 `json:"moved"`

	Outbox outboxJSON `json:"outbox"`
}

// outboxJSON is what waits in a node that stores nothing.
type outboxJSON struct {
	Ops       int     `json:"ops"`
	Bytes     int64   `json:"bytes"`
	Oldest    float64 `json:"oldest_s"`
	Delivered uint64  `json:"delivered"`
	Dropped   uint64  `json:"dropped"`
	Error     string  `json:"error"` // why it gets no further; empty: all is well
}

func newStoreJSON(st replica.Status) *storeJSON {
	return &storeJSON{st.Hints, st.Syncing, st.Delivered, st.Repaired, st.Compared, st.Moved, outboxJSON{
		st.OutboxOps, st.OutboxBytes, st.OutboxOldest.Seconds(), st.OutboxDelivered, st.OutboxDropped, st.OutboxError,
	}}
}

func (s *session) runStatus() error {
	return s.withNode(func(ctx context.Context, node *mesh.Client) error {
		v, err := node.View(ctx)
		if err != nil {
			return err
		}
		st, err := replica.NewClient(node).Status(ctx)
		hasStore := !errors.Is(err, mesh.ErrNoHandler)
		if err != nil && hasStore {
			return err
		}
		report, err := partition.Inspect(ctx, node)
		opensPartition := !errors.Is(err, mesh.ErrNoHandler)
		if err != nil && opensPartition {
			return err
		}
		if s.json {
			out := countsJSON(v)
			if hasStore {
				out.Store = newStoreJSON(st)
			}
			if opensPartition {
				out.Partition = statusOf(report.Status)
			}
			return s.printJSON(out)
		}
		tw := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		fmt.Fprintf(tw, "node\t%s\nmesh\t%v\nmembers\t%d\n", nameOf(v), v.Mesh, len(v.Members))
		for _, state := range allStates {
			fmt.Fprintf(tw, "  %v\t%d\n", state, v.Count(state))
		}
		self, _ := v.Member(v.Self)
		fmt.Fprintf(tw, "tags\t%s\n", cmp.Or(cleanLine(tagsOf(self)), "-"))
		fmt.Fprintf(tw, "capabilities\t%s\n", cmp.Or(cleanLine(strings.Join(self.Capabilities, ",")), "-"))
		if hasStore {
			storeRows(tw, st)
		} else {
			fmt.Fprintln(tw, "store\tnone\tthe program opens none")
		}
		if !opensPartition {
			fmt.Fprintln(tw, "partition\tnone\tthe program opens none: of cuts and leaders nothing is known")
			return tw.Flush()
		}
		leaders(tw, v, report.Status)
		if err := tw.Flush(); err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.out, "\n%s", cleanLines(report.Text))
		return err
	})
}

// storeRows says how a store is doing, a line for each figure.
func storeRows(w io.Writer, st replica.Status) {
	fmt.Fprintf(w, "hints\t%d\tcopies kept for nodes that are down\n", st.Hints)
	fmt.Fprintf(w, "syncing\t%d\tshards not known to be equal at their homes\n", st.Syncing)
	fmt.Fprintf(w, "delivered\t%d\thints handed over\n", st.Delivered)
	fmt.Fprintf(w, "repaired\t%d\trecords mended after a read\n", st.Repaired)
	fmt.Fprintf(w, "compared\t%d\tcomparisons with a peer\n", st.Compared)
	fmt.Fprintf(w, "moved\t%d\trecords brought by comparisons\n", st.Moved)
	waiting := "writes that wait here for a store"
	if st.OutboxOps > 0 {
		waiting += fmt.Sprintf(": %d bytes, the oldest for %v", st.OutboxBytes, st.OutboxOldest.Round(time.Second))
	}
	if st.OutboxError != "" {
		waiting += "; " + cleanLine(st.OutboxError)
	}
	fmt.Fprintf(w, "outbox\t%d\t%s\n", st.OutboxOps, waiting)
	if st.OutboxDropped > 0 {
		fmt.Fprintf(w, "given up\t%d\twrites that waited here, for age or for lack of room\n", st.OutboxDropped)
	}
}

// allStates are the states that members are counted by.
var allStates = [...]view.State{view.Alive, view.Suspect, view.Failed, view.Departed, view.Unknown}

func countsJSON(v view.View) statusJSON {
	self, _ := v.Member(v.Self)
	out := statusJSON{Mesh: v.Mesh.String(), Self: v.Self.String(), Name: self.Name, Members: map[string]int{}, Tags: self.Tags, Capabilities: self.Capabilities}
	for _, state := range allStates {
		out.Members[state.String()] = v.Count(state)
	}
	return out
}
