package leat

import (
	"errors"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// TestSchedulesOfAnOlderNode: one that knows none is not asked.
func TestSchedulesOfAnOlderNode(t *testing.T) {
	f := newFake(t, 1)
	f.features = wire.FeatureQueues | wire.FeatureDelays
	f.topic("t", core.TopicConfig{Partitions: 1})
	bus, _ := f.client()
	s := Schedule{Topic: "t", Name: "s", Cron: "@daily"}
	if err := bus.PutSchedule(t.Context(), s); !errors.Is(err, ErrUnsupported) {
		t.Errorf("PutSchedule: %v, want ErrUnsupported", err)
	}
	if _, err := bus.DeleteSchedule(t.Context(), "t", "s"); !errors.Is(err, ErrUnsupported) {
		t.Errorf("DeleteSchedule: %v, want ErrUnsupported", err)
	}
	if _, err := bus.Schedules(t.Context(), ""); !errors.Is(err, ErrUnsupported) {
		t.Errorf("Schedules: %v, want ErrUnsupported", err)
	}
}
