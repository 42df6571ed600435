package former

// StoreStatus is how far the data is that one identity has left.
type StoreStatus struct {
	Dir string
	// Unusable: it is left as it is, for Problem. LookedThrough: all of it was looked at.
	Unusable, LookedThrough bool
	Shards, Done            int    // of which there are records, zero: not known yet; and that are taken in
	Refused                 int    // records that may have been deleted
	Unread                  int    // records that do not read
	Problem                 string // why it does not get on; empty: it does
}

// OutboxStatus is how far the outbox is that a former identity has left.
type OutboxStatus struct {
	Dir                string
	Unusable, Finished bool
	Bad                int    // operations that do not read
	Problem            string // why it does not get on; empty: it does
}

// Status is how far everything is.
type Status struct {
	Stores []StoreStatus
	Outbox *OutboxStatus // nil: there is none
}

// Status tells how far everything is that is still here.
func (im *Importer) Status() (st Status) {
	im.mu.Lock()
	defer im.mu.Unlock()
	if box := im.outbox; box != nil {
		box.mu.Lock()
		st.Outbox = &OutboxStatus{Dir: box.dir, Unusable: box.unusable, Finished: box.finished, Bad: box.bad, Problem: box.problem}
		box.mu.Unlock()
	}
	for _, f := range im.all {
		f.mu.Lock()
		st.Stores = append(st.Stores, StoreStatus{
			Dir: f.dir, Unusable: f.unusable, LookedThrough: f.lookedThrough, Shards: f.shards, Done: f.done,
			Refused: f.refused, Unread: f.unread, Problem: f.problem,
		})
		f.mu.Unlock()
	}
	return st
}
