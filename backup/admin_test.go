package backup

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// door is a node that passes on what it is asked.
type door struct {
	method string
	answer func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error)
}

func (d *door) Handle(method string, h func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error)) error {
	if d.answer != nil {
		return fmt.Errorf("%s is handled", method)
	}
	d.method, d.answer = method, h
	return nil
}

func (d *door) Call(ctx context.Context, method string, req []byte) ([]byte, error) {
	if method != d.method {
		return nil, fmt.Errorf("nobody handles %s", method)
	}
	return d.answer(ctx, 1, req)
}

// A program that is no node has a backup made, and is told what the node knows of them.
func TestClientsAskForBackups(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.newMesh(1, 16, "m")[0]
		w.put(b, "k", "v")
		time.Sleep(time.Minute)
		tier := newMemory()
		w.open(b, 0, map[string]Tier{"t": tier})
		node, ctx := &door{}, context.Background()
		if err := b.backup.HandleAdmin(node); err != nil {
			t.Fatal(err)
		}
		if err := b.backup.HandleAdmin(node); err == nil {
			t.Error("a node answers for two")
		}
		if !strings.HasPrefix(node.method, "admin/") {
			t.Errorf("%s is answered where admin requests are not allowed", node.method)
		}
		c := NewClient(node)
		done, err := c.Now(ctx, "all", "t")
		if err != nil || done.Records != 1 || done.Bytes == 0 || done.Failed != nil {
			t.Fatalf("%+v, %v", done, err)
		}
		got, err := c.Status(ctx)
		if want := b.backup.Status(); err != nil || len(got) != 1 || !got[0].LastGood.Equal(want[0].LastGood) {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		} else if got[0].LastGood = want[0].LastGood; !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
		if _, err := c.Now(ctx, "all", "other"); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "other") {
			t.Errorf("an unknown tier: %v", err)
		}
		tier.mu.Lock()
		tier.fail = func(op, _ string) error {
			if op == "put" {
				return fmt.Errorf("%s: %w", strings.Repeat("x", maxWords-100), ErrTierFull)
			}
			return nil
		}
		tier.mu.Unlock()
		w.put(b, "l", "v")
		if _, err := c.Now(ctx, "all", "t"); !errors.Is(err, ErrTierFull) || len(err.Error()) > maxWords {
			t.Errorf("a full tier: %v", err)
		}
		if got, err := c.Status(ctx); err != nil || got[0].Error == "" {
			t.Errorf("%+v, %v", got, err)
		}
		for _, req := range []string{"", "{", `{"Do":"frob"}`, `{"Do":"` + strings.Repeat("x", maxRequest) + `"}`} {
			if text, err := node.answer(ctx, 1, []byte(req)); err == nil && !strings.Contains(string(text), "does not know") {
				t.Errorf("%.20q is answered by %s", req, text)
			}
		}
		if err := b.backup.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = c.Status(ctx)
		if _, again := c.Now(ctx, "all", "t"); !errors.Is(err, ErrClosed) || !errors.Is(again, ErrClosed) {
			t.Errorf("closed: %v, %v", err, again)
		}
	})
}

// What a slice lacks is told in words.
func TestClientsAreToldOfWhatFailed(t *testing.T) {
	answer := func(text string) *Client {
		return NewClient(&door{methodAdmin, func(context.Context, view.NodeID, []byte) ([]byte, error) { return []byte(text), nil }})
	}
	if done, err := answer(`{"Done":{"Records":3,"Failed":null,"Why":"damaged"}}`).Now(t.Context(), "p", "t"); err != nil || done.Records != 3 || done.Failed == nil || done.Failed.Error() != "damaged" {
		t.Errorf("%+v, %v", done, err)
	}
	if got, err := answer(`{"Levels":[{"Policy":"p","Last":{"Failed":null},"Why":"damaged"}]}`).Status(t.Context()); err != nil || got[0].Policy != "p" || got[0].Last.Failed == nil {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "[]", strings.Repeat(" ", maxAnswer+1)} {
		if got, err := answer(bad).Status(t.Context()); err == nil {
			t.Errorf("%.10q is taken for %+v", bad, got)
		}
	}
}
