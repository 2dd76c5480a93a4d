package main

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
)

const roomTopic = "room"

// tick is the state of the world at one moment: where the ball is.
type tick struct {
	Number int     `json:"n"` // from 0
	Sent   int64   `json:"sent"`
	X      float64 `json:"x"`
	Y      float64 `json:"y"`
	Last   bool    `json:"last,omitempty"`
}

// runRoom sends ticks until the game is over, and returns how many.
func (g *game) runRoom(ctx context.Context, bus *leat.Bus) (int, error) {
	topic := leat.TopicOf[tick](bus, roomTopic)
	defer topic.Close()
	var failed atomic.Pointer[error]
	ticker := time.NewTicker(time.Second / time.Duration(g.rate))
	defer ticker.Stop()
	end := time.Now().Add(g.length)
	for n := 0; ; n++ {
		now := time.Now()
		angle := 2 * math.Pi * float64(n) / float64(10*g.rate) // once around in ten seconds
		state := tick{Number: n, Sent: now.UnixNano(), X: math.Cos(angle), Y: math.Sin(angle)}
		state.Last = !now.Before(end)
		// It does not wait: a room that is late sends what is true now.
		topic.PublishAsync("ball", state, func(_ leat.Receipt, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
		if err := failed.Load(); err != nil {
			return n, *err
		}
		if state.Last {
			return n + 1, topic.Flush(ctx)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return n, context.Cause(ctx)
		}
	}
}
