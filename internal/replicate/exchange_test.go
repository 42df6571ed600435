package replicate

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// shelf is a store whose records are numbers that merge by maximum.
type shelf map[string]uint64

func (s shelf) page(after string, first bool, limit int) Page {
	p := Page{After: after, First: first, Last: true}
	for _, k := range slices.Sorted(maps.Keys(s)) {
		if !first && k <= after {
			continue
		}
		if len(p.Marks) == limit {
			p.Last = false
			break
		}
		p.Marks = append(p.Marks, Mark{k, s[k]})
	}
	return p
}

// TestF1_23_MovesOnlyWhatDiffers runs the exchange between random stores.
func TestF1_23_MovesOnlyWhatDiffers(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 1))
	for range 3000 {
		units := 1 + r.IntN(3)
		mine, theirs := make([]shelf, units), make([]shelf, units)
		differing := 0
		var all []int
		for u := range units {
			mine[u], theirs[u] = shelf{}, shelf{}
			all = append(all, u)
			for k := range r.IntN(40) {
				key, v := fmt.Sprintf("%02d", k), uint64(1+r.IntN(3))
				switch r.IntN(8) {
				case 0:
					mine[u][key] = v
				case 1:
					theirs[u][key] = v
				case 2:
					mine[u][key], theirs[u][key] = v, v+1
				case 3:
					mine[u][key], theirs[u][key] = v+1, v
				default:
					mine[u][key], theirs[u][key] = v, v
					continue
				}
				differing++
			}
		}
		pageSize, early := 1+r.IntN(9), r.IntN(3) == 0
		moved, steps := 0, 0
		for e := NewExchange(all, 1+r.IntN(5)); ; steps++ {
			if steps > 2000 {
				t.Fatal("does not end")
			}
			at := e.Step()
			if at.Kind == Done {
				break
			}
			n := len(at.Keys)
			if early && n > 1 {
				n = 1 + r.IntN(n)
			}
			switch at.Kind {
			case Digests:
				var differ []int
				for _, u := range at.Units {
					if !maps.Equal(mine[u], theirs[u]) {
						differ = append(differ, u)
					}
				}
				e.Differ(differ)
			case List:
				e.Listed(theirs[at.Unit].page(at.After, at.First, pageSize), mine[at.Unit].page(at.After, at.First, 1000).Marks)
			case Pull:
				var back []string
				for _, k := range at.Keys[:n] {
					if v := theirs[at.Unit][k]; v >= mine[at.Unit][k] {
						mine[at.Unit][k] = v
					} else {
						back = append(back, k)
					}
					moved++
				}
				e.Pulled(n, back)
			case Push:
				for _, k := range at.Keys[:n] {
					theirs[at.Unit][k] = max(theirs[at.Unit][k], mine[at.Unit][k])
					moved++
				}
				e.Pushed(n)
			}
		}
		for u := range units {
			if !maps.Equal(mine[u], theirs[u]) {
				t.Fatalf("unit %d: %v, %v", u, mine[u], theirs[u])
			}
		}
		if moved > 2*differing {
			t.Fatalf("%d records moved for %d differences", moved, differing)
		}
	}
}

func TestExchangeIgnoresOwnKeysBeyondThePage(t *testing.T) {
	e := NewExchange([]int{4}, 0)
	e.Differ([]int{4})
	e.Listed(Page{First: true, Marks: []Mark{{"b", 1}}}, []Mark{{"a", 1}, {"b", 1}, {"c", 1}})
	if s := e.Step(); s.Kind != Push || fmt.Sprint(s.Keys) != "[a]" {
		t.Fatalf("%+v", s)
	}
	e.Pushed(1)
	if s := e.Step(); s.Kind != List || s.After != "b" || s.First {
		t.Fatalf("%+v", s)
	}
	e.Listed(Page{After: "b", Last: true}, []Mark{{"b", 1}, {"c", 1}})
	if s := e.Step(); s.Kind != Push || fmt.Sprint(s.Keys) != "[c]" {
		t.Fatalf("%+v", s)
	}
}
