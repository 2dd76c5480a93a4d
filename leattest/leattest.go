package leattest

import (
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

// Option is any option of node.Open.
type Option = node.Option

// WithTopic gives the bus a topic.
func WithTopic(name string, cfg leat.TopicConfig) Option { return node.WithTopic(name, cfg) }

// New opens a bus in memory and closes it when the test ends, after the cleanups that were registered
// later. Inside a testing/synctest bubble call it with the t of the bubble.
func New(t testing.TB, options ...Option) *leat.Bus {
	t.Helper()
	bus, err := node.Open(t.Context(), "", append(options[:len(options):len(options)], node.InMemory())...)
	if err != nil {
		t.Fatalf("leattest: %v\nhint: %s", err, leat.HintFor(err))
	}
	t.Cleanup(func() {
		if err := bus.Close(); err != nil {
			t.Errorf("leattest: %v\nhint: %s", err, leat.HintFor(err))
		}
	})
	return bus
}
