package stage

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestLineAnswersEachRequestByItsNumber(t *testing.T) {
	in, parent := io.Pipe()
	child, out := io.Pipe()
	l := NewLine[string, int, string](out)
	ended := make(chan error, 1)
	free := make(chan struct{})
	go func() {
		ended <- l.Answer(t.Context(), in, func(ctx context.Context, ask string) (int, error) {
			switch ask {
			case "slow":
				<-free
				return 1, nil
			case "quick":
				return 2, nil
			}
			return 0, errors.New("no such request")
		})
	}()
	go io.WriteString(parent, `{"id":1,"ask":"slow"} {"id":2,"ask":"quick"} `)
	dec := json.NewDecoder(child)
	read := func() (a answer[int, string]) {
		if err := dec.Decode(&a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := read(); a.ID != 2 || a.Say == nil || *a.Say != 2 {
		t.Errorf("first answer %+v, want that of the quick request", a)
	}
	go l.Tell("news")
	if a := read(); a.Event == nil || *a.Event != "news" {
		t.Errorf("then %+v, want the news", a)
	}
	close(free)
	if a := read(); a.ID != 1 || a.Say == nil || *a.Say != 1 {
		t.Errorf("then %+v, want that of the slow request", a)
	}
	go io.WriteString(parent, `{"id":3,"ask":"what"} `)
	if a := read(); a.ID != 3 || a.Say != nil || !strings.Contains(a.Err, "no such request") {
		t.Errorf("then %+v, want an error", a)
	}
	go io.WriteString(parent, `{"id":4,"quit":true} `)
	if a := read(); a.ID != 4 {
		t.Errorf("at last %+v, want that it quits", a)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestACutIsBetweenASideAndTheRest(t *testing.T) {
	var roles []Role
	for i, name := range []string{"a", "b", "c"} {
		roles = append(roles, Role{Name: name, Addr: netip.AddrFrom4([4]byte{127, 0, 0, byte(i + 1)})})
	}
	b, c := roles[1].Addr, roles[2].Addr
	for _, w := range []struct {
		name string
		side []string
		want []netip.Addr
	}{{"a", []string{"a"}, []netip.Addr{b, c}}, {"b", []string{"a"}, []netip.Addr{roles[0].Addr}}, {"a", []string{"a", "b"}, []netip.Addr{c}}, {"a", nil, nil}} {
		if got := AcrossCut(roles, w.side, w.name); !slices.Equal(got, w.want) {
			t.Errorf("%s loses %v when %v is cut off, want %v", w.name, got, w.side, w.want)
		}
	}
}
