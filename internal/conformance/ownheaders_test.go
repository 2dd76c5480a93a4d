package conformance

import (
	"errors"
	"testing"

	"github.com/leatbus/leat"
)

var _ = register("headers that only the bus may set are refused", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{})
	p := c.producer(t, topic)
	own := leat.Message{Value: []byte("x"), Headers: []leat.Header{{Key: "a"}, {Key: "leat-dlq-topic"}}}
	if _, err := p.Publish(soon(t), own); !errors.Is(err, leat.ErrInvalidRecord) {
		t.Errorf("Publish: %v", err)
	}
	if _, err := p.PublishBatch(soon(t), []leat.Message{{}, own}); !errors.Is(err, leat.ErrInvalidRecord) {
		t.Errorf("PublishBatch: %v", err)
	}
	if err := p.TryPublish(own); !errors.Is(err, leat.ErrInvalidRecord) {
		t.Errorf("TryPublish: %v", err)
	}
	answer := make(chan error, 1)
	p.PublishAsync(own, func(_ leat.Receipt, err error) { answer <- err })
	if err := <-answer; !errors.Is(err, leat.ErrInvalidRecord) {
		t.Errorf("PublishAsync: %v", err)
	}
	claim, err := p.Claim(soon(t), nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	claim.Headers = own.Headers
	if err := claim.Publish(); !errors.Is(err, leat.ErrInvalidRecord) {
		t.Errorf("Claim.Publish: %v", err)
	}
	letters := topic + ".dlq.g"
	if err := c.bus.CreateTopic(soon(t), letters, leat.TopicConfig{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.producer(t, letters).Publish(soon(t), own); err != nil {
		t.Errorf("a copy of a dead letter: %v", err)
	}
	first := publish(t, p, "k", "the first that is stored")
	if first.Offset != 0 {
		t.Errorf("what was refused took %d offsets", first.Offset)
	}
})
