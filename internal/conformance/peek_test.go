package conformance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// peekAll looks at a topic page by page, and gives partition:offset of what it finds.
func peekAll(t *testing.T, c *carrier, topic string, q leat.PeekQuery) (found []string, pages int) {
	t.Helper()
	for {
		page, err := c.bus.Peek(soon(t), topic, q)
		if err != nil {
			t.Fatalf("Peek(%+v): %v", q, err)
		}
		pages++
		for _, m := range page.Messages {
			found = append(found, fmt.Sprintf("%d:%d", m.Partition, m.Offset))
		}
		if page.Next == nil {
			return found, pages
		}
		q.After = page.Next
	}
}

var _ = register("peek finds by offset, time and key, and leaves no trace", func(t *testing.T, c *carrier) {
	const partitions, each = 3, 20
	topic := c.topic(t, leat.TopicConfig{Partitions: partitions, Ack: leat.AckPage})
	p := c.producer(t, topic, leat.WithPartitioner(leat.Manual))
	var middle time.Time
	for i := range partitions * each {
		m := leat.Message{Partition: int32(i % partitions), Key: fmt.Append(nil, i%5),
			Value: []byte(strings.Repeat("v", i)), Headers: []leat.Header{{Key: "n", Value: fmt.Append(nil, i)}}}
		r, err := p.Publish(soon(t), m)
		if err != nil {
			t.Fatal(err)
		}
		if i == partitions*each/2 {
			middle = r.Time
		}
	}
	one := []int32{1}
	tests := []struct {
		name  string
		query leat.PeekQuery
		want  int
		pages int
	}{
		{"all", leat.PeekQuery{}, 60, 1},
		{"page by page", leat.PeekQuery{Limit: 7}, 60, 9},
		{"a page for each partition", leat.PeekQuery{Limit: 20}, 60, 3},
		{"few records looked at at once", leat.PeekQuery{Scan: 25}, 60, 3},
		{"one partition", leat.PeekQuery{Partitions: one}, 20, 1},
		{"from an offset", leat.PeekQuery{From: leat.AtOffset(15)}, 15, 1},
		{"up to an offset", leat.PeekQuery{To: leat.AtOffset(15), Limit: 4}, 45, 12},
		{"between", leat.PeekQuery{From: leat.AtOffset(3), To: leat.AtOffset(5), Partitions: one}, 2, 1},
		{"between, the wrong way round", leat.PeekQuery{From: leat.AtOffset(5), To: leat.AtOffset(3)}, 0, 1},
		{"beyond the log", leat.PeekQuery{From: leat.AtOffset(1 << 40), To: leat.AtOffset(1 << 41)}, 0, 1},
		{"before the log", leat.PeekQuery{To: leat.AtOffset(-5)}, 0, 1},
		{"latest", leat.PeekQuery{From: leat.Latest}, 0, 1},
		{"a key", leat.PeekQuery{Key: []byte("3")}, 12, 1},
		{"a key, page by page", leat.PeekQuery{Key: []byte("3"), Limit: 5, Scan: 8}, 12, 8},
		{"a key that is not there", leat.PeekQuery{Key: []byte{}}, 0, 1},
	}
	for _, tt := range tests {
		found, pages := peekAll(t, c, topic, tt.query)
		if sorted := slices.Compact(slices.Sorted(slices.Values(found))); len(found) != tt.want ||
			len(sorted) != tt.want || pages != tt.pages {
			t.Errorf("%s: %d messages on %d pages, want %d on %d: %v", tt.name, len(found), pages, tt.want, tt.pages,
				found)
		}
	}
	before, _ := peekAll(t, c, topic, leat.PeekQuery{To: leat.AtTime(middle), Limit: 6})
	after, _ := peekAll(t, c, topic, leat.PeekQuery{From: leat.AtTime(middle), Limit: 6})
	all := slices.Sorted(slices.Values(slices.Concat(before, after)))
	if len(all) != 60 || len(slices.Compact(all)) != 60 || len(before) > 30 {
		t.Errorf("%d messages before %v and %d after it, want 60 in all", len(before), middle, len(after))
	}
	checkPeeked(t, c, topic)
	if groups, err := c.bus.Groups(soon(t)); err != nil || slices.ContainsFunc(groups,
		func(g leat.GroupInfo) bool { return g.Topic == topic }) {
		t.Errorf("peeking has made a group: %+v, %v", groups, err)
	}
})

