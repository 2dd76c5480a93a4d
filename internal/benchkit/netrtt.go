package benchkit

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/leatbus/leat"
)

// roundTrip measures publish to receipt, one at a time, beside a bare echo of as many bytes. Both
// processes share one core where the system allows it: between cores the wake-up of the virtual machine
// decides, not the software.
func (n *netBench) roundTrip(ctx context.Context, bus *leat.Bus) (err error) {
	producer, err := bus.Producer(netRTTTopic)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, producer.Close()) }()
	conn, stream, err := dialEcho(ctx, n.at.Echo)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.CloseWithError(0, "")) }()
	unpin, pinned := pinTogether(n.server.Process.Pid)
	defer unpin()
	l := newLoad(n.Size)
	frame := make([]byte, n.Size+netFrameBytes)
	var publishes, echoes latencyRounds
	err = interleave(ctx, n.Rounds, func(round int) error {
		n.progress("receipt round trip, round %d", round+1)
		return publishes.measure(ctx, n, round, func() error {
			_, err := producer.Publish(ctx, l.message(0))
			return err
		})
	}, func(round int) error {
		n.progress("echo round trip, round %d", round+1)
		return echoes.measure(ctx, n, round, func() error {
			if _, err := stream.Write(frame); err != nil {
				return err
			}
			_, err := io.ReadFull(stream, frame)
			return err
		})
	})
	if err != nil {
		return err
	}
	n.roundTripRow(&publishes, &echoes, pinned)
	return nil
}

// netFrameBytes is what a published value has around it on the wire: two headers, the record's, the key.
const netFrameBytes = 16 + 64 + 24 + 8

func (n *netBench) roundTripRow(publishes, echoes *latencyRounds, pinned bool) {
	row := n.report.row("publish to receipt, one at a time", "page", "µs p50", publishes.p50)
	row.against("µs p50, echo of as many bytes on a bare QUIC stream", echoes.p50)
	latency := medianLatency(publishes.all)
	row.Latency = &latency
	floor := medianLatency(echoes.all)
	row.Note = "echo: p99 " + figure(floor.P99) + "µs, p99.9 " + figure(floor.P999) + "µs; "
	if pinned {
		row.Note += "both processes on one core"
	} else {
		row.Note += "NOT pinned: this system cannot"
	}
}

// latencyRounds are the latencies of one case.
type latencyRounds struct {
	p50 samples
	all []Latency
}

// measure runs one round trip after the other for a fifth of the time of a throughput round.
func (l *latencyRounds) measure(ctx context.Context, n *netBench, round int, once func() error) error {
	h := NewHistogram()
	end := n.clock.Mono() + int64(max(n.length(round)/5, 50*time.Millisecond))
	for now := n.clock.Mono(); now < end && ctx.Err() == nil; {
		if err := once(); err != nil {
			return err
		}
		then := n.clock.Mono()
		h.Record(then - now)
		now = then
	}
	s := h.Summary()
	l.p50.add(round, s.P50)
	if round > WarmUp {
		l.all = append(l.all, s)
	}
	return ctx.Err()
}
