package peers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const method = wire.ObjectMethod

// errNoStore: the node keeps no objects.
var errNoStore = errors.New("the node keeps no objects of others")

// A fault with another number than these is one of its own.
const otherFault = 99

// faults are the errors that another node must tell apart. The numbers stay for ever.
func faults() map[uint64]error {
	return map[uint64]error{1: backup.ErrNoObject, 2: backup.ErrTierFull, 3: backup.ErrDenied, 4: backup.ErrBadName, 5: errNoStore}
}

// holder keeps objects of others.
type holder struct {
	cfg      Config
	prefixOf func(view.NodeID) string // of the names that a node may put and delete
	uploads  *uploads

	mu      sync.Mutex
	pending map[view.NodeID]int64 // bytes of the puts of a node that go on
}

// answerAsk is the handler of all requests.
func (h *holder) answerAsk(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	ask, err := wire.DecodeObjectAsk(req)
	if err != nil {
		return nil, err
	}
	a, err := h.performDeed(ctx, from, ask)
	if err != nil {
		a = wire.ObjectAnswer{Fault: otherFault, Text: err.Error()}
		for number, fault := range faults() {
			if errors.Is(err, fault) {
				a.Fault = number
			}
		}
	}
	return wire.AppendObjectAnswer(nil, a), nil
}

func (h *holder) performDeed(ctx context.Context, from view.NodeID, ask wire.ObjectAsk) (a wire.ObjectAnswer, err error) {
	if m, ok := h.cfg.Mesh.View().Member(from); !ok || m.Status.Gone() {
		return a, fmt.Errorf("%w: %v is no member", backup.ErrDenied, from)
	}
	if h.cfg.Store == nil {
		return a, errNoStore
	}
	if backup.IsPin(ask.Name) && (ask.Deed == wire.PutObject || ask.Deed == wire.DeleteObject) {
		return a, h.changePin(ctx, ask)
	}
	isOwn := strings.HasPrefix(ask.Name, h.prefixOf(from))
	switch ask.Deed {
	case wire.PutObject, wire.DeleteObject:
		if !isOwn {
			return a, fmt.Errorf("%w: %s is no name of an object of %v", backup.ErrDenied, ask.Name, from)
		}
		if ask.Deed == wire.DeleteObject {
			return a, h.cfg.Store.Delete(ctx, ask.Name)
		}
		return a, h.putPiece(ctx, from, ask)
	case wire.StatObject:
		o, err := h.cfg.Store.Stat(ctx, ask.Name)
		return wire.ObjectAnswer{Objects: []wire.ObjectTold{{Name: o.Name, Size: int(o.Size), Time: o.Time}}}, err
	case wire.GetObject:
		return h.getPiece(ctx, ask)
	case wire.ListObjects:
		return h.listPage(ctx, ask)
	}
	return a, fmt.Errorf("deed %d is not known here", ask.Deed)
}

// Pins are of nobody: any member may put and delete them.
const (
	mostPin  = 64 // bytes
	mostPins = 100
)

// changePin puts or deletes a pin.
func (h *holder) changePin(ctx context.Context, ask wire.ObjectAsk) error {
	if ask.Deed == wire.DeleteObject {
		return h.cfg.Store.Delete(ctx, ask.Name)
	}
	if ask.Size > mostPin || len(ask.Data) != ask.Size {
		return fmt.Errorf("%w: a pin of %d bytes", backup.ErrDenied, ask.Size)
	}
	count, prefix := 0, ask.Name[:strings.Index(ask.Name, "-")]
	for _, err := range h.cfg.Store.List(ctx, prefix) {
		if err != nil {
			return err
		}
		if count++; count >= mostPins {
			return fmt.Errorf("%w: there are %d pins", backup.ErrTierFull, count)
		}
	}
	return h.cfg.Store.Put(ctx, ask.Name, ask.Data)
}

// putPiece takes a piece of an object, and keeps the object once it is whole. The quota is looked at
// before more is sent in vain, and again when nothing is missing.
func (h *holder) putPiece(ctx context.Context, from view.NodeID, ask wire.ObjectAsk) error {
	if err := backup.CheckName(ask.Name); err != nil {
		return err
	}
	pending := h.addPending(from, int64(ask.Size))
	defer h.addPending(from, -int64(ask.Size))
	if ask.Offset == 0 {
		if err := h.checkQuota(ctx, from, ask.Name, pending); err != nil {
			return err
		}
	}
	data, whole, err := h.uploads.addPiece(time.Now(), from, ask)
	if err != nil || !whole {
		return err
	}
	if ask.Offset > 0 {
		if err := h.checkQuota(ctx, from, ask.Name, pending); err != nil {
			return err
		}
	}
	return h.cfg.Store.Put(ctx, ask.Name, data)
}

func (h *holder) addPending(from view.NodeID, size int64) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending[from] += size
	pending := h.pending[from]
	if pending == 0 {
		delete(h.pending, from)
	}
	return pending
}

func (h *holder) checkQuota(ctx context.Context, from view.NodeID, name string, pending int64) error {
	if h.cfg.Quota == 0 {
		return nil
	}
	used := pending
	for o, err := range h.cfg.Store.List(ctx, h.prefixOf(from)) {
		if err != nil {
			return err
		}
		if o.Name != name {
			used += o.Size
		}
	}
	if used > h.cfg.Quota {
		return fmt.Errorf("%w for %v: it would be %d bytes of %d", backup.ErrTierFull, from, used, h.cfg.Quota)
	}
	return nil
}

// getPiece answers with a piece, and with the size of the whole. The object is read as a whole each
// time: the system holds it in memory meanwhile, and nothing has to be remembered here.
func (h *holder) getPiece(ctx context.Context, ask wire.ObjectAsk) (a wire.ObjectAnswer, err error) {
	data, err := h.cfg.Store.Get(ctx, ask.Name, backup.MaxObject)
	if err != nil {
		return a, err
	}
	from := min(ask.Offset, len(data))
	a.Data = data[from:min(from+wire.MaxObjectPiece, len(data))]
	a.Objects = []wire.ObjectTold{{Name: ask.Name, Size: len(data)}}
	return a, nil
}

func (h *holder) listPage(ctx context.Context, ask wire.ObjectAsk) (a wire.ObjectAnswer, err error) {
	for o, err := range h.cfg.Store.List(ctx, ask.Name) {
		if err != nil {
			return a, err
		}
		if o.Name <= ask.After || o.Size > wire.MaxObject {
			continue
		}
		if a.More = len(a.Objects) == wire.MaxObjectPage; a.More {
			break
		}
		a.Objects = append(a.Objects, wire.ObjectTold{Name: o.Name, Size: int(o.Size), Time: o.Time})
	}
	return a, nil
}
