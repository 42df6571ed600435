// Package metrics measures what one handle does, and writes it in the text format of
// Prometheus. Each handle has a Set of its own: there is no registry of the process.
package metrics

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// Set is the metrics of one handle. WriteText and what AddDurations returned may be used
// concurrently.
type Set struct {
	node       string
	histograms *prometheus.Registry
}

// nodeLabel is on each metric. Prometheus in a cluster often has a label "node" of its own.
const nodeLabel = "node_id"

// NewSet returns an empty set. All its metrics have a label "node_id" of this value.
func NewSet(node string) *Set {
	return &Set{node: node, histograms: prometheus.NewRegistry()}
}

// Durations is a histogram of how long something took, for each way in which it can end.
type Durations struct{ by []prometheus.Observer }

// AddDurations adds a histogram in seconds, with a label "outcome" if there is one at
// least. Names are those of the program: one that is none by Prometheus' rules panics.
func (s *Set) AddDurations(name, help string, outcomes ...string) *Durations {
	opts := prometheus.HistogramOpts{
		Name: name, Help: help, ConstLabels: prometheus.Labels{nodeLabel: s.node},
		Buckets: prometheus.ExponentialBuckets(0.0001, 3, 12), // 0.1 ms to 18 s
	}
	if len(outcomes) == 0 {
		h := prometheus.NewHistogram(opts)
		s.histograms.MustRegister(h)
		return &Durations{by: []prometheus.Observer{h}}
	}
	all := prometheus.NewHistogramVec(opts, []string{"outcome"})
	s.histograms.MustRegister(all)
	d := &Durations{}
	for _, o := range outcomes {
		d.by = append(d.by, all.WithLabelValues(o))
	}
	return d
}

// Observe counts one that ended in an outcome, by its place in the list of outcomes. It
// takes no lock, and some 50 ns.
func (d *Durations) Observe(took time.Duration, outcome int) {
	d.by[outcome].Observe(took.Seconds())
}

// WriteText writes the histograms, and the figures that read tells, as one text. A write
// that fails may have written a part.
func (s *Set) WriteText(w io.Writer, read func(f *Figures)) error {
	figures := prometheus.NewRegistry()
	figures.MustRegister(collector(func(to chan<- prometheus.Metric) { read(&Figures{node: s.node, to: to}) }))
	families, err := prometheus.Gatherers{s.histograms, figures}.Gather()
	for _, f := range families {
		if _, werr := expfmt.MetricFamilyToText(w, f); werr != nil {
			return errors.Join(err, werr)
		}
	}
	return err
}

// collector makes a function tell its metrics when they are gathered.
type collector func(to chan<- prometheus.Metric)

// Describe tells nothing: what there is depends on the day.
func (collector) Describe(chan<- *prometheus.Desc)           {}
func (c collector) Collect(metrics chan<- prometheus.Metric) { c(metrics) }

// Figures takes what is read at the moment of writing.
type Figures struct {
	node string
	to   chan<- prometheus.Metric
}

// Gauge tells a figure that may rise and fall. labels are names and values in turn.
func (f *Figures) Gauge(name, help string, value float64, labels ...string) {
	f.tellValue(prometheus.GaugeValue, name, help, value, labels)
}

// Counter tells a figure that only rises until the handle is closed. labels are names and
// values in turn.
func (f *Figures) Counter(name, help string, value uint64, labels ...string) {
	f.tellValue(prometheus.CounterValue, name, help, float64(value), labels)
}

// Flag tells a gauge that is 1 if something holds, and else 0.
func (f *Figures) Flag(name, help string, holds bool, labels ...string) {
	value := 0.0
	if holds {
		value = 1
	}
	f.Gauge(name, help, value, labels...)
}

func (f *Figures) tellValue(kind prometheus.ValueType, name, help string, value float64, labels []string) {
	var names, values []string
	for i := 0; i+1 < len(labels); i += 2 {
		names = append(names, labels[i])
		values = append(values, quoteLabel(labels[i+1]))
	}
	desc := prometheus.NewDesc(name, help, names, prometheus.Labels{nodeLabel: f.node})
	m, err := prometheus.NewConstMetric(desc, kind, value, values...)
	if err != nil {
		m = prometheus.NewInvalidMetric(desc, err)
	}
	f.to <- m
}

// quoteLabel returns the value of a label for a name, which may be of any bytes where
// Prometheus takes UTF-8 alone. Different names have different values: what is not
// quoted has no backslash.
func quoteLabel(name string) string {
	if utf8.ValidString(name) && !strings.Contains(name, `\`) {
		return name
	}
	quoted := strconv.Quote(name)
	return quoted[1 : len(quoted)-1]
}
