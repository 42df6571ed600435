package peers

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	maxUploads = 64 << 20 // bytes of objects that have not come as a whole, at one node
	uploadAge  = time.Minute
)

var errBusy = errors.New("too much is being put here now")

// uploads are objects of which some pieces have come.
type uploads struct {
	mu    sync.Mutex
	parts map[uploadKey]*upload
	bytes int // they are to have in all
}

type uploadKey struct {
	from view.NodeID
	id   uint64
}

type upload struct {
	name string
	size int
	data []byte
	last time.Time // a piece came
}

func newUploads() *uploads { return &uploads{parts: make(map[uploadKey]*upload)} }

// addPiece takes a piece, and returns the object once it is whole. Pieces come in order; one at
// offset 0 begins. What nobody goes on with is dropped after a while.
func (u *uploads) addPiece(now time.Time, from view.NodeID, ask wire.ObjectAsk) (data []byte, whole bool, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for key, p := range u.parts {
		if now.Sub(p.last) > uploadAge {
			u.dropUpload(key)
		}
	}
	key := uploadKey{from, ask.Upload}
	if ask.Offset == 0 {
		u.dropUpload(key)
		if u.bytes+ask.Size > maxUploads {
			return nil, false, errBusy
		}
		u.parts[key] = &upload{name: ask.Name, size: ask.Size}
		u.bytes += ask.Size
	}
	p := u.parts[key]
	if p == nil || p.name != ask.Name || p.size != ask.Size || len(p.data) != ask.Offset || ask.Offset+len(ask.Data) > ask.Size {
		u.dropUpload(key)
		return nil, false, fmt.Errorf("a piece of %d bytes at %d of %d does not go on with what came before", len(ask.Data), ask.Offset, ask.Size)
	}
	p.data, p.last = append(p.data, ask.Data...), now
	if len(p.data) < p.size {
		return nil, false, nil
	}
	u.dropUpload(key)
	return p.data, true, nil
}

func (u *uploads) dropUpload(key uploadKey) {
	if p := u.parts[key]; p != nil {
		u.bytes -= p.size
		delete(u.parts, key)
	}
}
