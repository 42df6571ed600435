// Telemetry is a node that writes what it measures, how many goroutines it has, under
// sensor/NAME/TIME every second, and shows what all nodes measure: / is a live page of the
// last values, by a watch, and /report sums up those of the last hour, by a scan.
//
//	go run ./examples/telemetry -name press-1 -dir /tmp/press-1 -secret-file mesh.secret -http 127.0.0.1:9781
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"maps"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/replica"
)

// timeInKey sorts as text as it does as time.
const timeInKey = "2006-01-02T15:04:05.000Z"

// telemetry is the values of all nodes.
type telemetry struct {
	values *replica.Bucket
	mu     sync.Mutex
	last   map[string]string // time and value by sensor
}

func main() {
	cfg := mesh.Config{Storing: true}
	flag.StringVar(&cfg.Name, "name", "", "name of the node (required)")
	flag.StringVar(&cfg.Dir, "dir", "", "data directory (required)")
	flag.StringVar(&cfg.Listen, "listen", "", "host:port to listen on (default :7800)")
	flag.Func("seed", "`host:port` of another node; may be repeated", func(s string) error { cfg.Seeds = append(cfg.Seeds, s); return nil })
	secretFile := flag.String("secret-file", "", "file with the mesh secret, as skeinctl init writes it (required)")
	web := flag.String("http", "127.0.0.1:9781", "host:port of the page; it asks nobody who they are")
	flag.Parse()
	text, err := os.ReadFile(*secretFile)
	if err == nil {
		cfg.Secret, err = identity.ParseSecret(string(text))
	}
	if err == nil {
		err = runNode(context.Background(), cfg, *web)
	}
	log.Fatal(err)
}

// runNode ends with an error only: what a process that is killed has written stays.
func runNode(ctx context.Context, cfg mesh.Config, web string) error {
	node, err := mesh.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer node.Close()
	store, err := replica.Open(ctx, replica.Config{Mesh: node})
	if err != nil {
		return err
	}
	defer store.Close()
	values, err := store.Bucket(ctx, "telemetry", replica.BucketConfig{TTL: time.Hour})
	if err != nil {
		return err
	}
	t, mux, ended := &telemetry{values: values, last: map[string]string{}}, http.NewServeMux(), make(chan error, 2)
	mux.HandleFunc("/", t.showLast)
	mux.HandleFunc("/report", t.reportValues)
	go t.recordValues(ctx, cfg.Name)
	go func() { ended <- http.ListenAndServe(web, mux) }()
	go func() { ended <- t.followValues(ctx) }()
	return <-ended // and with it the program
}

// recordValues writes what is measured here.
func (t *telemetry) recordValues(ctx context.Context, name string) {
	for now := range time.Tick(time.Second) {
		key := "sensor/" + name + "/" + now.UTC().Format(timeInKey)
		if _, err := t.values.Put(ctx, key, strconv.AppendInt(nil, int64(runtime.NumGoroutine()), 10), nil); err != nil {
			log.Printf("%s: %v", key, err) // ErrDegraded: it is kept, on fewer disks
		}
	}
}

// followValues keeps the last values. A watch that was too slow goes on where it was.
func (t *telemetry) followValues(ctx context.Context) error {
	opts := replica.WatchOptions{Prefix: "sensor/", Present: true}
	for {
		for change, err := range t.values.Watch(ctx, opts) {
			if opts.From = change.Cursor(); errors.Is(err, replica.ErrClosed) {
				return err
			} else if err != nil {
				log.Print(err) // ErrTooSlow, or a bucket that was defined in two ways: it goes on
			}
			if value, ok := change.Value(); ok {
				sensor, at, _ := strings.Cut(strings.TrimPrefix(change.Key, "sensor/"), "/")
				t.mu.Lock()
				t.last[sensor] = max(t.last[sensor], at+" "+string(value))
				t.mu.Unlock()
			}
		}
	}
}

func (t *telemetry) showLast(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Refresh", "1")
	t.mu.Lock()
	last := maps.Clone(t.last) // who reads the page slowly is not to hold up the watch
	t.mu.Unlock()
	for _, sensor := range slices.Sorted(maps.Keys(last)) {
		fmt.Fprintln(w, sensor, last[sensor])
	}
}

// reportValues counts and adds up what is kept.
func (t *telemetry) reportValues(w http.ResponseWriter, r *http.Request) {
	count, sum := map[string]int{}, map[string]int{}
	for entry, err := range t.values.Scan(r.Context(), replica.ScanOptions{Prefix: "sensor/"}) {
		if err != nil {
			fmt.Fprintln(w, "not all is known:", err)
			continue
		}
		value, _ := entry.Value()
		sensor, _, _ := strings.Cut(strings.TrimPrefix(entry.Key, "sensor/"), "/")
		n, _ := strconv.Atoi(string(value))
		count[sensor], sum[sensor] = count[sensor]+1, sum[sensor]+n
	}
	for _, sensor := range slices.Sorted(maps.Keys(count)) {
		fmt.Fprintf(w, "%s: %d values, %d on average\n", sensor, count[sensor], sum[sensor]/count[sensor])
	}
}
