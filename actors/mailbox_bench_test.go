package actors

import (
	"context"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
)

// event is the message of all benchmarks here: 64 bytes, one cache line.
type event struct {
	value uint64
	rest  [7]uint64
}

// tally counts messages until all of a benchmark have come.
type tally struct {
	n, sum, want uint64
	done         chan uint64
}

func newTally(want int) *tally { return &tally{want: uint64(want), done: make(chan uint64, 1)} }

func (t *tally) add(n int, sum uint64) {
	t.sum += sum
	if t.n += uint64(n); t.n == t.want {
		t.done <- t.sum
	}
}

// finish waits for the receiver, so that a figure is for messages handled, not queued.
func (t *tally) finish(b *testing.B) {
	b.Helper()
	if sum := <-t.done; sum != t.want {
		b.Fatalf("sum of the messages is %d, want %d", sum, t.want)
	}
	b.ReportMetric(float64(t.want)/b.Elapsed().Seconds()/1e6, "Mmsg/s")
	b.StopTimer()
}

// BenchmarkDataLaneBatch claims and publishes 64 messages at a time.
func BenchmarkDataLaneBatch(b *testing.B) { benchDataLane(b, 64) }

// BenchmarkDataLaneSingly claims and publishes each message by itself.
func BenchmarkDataLaneSingly(b *testing.B) { benchDataLane(b, 1) }

func benchDataLane(b *testing.B, batch int) {
	s := newTestSystem(b, SystemOptions{})
	m := mustMailbox[event](b, MailboxOptions{DataCapacity: 4096})
	sender := mustSender(b, m)
	got := newTally(b.N)
	mustSpawn(b, s, m.Props(receive(func(ctx Context) {
		run, ok := ctx.Message().(*Batch[event])
		if !ok {
			return
		}
		sum := uint64(0)
		for i := range run.Len() {
			sum += run.At(i).value
		}
		got.add(run.Len(), sum)
	}), nil))
	b.ReportAllocs()
	b.ResetTimer()
	for sent := 0; sent < b.N; sent += batch {
		claim, err := sender.Claim(context.Background(), min(batch, b.N-sent))
		if err != nil {
			b.Fatal(err)
		}
		first, second := claim.Slots()
		for i := range first {
			first[i].value = 1
		}
		for i := range second {
			second[i].value = 1
		}
		sender.Publish(claim)
	}
	got.finish(b)
}

// BenchmarkControlLane sends a pointer through our control lane.
func BenchmarkControlLane(b *testing.B) {
	s := newTestSystem(b, SystemOptions{})
	got := newTally(b.N)
	pid := mustSpawn(b, s, s.Props(receive(got.receive)))
	benchSend(b, s, pid, got)
}

func (t *tally) receive(ctx Context) {
	if e, ok := ctx.Message().(*event); ok {
		t.add(1, e.value)
	}
}

// BenchmarkProtoactorDefault is the peer: protoactor's default mailbox.
func BenchmarkProtoactorDefault(b *testing.B) {
	s := newTestSystem(b, SystemOptions{})
	got := newTally(b.N)
	pid := s.inner.Root.Spawn(actor.PropsFromFunc(got.receive))
	benchSend(b, s, pid, got)
	s.inner.Root.Stop(pid)
}

func benchSend(b *testing.B, s *System, pid *PID, got *tally) {
	e := &event{value: 1}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		s.Send(pid, e)
	}
	got.finish(b)
}

// BenchmarkChannel is the floor of the language: a buffered channel of the same messages.
func BenchmarkChannel(b *testing.B) {
	got := newTally(b.N)
	events := make(chan event, 4096)
	go func() { // ends with the channel
		for e := range events {
			got.add(1, e.value)
		}
	}()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		events <- event{value: 1}
	}
	got.finish(b)
	close(events)
}
