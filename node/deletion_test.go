package node

import (
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/actors"
)

// TestActorsOfADeletedTopic: whoever creates and deletes topics again and again leaves no actor behind.
func TestActorsOfADeletedTopic(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 2})
	publish(t, b.producer("t"), text("v"))
	if err := b.DeleteTopic(soon(t), "t"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"topic/16", "topic/16/0", "topic/16/1"} {
		props := b.node.system.Props(func() actors.Actor { return nobodyActor{} })
		if _, err := b.node.system.Spawn(props, name); err != nil {
			t.Errorf("%s is left: %v", name, err)
		}
	}
}

type nobodyActor struct{}

func (nobodyActor) Receive(actors.Context) {}
