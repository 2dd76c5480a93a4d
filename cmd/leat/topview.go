package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	pretty "github.com/jedib0t/go-pretty/v6/text"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/admindoc"
	"github.com/leatbus/leat/internal/messagedoc"
)

// topDoc is one view of leat top; the keys are stable.
type topDoc struct {
	Time    string           `json:"time"`    // RFC 3339, UTC
	Seconds float64          `json:"seconds"` // since the look before, from which rates are; 0 at first
	Missing string           `json:"missing,omitempty"`
	Nodes   []admindoc.Node  `json:"nodes"`
	Topics  []topTopicDoc    `json:"topics"`
	Groups  []admindoc.Group `json:"groups"`
}

// topTopicDoc is one topic of a view.
type topTopicDoc struct {
	Name       string   `json:"name"`
	Partitions int      `json:"partitions"`
	Messages   int64    `json:"messages"`
	Bytes      int64    `json:"bytes"`
	Rate       *float64 `json:"published_per_sec,omitempty"` // absent where it is not known
	Lag        int64    `json:"lag"`                         // of the group that is farthest behind
}

// describeTop makes a view of a look, with rates if there was one before.
func describeTop(before, now *surroundings, sort string) *topDoc {
	doc := &topDoc{Time: time.Unix(0, now.wall).UTC().Format(messagedoc.TimeLayout), Nodes: now.cluster.Nodes,
		Topics: []topTopicDoc{}, Groups: []admindoc.Group{}}
	if now.missing != nil {
		doc.Missing = now.missing.Error()
	}
	lags := map[string]int64{}
	for i := range now.groups {
		g := admindoc.GroupOf(&now.groups[i])
		doc.Groups = append(doc.Groups, g)
		lags[g.Topic] = max(lags[g.Topic], lagOf(&g))
	}
	last := map[uint64]*leat.TopicInfo{}
	if before != nil {
		doc.Seconds = float64(now.at-before.at) / 1e9
		for i := range before.topics {
			last[before.topics[i].ID] = &before.topics[i]
		}
	}
	for i := range now.topics {
		info := &now.topics[i]
		t := topTopicDoc{Name: info.Name, Partitions: len(info.Partitions), Lag: lags[info.Name],
			Rate: publishRate(last[info.ID], info, doc.Seconds)}
		for _, p := range info.Partitions {
			t.Messages += p.HighWater - p.Start
			t.Bytes += p.Bytes
		}
		doc.Topics = append(doc.Topics, t)
	}
	doc.sort(sort)
	return doc
}

// lagOf is the lag of a group, -1 where it is not known.
func lagOf(g *admindoc.Group) int64 {
	if g.Lag == nil {
		return -1
	}
	return *g.Lag
}

// publishRate is how many messages a second have become readable. It is not known where a partition goes
// back: its node is away, or was.
func publishRate(before, now *leat.TopicInfo, seconds float64) *float64 {
	if before == nil || seconds <= 0 || len(before.Partitions) != len(now.Partitions) {
		return nil
	}
	n := int64(0)
	for i, p := range now.Partitions {
		was := &before.Partitions[i]
		if p.HighWater < was.HighWater || was.Err != nil || p.Err != nil {
			return nil
		}
		n += p.HighWater - was.HighWater
	}
	return new(float64(n) / seconds)
}

// sort puts first what has the most of what was asked for.
func (d *topDoc) sort(by string) {
	rate := func(r *float64) float64 {
		if r == nil {
			return -1
		}
		return *r
	}
	slices.SortStableFunc(d.Topics, func(a, b topTopicDoc) int {
		lag, pace := cmp.Compare(b.Lag, a.Lag), cmp.Compare(rate(b.Rate), rate(a.Rate))
		switch by {
		case "lag":
			return cmp.Or(lag, pace, cmp.Compare(a.Name, b.Name))
		case "rate":
			return cmp.Or(pace, lag, cmp.Compare(a.Name, b.Name))
		}
		return cmp.Compare(a.Name, b.Name)
	})
	slices.SortStableFunc(d.Groups, func(a, b admindoc.Group) int {
		lag, pace := cmp.Compare(lagOf(&b), lagOf(&a)), cmp.Compare(rate(b.AckRate), rate(a.AckRate))
		name := cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Topic, b.Topic))
		switch by {
		case "lag":
			return cmp.Or(lag, pace, name)
		case "rate":
			return cmp.Or(pace, lag, name)
		}
		return name
	})
}

