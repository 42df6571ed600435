package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// holdings are what one stopped node's store holds, read from its files.
type holdings struct {
	Node  view.NodeID
	Items map[string]version.Item
}

// verdict is the audit's finding. Faults name the first few cases.
type verdict struct {
	Acked       int // acknowledged writes in the journal
	Lost        int // of them: neither present nor replaced by a write in the journal
	Resurrected int // keys that hold a deleted value, or one that no acknowledged write made
	Diverged    int // keys whose homes hold different records
	Faults      []string
	Keys        []string // the keys of these faults
}

func (v *verdict) isClean() bool { return v.Lost+v.Resurrected+v.Diverged == 0 }

func (v *verdict) addFault(count *int, key, what string) {
	*count++
	if len(v.Faults) < 10 {
		v.Faults = append(v.Faults, key+": "+what)
		if !slices.Contains(v.Keys, key) {
			v.Keys = append(v.Keys, key)
		}
	}
}

// explain lists all that is known of a key, for whoever looks for the cause.
func explain(key string, journal []entry, disks []holdings, name func(view.NodeID) string) []string {
	var lines []string
	for _, e := range journal {
		if e.Key == key {
			lines = append(lines, fmt.Sprintf("journal: %+v", e))
		}
	}
	for _, d := range disks {
		if item, ok := d.Items[key]; ok {
			lines = append(lines, fmt.Sprintf("disk of %s (%v): context %v", name(d.Node), d.Node, item.Ctx))
			for _, s := range item.Sibs {
				lines = append(lines, fmt.Sprintf("    %v hlc %d delete %t value %s", s.Dot, s.HLC, s.Flags&version.Tomb != 0, s.Value))
			}
		}
	}
	return lines
}

// auditStores holds the stores against the writer's journal. homes names the nodes
// that should hold a key.
func auditStores(journal []entry, disks []holdings, homes func(key string) []view.NodeID) verdict {
	byKey := make(map[string][]entry)
	for _, e := range journal {
		byKey[e.Key] = append(byKey[e.Key], e)
	}
	var v verdict
	for key, writes := range byKey {
		item := v.homesOf(key, disks, homes(key))
		h := historyOf(writes)
		for _, e := range writes {
			if !e.Unknown {
				v.Acked++
				v.checkPresent(e, item, h)
			}
		}
		v.checkNotRisen(key, item, h)
	}
	slices.Sort(v.Faults)
	return v
}

// homesOf compares the homes' records of a key and returns them merged.
func (v *verdict) homesOf(key string, disks []holdings, homes []view.NodeID) version.Item {
	var merged version.Item
	equal, seen := true, 0
	for _, d := range disks {
		if !slices.Contains(homes, d.Node) {
			continue
		}
		item := d.Items[key] // a home without a record holds the zero item
		if seen++; seen > 1 && !merged.Equal(item) {
			equal = false
		}
		merged = version.Merge(merged, item)
	}
	if !equal || seen != len(homes) {
		v.addFault(&v.Diverged, key, fmt.Sprintf("its %d homes differ", len(homes)))
	}
	return merged
}

// history is what the journal says of one key.
type history struct {
	made     map[version.Dot]bool // by an acknowledged put
	replaced map[version.Dot]bool // by an acknowledged write
	last     uint64               // the latest write, acknowledged or open
	deleted  uint64               // the latest acknowledged delete
	puts     map[uint64]bool      // by their numbers
	// twice: some write may have taken effect more than once, under another
	// id: its answer never came, or came so late that a second node may have
	// been asked.
	twice bool
}

func historyOf(writes []entry) history {
	h := history{made: make(map[version.Dot]bool), replaced: make(map[version.Dot]bool), puts: make(map[uint64]bool)}
	for _, e := range writes {
		h.last = max(h.last, e.Write)
		h.twice = h.twice || e.Unknown || e.Slow
		if !e.Delete {
			h.puts[e.Write] = true
		}
		if e.Unknown {
			continue
		}
		if e.Delete {
			h.deleted = max(h.deleted, e.Write)
		} else {
			h.made[e.Dot] = true
		}
		for _, d := range e.Covered {
			h.replaced[d] = true
		}
	}
	return h
}

// checkPresent requires an acknowledged write to be there, or replaced by a write
// of the journal.
func (v *verdict) checkPresent(e entry, item version.Item, h history) {
	alive := slices.ContainsFunc(item.Sibs, func(s version.Sibling) bool { return s.Dot == e.Dot })
	switch {
	case alive, h.replaced[e.Dot]:
	case h.twice && h.last > e.Write && item.Ctx.Covers(e.Dot): // replaced by the other life of a later write
	default:
		v.addFault(&v.Lost, e.Key, fmt.Sprintf("acknowledged write %d is gone and nothing replaced it", e.Write))
	}
}

// checkNotRisen requires every live value to come from a put of the journal
// that no acknowledged write has replaced, and the one that readers are shown
// to be later than every acknowledged delete.
func (v *verdict) checkNotRisen(key string, item version.Item, h history) {
	var shown *version.Sibling
	for i := range item.Sibs {
		s := &item.Sibs[i]
		if shown == nil || s.HLC > shown.HLC || s.HLC == shown.HLC && s.Dot.Compare(shown.Dot) > 0 {
			shown = s
		}
		if s.Flags&version.Tomb != 0 {
			continue
		}
		if h.replaced[s.Dot] {
			v.addFault(&v.Resurrected, key, "a replaced or deleted value is live again")
			return
		}
		if !h.made[s.Dot] && !(h.twice && h.puts[numberOf(s.Value)]) {
			v.addFault(&v.Resurrected, key, "holds a live value that no acknowledged write made")
			return
		}
	}
	if shown != nil && shown.Flags&version.Tomb == 0 && numberOf(shown.Value) < h.deleted {
		v.addFault(&v.Resurrected, key, "shows a value older than its acknowledged delete")
	}
}

// numberOf returns the number of the write that a stored value carries, 0 for
// a value that is none of the writer's.
func numberOf(value []byte) uint64 {
	var s sample
	if json.Unmarshal(value, &s) != nil {
		return 0
	}
	return s.Write
}
