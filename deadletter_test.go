package leat_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

// TestQueueGroupWithoutRoom: a queue group whose dead letters could not be named is refused when it
// subscribes.
func TestQueueGroupWithoutRoom(t *testing.T) {
	bus, err := node.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	topic := strings.Repeat("t", 100)
	if err := bus.CreateTopic(t.Context(), topic, leat.TopicConfig{}); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []leat.SubscribeOption{leat.Queue(), leat.KeyShared()} {
		_, err := bus.Subscribe(topic, leat.Group(strings.Repeat("g", 145)), mode)
		if !errors.Is(err, leat.ErrInvalidName) || !strings.Contains(err.Error(), "250, at most 249") {
			t.Errorf("Subscribe: %v", err)
		}
	}
	sub, err := bus.Subscribe(topic, leat.Group(strings.Repeat("g", 145)))
	if err != nil {
		t.Fatalf("a stream group: %v", err)
	}
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
}
