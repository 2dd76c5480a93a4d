package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// parseSpeed reads how fast a replay is, as in 10x; 0 for an empty text.
func parseSpeed(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	x, err := strconv.ParseFloat(strings.TrimSuffix(text, "x"), 64)
	if err != nil || !(x >= 1/leat.MaxReplaySpeed && x <= leat.MaxReplaySpeed) {
		return 0, fmt.Errorf("%s: want a number above 0, such as 1x, 10x or 0.5x", core.Quote(text))
	}
	return x, nil
}

// replay subscribes at a speed.
func (a *app) replay(
	bus *leat.Bus, s *subscribing, options []leat.SubscribeOption,
) (*leat.Subscription, error) {
	options = append(options, leat.ReplaySpeed(s.speed), leat.ReplayGap(s.gap))
	if s.partitions == nil {
		return bus.Subscribe(s.topic, append(options, leat.From(s.position))...)
	}
	each := map[int32]leat.Position{}
	for _, p := range s.partitions {
		each[p] = s.position
	}
	return bus.Subscribe(s.topic, append(options, leat.FromEach(each))...)
}