// checkPeeked looks at one message in full and cut.
func checkPeeked(t *testing.T, c *carrier, topic string) {
	t.Helper()
	q := leat.PeekQuery{Partitions: []int32{2}, From: leat.AtOffset(9), Limit: 1}
	page, err := c.bus.Peek(soon(t), topic, q)
	if err != nil || len(page.Messages) != 1 || page.Scanned != 1 ||
		*page.Next != (leat.PeekPoint{Partition: 2, Offset: 10}) {
		t.Fatalf("Peek = %+v, %v", page, err)
	}
	m := page.Messages[0]
	if string(m.Key) != "4" || len(m.Value) != 29 || m.KeyBytes != 1 || m.ValueBytes != 29 ||
		len(m.Headers) != 1 || string(m.Headers[0].Value) != "29" || m.Topic != topic ||
		m.Offset != 9 || m.Time.IsZero() {
		t.Errorf("found %+v", m)
	}
	if m.Ack() == nil {
		t.Error("a message that was looked at can be acked")
	}
	q.ValueBytes = 4
	if page, err = c.bus.Peek(soon(t), topic, q); err != nil || string(page.Messages[0].Value) != "vvvv" ||
		page.Messages[0].ValueBytes != 29 {
		t.Errorf("cut: %+v, %v", page, err)
	}
	for _, tt := range []struct {
		query leat.PeekQuery
		want  error
	}{
		{leat.PeekQuery{Limit: -1}, leat.ErrInvalidConfig}, {leat.PeekQuery{Limit: 1001}, leat.ErrInvalidConfig},
		{leat.PeekQuery{Scan: -1}, leat.ErrInvalidConfig}, {leat.PeekQuery{ValueBytes: -1}, leat.ErrInvalidConfig},
		{leat.PeekQuery{Partitions: []int32{3}}, leat.ErrPartitionUnknown},
		{leat.PeekQuery{Partitions: []int32{-1}}, leat.ErrPartitionUnknown},
		{leat.PeekQuery{After: &leat.PeekPoint{Partition: 7}}, leat.ErrPartitionUnknown},
		{leat.PeekQuery{From: leat.Position{Kind: 99}}, leat.ErrUnsupported},
	} {
		if _, err := c.bus.Peek(soon(t), topic, tt.query); !errors.Is(err, tt.want) {
			t.Errorf("Peek(%+v): %v, want %v", tt.query, err, tt.want)
		}
	}
	if _, err := c.bus.Peek(soon(t), "nope", leat.PeekQuery{}); !errors.Is(err, leat.ErrTopicNotFound) {
		t.Errorf("Peek at a topic that is not there: %v", err)
	}
	if info, err := c.bus.Topic(soon(t), topic); err != nil || info.Name != topic || len(info.Partitions) != 3 ||
		info.Partitions[1].HighWater != 20 {
		t.Errorf("Topic = %+v, %v", info, err)
	}
	for _, name := range []string{"nope", "a/b", "__meta"} {
		_, err := c.bus.Topic(soon(t), name)
		if !errors.Is(err, leat.ErrTopicNotFound) && !errors.Is(err, leat.ErrInvalidName) {
			t.Errorf("Topic(%s): %v", name, err)
		}
	}
}

var _ = register("peek finds a message by its id", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 3, Ack: leat.AckPage})
	byKey, byHand := c.producer(t, topic), c.producer(t, topic, leat.WithPartitioner(leat.Manual))
	places := map[string]string{}
	for i := range 12 {
		id, key := fmt.Sprint("order ", i), fmt.Append(nil, "k", i)
		r, err := byKey.Publish(soon(t), leat.Message{Key: key, Value: key, ID: id, TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		publish(t, byKey, fmt.Sprint("k", i), "plain")
		places[id] = fmt.Sprintf("%d:%d", r.Partition, r.Offset)
	}
	for i := range int32(3) { // one id in every partition
		if _, err := byHand.Publish(soon(t), leat.Message{Partition: i, Key: []byte("k"), ID: "all"}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 12 {
		id := fmt.Sprint("order ", i)
		for _, q := range []leat.PeekQuery{{ID: id}, {ID: id, Key: fmt.Append(nil, "k", i), Limit: 1}} {
			page, err := c.bus.Peek(soon(t), topic, q)
			if err != nil || len(page.Messages) != 1 || page.Next != nil || page.Scanned != 1 {
				t.Fatalf("Peek(%+v) = %+v, %v", q, page, err)
			}
			m := &page.Messages[0]
			if at := fmt.Sprintf("%d:%d", m.Partition, m.Offset); at != places[id] || m.ID != id ||
				m.TTL != time.Hour {
				t.Errorf("Peek(%+v) gave %s, %+v; want %s", q, at, m, places[id])
			}
		}
	}
	for _, tt := range []struct {
		query leat.PeekQuery
		want  int
	}{
		{leat.PeekQuery{ID: "all"}, 3},
		{leat.PeekQuery{ID: "all", Limit: 2}, 2},
		{leat.PeekQuery{ID: "all", Partitions: []int32{1}}, 1},
		{leat.PeekQuery{ID: "order 1", Key: []byte("k2")}, 0},
		{leat.PeekQuery{ID: "nobody", Key: []byte("k2"), Scan: 4}, 0},
	} {
		if found, _ := peekAll(t, c, topic, tt.query); len(found) != tt.want {
			t.Errorf("Peek(%+v) = %v; want %d", tt.query, found, tt.want)
		}
	}
	// Where the id is not remembered, the partition of the key is looked through first.
	page, err := c.bus.Peek(soon(t), topic, leat.PeekQuery{ID: "nobody", Key: []byte("k7"), Scan: 1})
	if at, _, _ := strings.Cut(places["order 7"], ":"); err != nil || page.Next == nil ||
		fmt.Sprint(page.Next.Partition) != at {
		t.Errorf("Peek by id and key = %+v, %v; want it in partition %s", page, err, at)
	}
	if _, err := c.bus.Peek(soon(t), topic, leat.PeekQuery{ID: strings.Repeat("x", 129)}); !errors.Is(err,
		leat.ErrInvalidConfig) {
		t.Errorf("an id of 129 bytes: %v", err)
	}
})
