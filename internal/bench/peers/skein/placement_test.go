package main

import (
	"testing"

	"github.com/skeinmesh/skein/internal/placement"
)

func TestMovedCountsNewHomes(t *testing.T) {
	three := []placement.Node{{ID: 1, Name: "a", Zone: "x"}, {ID: 2, Name: "b", Zone: "y"}, {ID: 3, Name: "c", Zone: "z"}}
	before, err := placement.New(three, 31)
	if err != nil {
		t.Fatal(err)
	}
	table := before.Table(copies, nil)
	if n := countMoved(31, table, table); n != 0 {
		t.Errorf("nothing changed, yet %d copies moved", n)
	}
	// With two nodes left each shard has two homes, and both were homes before.
	if n := countMoved(31, table, before.With(three[:2]).Table(copies, nil)); n != 0 {
		t.Errorf("a home went without a substitute, yet %d copies moved", n)
	}
	other := []placement.Node{three[0], three[1], {ID: 4, Name: "d", Zone: "z"}}
	if n := countMoved(31, table, before.With(other).Table(copies, nil)); n != 31 {
		t.Errorf("one of three homes was replaced in 31 shards, %d copies moved", n)
	}
}

func TestMovementHasBothFigures(t *testing.T) {
	values, err := movement()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"join", "leave"} {
		if v := values[name]; v < 0.5 || v > 3 {
			t.Errorf("%s = %v times the ideal", name, v)
		}
	}
}
