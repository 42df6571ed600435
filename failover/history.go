package failover

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"time"
)

const (
	historyTime  = "20060102T150405.000000000Z" // sorts by time
	historyLimit = 1000                         // events, if nobody says
	maxHistory   = 10_000
	maxEvent     = 64 << 10         // bytes of one in the records
	maxError     = 4 << 10          // bytes of Event.Error in the records
	writeLimit   = 10 * time.Second // for one record
	keepDefault  = 30 * 24 * time.Hour
)

// historyOf is what the keys of a service's events begin with. In its name there is no slash.
func historyOf(service string) string { return historyPrefix + url.PathEscape(service) + "/" }

// keyOfEvent is where an event lies. It is the same each time that the event is written.
func keyOfEvent(e numbered) string {
	return fmt.Sprintf("%s%s-%s-%012d", historyOf(e.Service), e.At.UTC().Format(historyTime), e.Node, e.number)
}

// writeEvent writes an event to the records.
func (c Config) writeEvent(ctx context.Context, e numbered) error {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	text, err := json.Marshal(e.Event)
	if err != nil {
		return err
	}
	return c.Records.Write(ctx, keyOfEvent(e), text, c.Keep)
}

// History returns what has happened to a service at all nodes, the newest last: the latest
// events since then, limit at most. A limit of 0 is 1 000, and 10 000 the most. The order is
// that of the nodes' clocks. This node need not serve the service. What happens comes in
// within seconds, and stays for Config.Keep.
//
// The errors are ErrNoRecords, ErrClosed, and those of the records, which may come beside the
// events that could be reached.
func (f *Failover) History(ctx context.Context, service string, since time.Time, limit int) (events []Event, err error) {
	records, err := f.openRecords("read the history of", service)
	if err != nil {
		return nil, err
	}
	if limit <= 0 {
		limit = historyLimit
	}
	limit = min(limit, maxHistory)
	first := historyOf(service) + since.UTC().Format(historyTime)
	err = records.Each(ctx, historyOf(service), func(key string, value []byte) bool {
		if key < first {
			return false
		}
		var e Event
		if len(value) <= maxEvent && json.Unmarshal(value, &e) == nil {
			events = append(events, e)
		}
		return len(events) < limit
	})
	slices.Reverse(events)
	if err != nil {
		err = fmt.Errorf("failover: read the history of %.60q: %w", service, err)
	}
	return events, err
}
