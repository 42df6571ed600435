package watching

import (
	"sync"

	"github.com/skeinmesh/skein/internal/watch"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/version"
)

// mostRead is how many changes of a feed are kept as they were read. Their items are at most
// of watch.KeptItem each.
const mostRead = 512

// lastRead are items of changes that were read last, for all who watch at the node of their
// feed: what one of them has read the others need not read again. The zero lastRead is empty.
type lastRead struct {
	mu  sync.Mutex
	all []readItem // of which number n is at n % len
}

type readItem struct {
	of watch.Position
	version.Item
}

// readItem reads the item of a change. It is shared, as are its values, which lie in item.
func (l *lastRead) readItem(of watch.Position, item []byte) (version.Item, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = make([]readItem, mostRead)
	}
	at := &l.all[of.Seq%mostRead]
	if at.of == of {
		return at.Item, nil
	}
	it, err := wire.DecodeItem(item)
	if err == nil && (at.of.Epoch != of.Epoch || at.of.Seq < of.Seq) { // who is late keeps nothing
		*at = readItem{of, it}
	}
	return it, err
}

// forgetAll forgets what was read.
func (l *lastRead) forgetAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = nil
}
