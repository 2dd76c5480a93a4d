package leat

import (
	"context"
	"time"

	"github.com/leatbus/leat/core"
)

// noDelays is the error of what delayed messages need and a client cannot do.
func noDelays(op string) error {
	return core.Errorf(core.CodeUnsupported, op,
		"delayed messages over the network: use the bus in its process")
}

// Delayed implements Backend.
func (c *client) Delayed(context.Context, DelayFilter) (DelayedPage, error) {
	return DelayedPage{}, noDelays("list delayed messages")
}

// CancelDelayed implements Backend.
func (c *client) CancelDelayed(context.Context, string) (DelayOutcome, error) {
	return DelayUnknown, noDelays("cancel a delayed message")
}

// Reschedule implements Backend.
func (c *client) Reschedule(context.Context, string, time.Time) (string, DelayOutcome, error) {
	return "", DelayUnknown, noDelays("reschedule a delayed message")
}
