package conformance

import (
	"fmt"
	"testing"

	"github.com/leatbus/leat"
)

var _ = register("a replay gives everything, and then what comes", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 3, Ack: leat.AckPage})
	p := c.producer(t, topic)
	for i := range 60 {
		publish(t, p, fmt.Sprint(i%7), fmt.Sprint(i))
	}
	sub := subscribe(t, c.bus, topic, leat.From(leat.Earliest), leat.ReplaySpeed(1000))
	for i := range 20 {
		publish(t, p, fmt.Sprint(i%7), fmt.Sprint(60+i))
	}
	seen, last := map[string]bool{}, map[int32]int64{}
	for _, m := range take(t, sub, 80) {
		if before, ok := last[m.Partition]; ok && m.Offset != before+1 || !ok && m.Offset != 0 {
			t.Errorf("partition %d: offset %d after %d", m.Partition, m.Offset, before)
		}
		last[m.Partition] = m.Offset
		seen[string(m.Value)] = true
	}
	if len(seen) != 80 {
		t.Errorf("%d different messages, want 80", len(seen))
	}
	publish(t, p, "k", "live")
	if got := take(t, sub, 1)[0]; string(got.Value) != "live" {
		t.Errorf("behind the replay comes %s", got.Value)
	}
})
