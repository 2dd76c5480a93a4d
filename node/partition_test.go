package node

import (
	"errors"
	"testing"

	"github.com/leatbus/leat/core"
)

// TestOpenThatPanics leaves a partition that takes nothing: its producers may not be known.
func TestOpenThatPanics(t *testing.T) {
	p := &partition{here: true, topic: &topic{name: "t", cfg: core.TopicConfig{}.WithDefaults()}}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("opening without a store did not panic")
			}
		}()
		_ = p.Open()
	}()
	if err := p.refusal(); !errors.Is(err, core.ErrHandlerFailed) {
		t.Errorf("then the partition refuses with %v", err)
	}
}
