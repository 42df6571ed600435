package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// What this package can carry is what a Tier must keep.
var _ = [1]struct{}{}[wire.MaxObject-backup.MaxObject]

// errTooLarge: no other node would answer otherwise.
var errTooLarge = errors.New("it is too large")

// askHolder asks one node.
func (t *Tier) askHolder(ctx context.Context, m view.Member, ask wire.ObjectAsk) (wire.ObjectAnswer, error) {
	callCtx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	reply, err := t.cfg.Mesh.Call(callCtx, m.ID, method, wire.AppendObjectAsk(nil, ask))
	if err != nil {
		return wire.ObjectAnswer{}, err
	}
	a, err := wire.DecodeObjectAnswer(reply)
	if err != nil || a.Fault == 0 {
		return a, err
	}
	if fault := faults()[a.Fault]; fault != nil {
		return a, fmt.Errorf("%w: %s", fault, a.Text)
	}
	return a, errors.New(a.Text)
}

// nameError names the node that an error is about.
func nameError(m view.Member, err error) error {
	return fmt.Errorf("at %s: %w", view.Named{ID: m.ID, Name: m.Name}, err)
}

// holders checks what a method is given, and returns whom to ask, in order.
func (t *Tier) holders(ctx context.Context, what, name string) ([]view.Member, error) {
	if err := backup.CheckName(name); err != nil {
		return nil, fmt.Errorf("%s %.100q: %w", what, name, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s %s: %w", what, name, err)
	}
	return orderHolders(t.cfg.Mesh.View(), t.cfg.Holders, name), nil
}

// Put keeps an object at other nodes; see backup.Tier. The name must begin with this node's Prefix.
// Nodes that are not in contact are passed over. The error may be ErrFewCopies.
func (t *Tier) Put(ctx context.Context, name string, data []byte) error {
	members, err := t.holders(ctx, "put", name)
	if err != nil {
		return err
	}
	if len(data) > backup.MaxObject {
		return fmt.Errorf("put %s: %d bytes are more than the %d of an object", name, len(data), backup.MaxObject)
	}
	kept := 0
	var failed []error
	for _, m := range members {
		if kept == t.cfg.Copies || ctx.Err() != nil {
			break
		}
		if m.State != view.Alive {
			continue
		}
		if err := t.putAt(ctx, m, name, data); err == nil {
			kept++
		} else if !errors.Is(err, errNoStore) {
			failed = append(failed, nameError(m, err))
		}
	}
	if kept == t.cfg.Copies || kept >= t.cfg.MinCopies && len(failed) == 0 && ctx.Err() == nil {
		return nil
	}
	err = fmt.Errorf("put %s: %w: %d of %d", name, ErrFewCopies, kept, t.cfg.Copies)
	if cause := errors.Join(append(failed, ctx.Err())...); cause != nil {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

func (t *Tier) putAt(ctx context.Context, m view.Member, name string, data []byte) error {
	upload := rand.Uint64()
	for offset := 0; ; offset += wire.MaxObjectPiece {
		end := min(offset+wire.MaxObjectPiece, len(data))
		ask := wire.ObjectAsk{Deed: wire.PutObject, Name: name, Upload: upload, Offset: offset, Size: len(data), Data: data[offset:end]}
		if _, err := t.askHolder(ctx, m, ask); err != nil || end == len(data) {
			return err
		}
	}
}

// findObject asks one node after the other until one has the object. That there is none is said only
// where every copy would have been found.
func (t *Tier) findObject(ctx context.Context, what, name string, fetch func(m view.Member) error) error {
	members, err := t.holders(ctx, what, name)
	if err != nil {
		return err
	}
	var away []error
	for _, m := range members {
		err := fmt.Errorf("%w: it is %v", ErrAway, m.State)
		if m.State == view.Alive {
			err = fetch(m)
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil, errors.Is(err, errTooLarge):
			return fmt.Errorf("%s %s: %w", what, name, errors.Join(err, ctx.Err()))
		case !errors.Is(err, backup.ErrNoObject) && !errors.Is(err, errNoStore):
			away = append(away, nameError(m, err))
		}
	}
	if len(away) < t.cfg.MinCopies {
		return fmt.Errorf("%s %s: %w at any of %d nodes", what, name, backup.ErrNoObject, len(members))
	}
	return fmt.Errorf("%s %s: %w", what, name, errors.Join(away...))
}

// Get returns an object from the first node that has it, this node's own or not; see backup.Tier.
// Where too many nodes are out of reach to say that there is none, the error is another one than
// backup.ErrNoObject.
func (t *Tier) Get(ctx context.Context, name string, most int) (data []byte, err error) {
	err = t.findObject(ctx, "get", name, func(m view.Member) error {
		data, err = t.getFrom(ctx, m, name, most)
		return err
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

func (t *Tier) getFrom(ctx context.Context, m view.Member, name string, most int) ([]byte, error) {
	var data bytes.Buffer
	for size := -1; size != data.Len(); {
		a, err := t.askHolder(ctx, m, wire.ObjectAsk{Deed: wire.GetObject, Name: name, Offset: data.Len()})
		switch {
		case err != nil:
			return nil, err
		case len(a.Objects) != 1 || size >= 0 && a.Objects[0].Size != size, len(a.Data) == 0 && a.Objects[0].Size > 0:
			return nil, fmt.Errorf("answered with %d bytes of %d objects", len(a.Data), len(a.Objects))
		case a.Objects[0].Size > most:
			return nil, fmt.Errorf("%w: %d bytes are more than %d", errTooLarge, a.Objects[0].Size, most)
		}
		size = a.Objects[0].Size
		if data.Write(a.Data); data.Len() > size {
			return nil, fmt.Errorf("answered with %d bytes of %d", data.Len(), size)
		}
	}
	return data.Bytes(), nil
}

// Stat tells of an object; see backup.Tier, and Get for where nodes are out of reach.
func (t *Tier) Stat(ctx context.Context, name string) (o backup.Object, err error) {
	err = t.findObject(ctx, "stat", name, func(m view.Member) error {
		a, err := t.askHolder(ctx, m, wire.ObjectAsk{Deed: wire.StatObject, Name: name})
		if err == nil && len(a.Objects) != 1 {
			err = fmt.Errorf("answered with %d objects", len(a.Objects))
		}
		if err == nil {
			o = backup.Object{Name: name, Size: int64(a.Objects[0].Size), Time: a.Objects[0].Time}
		}
		return err
	})
	return o, err
}

// Delete has an object gone from all nodes; see backup.Tier. It is an error when one of them is out
// of reach, for it may have a copy; the others have none then.
func (t *Tier) Delete(ctx context.Context, name string) error {
	members, err := t.holders(ctx, "delete", name)
	if err != nil {
		return err
	}
	var failed []error
	for _, m := range members {
		err := fmt.Errorf("%w: it is %v", ErrAway, m.State)
		if m.State == view.Alive {
			_, err = t.askHolder(ctx, m, wire.ObjectAsk{Deed: wire.DeleteObject, Name: name})
		}
		if err != nil && !errors.Is(err, errNoStore) {
			failed = append(failed, nameError(m, err))
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("delete %s: %w", name, errors.Join(append(failed, ctx.Err())...))
}

// List tells of the objects of a prefix at all nodes; see backup.Tier. Where too many are out of
// reach to know of all objects, it ends with an error behind those that it knows of.
func (t *Tier) List(ctx context.Context, prefix string) iter.Seq2[backup.Object, error] {
	return func(yield func(backup.Object, error) bool) {
		if !backup.BeginsNames(prefix) {
			return
		}
		var lists []*list
		for _, m := range orderHolders(t.cfg.Mesh.View(), t.cfg.Holders, prefix) {
			lists = append(lists, &list{tier: t, member: m, prefix: prefix, more: true})
		}
		for {
			var first *backup.Object
			for _, l := range lists {
				if o := l.peekObject(ctx); o != nil && (first == nil || o.Name < first.Name) {
					first = o
				}
			}
			if first == nil || ctx.Err() != nil {
				break
			}
			o := *first
			for _, l := range lists {
				l.skipName(o.Name)
			}
			if !yield(o, nil) {
				return
			}
		}
		var away []error
		for _, l := range lists {
			if l.err != nil && !errors.Is(l.err, errNoStore) {
				away = append(away, nameError(l.member, l.err))
			}
		}
		if ctx.Err() != nil || len(away) >= t.cfg.MinCopies {
			yield(backup.Object{}, fmt.Errorf("list %s: %w", prefix, errors.Join(append(away, ctx.Err())...)))
		}
	}
}

// list is what one node lists, page by page.
type list struct {
	tier   *Tier
	member view.Member
	prefix string
	after  string
	page   []backup.Object
	more   bool  // pages follow
	err    error // which ended it
}

// peekObject returns the next object, if there is one.
func (l *list) peekObject(ctx context.Context) *backup.Object {
	for len(l.page) == 0 && l.more {
		l.more = false
		if l.member.State != view.Alive {
			l.err = fmt.Errorf("%w: it is %v", ErrAway, l.member.State)
			return nil
		}
		a, err := l.tier.askHolder(ctx, l.member, wire.ObjectAsk{Deed: wire.ListObjects, Name: l.prefix, After: l.after})
		if err != nil {
			l.err = err
			return nil
		}
		for _, o := range a.Objects {
			if o.Name <= l.after || !strings.HasPrefix(o.Name, l.prefix) || backup.CheckName(o.Name) != nil {
				l.err = fmt.Errorf("listed %.100q after %q", o.Name, l.after)
				return nil
			}
			l.after = o.Name
			l.page = append(l.page, backup.Object{Name: o.Name, Size: int64(o.Size), Time: o.Time})
		}
		l.more = a.More && len(a.Objects) > 0
	}
	if len(l.page) == 0 {
		return nil
	}
	return &l.page[0]
}

func (l *list) skipName(name string) {
	if len(l.page) > 0 && l.page[0].Name == name {
		l.page = l.page[1:]
	}
}
