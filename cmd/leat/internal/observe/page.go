package observe

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/leatbus/leat/internal/histogram"
)

// maxSeries bounds the series of a family whose labels clients give.
const maxSeries = 10_000

// otherValue is the label of all series beyond maxSeries.
const otherValue = "other"

// named are the labels whose values clients choose.
var named = []string{"topic", "group"}

// page gathers the samples of one answer and writes them by family.
type page struct {
	byName map[string]*gathered
}

// gathered is what a page has of a family.
type gathered struct {
	family
	series  []series
	other   map[string]int // of series that stand for others, by their labels
	clients bool           // labels are given by clients
}

// series has a value, or a distribution if the family is a histogram.
type series struct {
	labels string // as written, without braces
	value  float64
	spread *histogram.Snapshot
}

func newPage() *page {
	p := &page{byName: make(map[string]*gathered, len(families))}
	for _, f := range families {
		clients := slices.ContainsFunc(f.labels, func(label string) bool { return slices.Contains(named, label) })
		p.byName[f.name] = &gathered{family: f, clients: clients, other: make(map[string]int)}
	}
	return p
}

// add adds a series to a family, with values for its labels in their order.
func (p *page) add(name string, value float64, labels ...string) {
	g := p.byName[name]
	if !g.clients || len(g.series) < maxSeries {
		g.series = append(g.series, series{labels: g.format(labels), value: value})
		return
	}
	labels = slices.Clone(labels)
	for i, label := range g.labels {
		if slices.Contains(named, label) || label == "partition" {
			labels[i] = otherValue
		}
	}
	text := g.format(labels)
	at, known := g.other[text]
	if !known {
		at = len(g.series)
		g.other[text] = at
		g.series = append(g.series, series{labels: text})
	}
	g.series[at].value += value
}

// spread adds a series to a family of histograms.
func (p *page) spread(name string, s *histogram.Snapshot, labels ...string) {
	g := p.byName[name]
	g.series = append(g.series, series{labels: g.format(labels), spread: s})
}

var escapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// format writes labels as the exposition format wants them.
func (f *family) format(values []string) string {
	var b strings.Builder
	for i, label := range f.labels {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(label)
		b.WriteString(`="`)
		_, _ = escapes.WriteString(&b, values[i]) // a Builder takes everything
		b.WriteByte('"')
	}
	return b.String()
}

// write appends all families that have series.
func (p *page) write(b *bytes.Buffer) {
	for _, f := range families {
		g := p.byName[f.name]
		if len(g.series) == 0 {
			continue
		}
		b.WriteString("# HELP " + f.name + " " + f.help + "\n# TYPE " + f.name + " " + f.kind + "\n")
		for i := range g.series {
			s := &g.series[i]
			if s.spread == nil {
				sample(b, f.name, s.labels, "", s.value)
				continue
			}
			writeSpread(b, f.name, s.labels, s.spread)
		}
	}
}

func writeSpread(b *bytes.Buffer, name, labels string, s *histogram.Snapshot) {
	for i, bound := range s.Bounds {
		le := strconv.FormatFloat(bound, 'g', 12, 64) // 1e-06, not 9.999999999999999e-07
		sample(b, name+"_bucket", labels, `le="`+le+`"`, float64(s.Counts[i]))
	}
	sample(b, name+"_bucket", labels, `le="+Inf"`, float64(s.Count))
	sample(b, name+"_sum", labels, "", s.Sum)
	sample(b, name+"_count", labels, "", float64(s.Count))
}

// sample writes one line.
func sample(b *bytes.Buffer, name, labels, more string, value float64) {
	b.WriteString(name)
	if labels != "" || more != "" {
		b.WriteByte('{')
		b.WriteString(labels)
		if labels != "" && more != "" {
			b.WriteByte(',')
		}
		b.WriteString(more)
		b.WriteByte('}')
	}
	b.WriteByte(' ')
	b.Write(strconv.AppendFloat(b.AvailableBuffer(), value, 'g', -1, 64))
	b.WriteByte('\n')
}
