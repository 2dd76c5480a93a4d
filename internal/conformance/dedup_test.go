package conformance

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/leatbus/leat"
)

var _ = register("an id is stored once, whoever publishes it", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 2, DedupWindow: 24 * 3600e9})
	p, other := c.producer(t, topic), c.producer(t, topic, leat.WithAck(leat.AckDisk))
	m := leat.Message{Key: []byte("k"), Value: []byte("first"), ID: "order-1",
		Headers: []leat.Header{{Key: "h", Value: []byte("v")}}}
	first, err := p.Publish(soon(t), m)
	if err != nil || first.Duplicate {
		t.Fatalf("the first: %+v, %v", first, err)
	}
	publish(t, p, "k", "between")
	m.Value = []byte("second")
	for i, again := range []*leat.Producer{p, other, p} {
		r, err := again.Publish(soon(t), m)
		if err != nil || !r.Duplicate || r.Partition != first.Partition || r.Offset != first.Offset ||
			!r.Time.Equal(first.Time) {
			t.Errorf("publish %d: %+v, %v; want the first, %+v", i, r, err, first)
		}
	}
	// Callbacks come in order, and the next message of a producer is stored behind a duplicate.
	var answers []string
	note := func(r leat.Receipt, err error) {
		answers = append(answers, fmt.Sprint(r.Duplicate, err))
	}
	p.PublishAsync(leat.Message{Key: []byte("k"), Value: []byte("a")}, note)
	p.PublishAsync(m, note)
	p.PublishAsync(leat.Message{Key: []byte("k"), Value: []byte("b"), ID: "order-2"}, note)
	p.PublishAsync(leat.Message{Key: []byte("k"), Value: []byte("c"), ID: "order-2"}, note)
	if err := p.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	want := "false <nil>, true <nil>, false <nil>, true <nil>"
	if got := strings.Join(answers, ", "); got != want {
		t.Errorf("answers %s, want %s", got, want)
	}
	publish(t, p, "k", "end")
	got := take(t, subscribe(t, c.bus, topic, leat.From(leat.Earliest)), 5)
	for i, want := range []string{"first order-1 1", "between  0", "a  0", "b order-2 0", "end  0"} {
		if text := fmt.Sprintf("%s %s %d", got[i].Value, got[i].ID, len(got[i].Headers)); text != want {
			t.Errorf("message %d: %s, want %s", i, text, want)
		}
	}
	_, err = p.Publish(soon(t), leat.Message{ID: strings.Repeat("x", 129)})
	if !errors.Is(err, leat.ErrInvalidRecord) || !strings.Contains(err.Error(), "ID") {
		t.Errorf("an id of 129 bytes: %v", err)
	}
})

var _ = register("a batch with ids is one thing", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{})
	p := c.producer(t, topic)
	batch := func(ids ...string) (leat.Receipt, error) {
		var list []leat.Message
		for _, id := range ids {
			list = append(list, leat.Message{Key: []byte("k"), Value: []byte(id), ID: id})
		}
		return p.PublishBatch(soon(t), list)
	}
	first, err := batch("", "a", "b")
	if err != nil || first.Duplicate {
		t.Fatalf("%+v, %v", first, err)
	}
	if r, err := batch("", "a", "b"); err != nil || !r.Duplicate || r.Offset != first.Offset {
		t.Errorf("again: %+v, %v; want %+v", r, err, first)
	}
	if r, err := batch("b", "c"); !errors.Is(err, leat.ErrInvalidRecord) {
		t.Errorf("one of two known: %+v, %v", r, err)
	}
	if r, err := batch("c", "d"); err != nil || r.Duplicate {
		t.Errorf("none known: %+v, %v", r, err)
	}
	publish(t, p, "k", "end")
	got := take(t, subscribe(t, c.bus, topic, leat.From(leat.Earliest)), 6)
	text := ""
	for _, m := range got {
		text += string(m.Value) + " "
	}
	if text != " a b c d end " {
		t.Errorf("stored: %s", text)
	}
})