// lines is the view for people, in at most so many lines; 0 is no bound.
func (d *topDoc) lines(rows int) []string {
	lines := []string{d.summary()}
	if d.Missing != "" {
		lines = append(lines, "! "+printable(d.Missing))
	}
	sections := [][]string{d.nodeLines(), d.topicLines(), d.groupLines()}
	left := rows - len(lines) - len(sections) // each begins with an empty line
	for i, section := range sections {
		if rows > 0 {
			share := max(left/(len(sections)-i), 2)
			section = cutSection(section, share)
			left -= len(section)
		}
		lines = append(append(lines, ""), section...)
	}
	if rows > 0 {
		lines = lines[:min(len(lines), rows)]
	}
	return lines
}

// cutSection keeps the first lines of a section, and tells how many it left out.
func cutSection(lines []string, most int) []string {
	if len(lines) <= most {
		return lines
	}
	return append(slices.Clone(lines[:most-1]), fmt.Sprintf("… %d more", len(lines)-most+1))
}

// cutLine keeps what fits on a line; 0 columns are no bound.
func cutLine(line string, columns int) string {
	if columns <= 0 {
		return line
	}
	return pretty.Trim(line, columns)
}

// summary is the first line.
func (d *topDoc) summary() string {
	up, rate, lag := 0, 0.0, int64(0)
	for _, n := range d.Nodes {
		if n.Up {
			up++
		}
	}
	for _, t := range d.Topics {
		if t.Rate != nil {
			rate += *t.Rate
		}
	}
	for _, g := range d.Groups {
		lag += max(lagOf(&g), 0)
	}
	at, _, _ := strings.Cut(d.Time, ".")
	return fmt.Sprintf("%sZ: %d of %d nodes up, %s messages/s in, lag %s", at, up, len(d.Nodes), rateText(rate),
		grouped(lag))
}

// gridLines gives the lines of a table.
func gridLines(fill func(g *grid), columns ...string) []string {
	var text bytes.Buffer
	g := newGrid(&text, columns...)
	fill(g)
	_ = g.flush() // a buffer takes everything
	return strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
}

func (d *topDoc) nodeLines() []string {
	return gridLines(func(g *grid) {
		for i := range d.Nodes {
			n := &d.Nodes[i]
			state := "up"
			if !n.Up {
				state = "down"
			}
			g.row(strconv.Itoa(int(n.Node)), cmp.Or(n.Address, "-"), state, rttText(n), strconv.Itoa(n.Partitions),
				n.Error)
		}
	}, "#node", "address", "state", "#rtt", "#partitions", "")
}

func (d *topDoc) topicLines() []string {
	return gridLines(func(g *grid) {
		for _, t := range d.Topics {
			rate := "-"
			if t.Rate != nil {
				rate = rateText(*t.Rate)
			}
			g.row(t.Name, strconv.Itoa(t.Partitions), grouped(t.Messages), humanBytes(t.Bytes), rate, grouped(t.Lag))
		}
	}, "topic", "#partitions", "#messages", "#size", "#in/s", "#lag")
}

func (d *topDoc) groupLines() []string {
	return gridLines(func(g *grid) {
		for i := range d.Groups {
			d := &d.Groups[i]
			cells := []string{d.Group, d.Topic, d.Mode, strconv.Itoa(len(d.Members)), countText(d.Lag),
				humanAge(d.LagSeconds)}
			g.row(append(paced(&d.GroupLag, time.Second, cells), countCells(&d.QueueCounts)...)...)
		}
	}, append([]string{"group", "topic", "mode", "#members", "#lag", "#age", "#acked/s", "#done in"},
		queueColumns...)...)
}
