package nettest

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// TestStalledSubscribers: 100 subscribers over 10 connections, 20 of them stop reading for a while. The
// others go on as before, the server's memory is bounded, and the 20 catch up without a hole.
func TestStalledSubscribers(t *testing.T) {
	const connections, each, stalledEach, rate = 10, 10, 2, 400
	s := newServer(t)
	patient := leat.WithUnreachableAfter(30 * time.Second)
	admin := s.dial(patient)
	const topic = "ticks"
	createTopic(t, admin, topic, 1)
	readers := &readerSet{gate: make(chan struct{})}
	close(readers.gate) // nobody waits yet
	for range connections {
		bus := s.dial(patient)
		for i := range each {
			sub, err := bus.Subscribe(topic, leat.From(leat.Earliest))
			if err != nil {
				t.Fatal(err)
			}
			readers.add(t, sub, i < stalledEach)
		}
	}
	phase := pick(3*time.Second, 60*time.Second)
	sent := &ticks{t: t, bus: admin, topic: topic, rate: rate}
	sent.run(phase / 3) // warm up
	readers.takeLatencies()
	sent.run(phase)
	without := readers.takeLatencies()
	memory := s.resident()
	resume := readers.stall()
	sent.run(phase)
	with := readers.takeLatencies()
	grown := s.resident() - memory
	resume()
	readers.await(t, sent.count)
	t.Logf("p99 of the others: %v without, %v with 20 stalled (%.2f times); the server's memory grew by %d MB",
		p99(without), p99(with), float64(p99(with))/float64(p99(without)), grown>>20)
	if limit := int64(64 << 20); grown > limit {
		t.Errorf("the server's memory grew by %d MB for 20 stalled subscribers, want at most %d",
			grown>>20, limit>>20)
	}
	readers.close(t)
}

// ticks publishes messages with their time at a fixed rate.
type ticks struct {
	t     *testing.T
	bus   *leat.Bus
	topic string
	rate  int
	count uint64
	p     *leat.Producer
}

func (k *ticks) run(d time.Duration) {
	k.t.Helper()
	if k.p == nil {
		var err error
		if k.p, err = k.bus.Producer(k.topic); err != nil {
			k.t.Fatal(err)
		}
	}
	ticker := time.NewTicker(time.Second / time.Duration(k.rate))
	defer ticker.Stop()
	value := make([]byte, 256)
	for end := time.Now().Add(d); time.Now().Before(end); {
		<-ticker.C
		binary.LittleEndian.PutUint64(value, k.count)
		binary.LittleEndian.PutUint64(value[8:], uint64(time.Now().UnixNano()))
		k.count++
		k.p.PublishAsync(leat.Message{Value: value}, func(_ leat.Receipt, err error) {
			if err != nil {
				k.t.Errorf("publish: %v", err)
			}
		})
	}
	if err := k.p.Flush(soon(k.t, 30*time.Second)); err != nil {
		k.t.Fatal(err)
	}
}

// readerSet is all subscribers.
type readerSet struct {
	done sync.WaitGroup
	list []*tickReader

	mu   sync.Mutex // guards the following
	gate chan struct{}
}

type tickReader struct {
	sub     *leat.Subscription
	stalls  bool
	next    atomic.Uint64
	mu      sync.Mutex
	latency []time.Duration
}

func (r *readerSet) add(t *testing.T, sub *leat.Subscription, stalls bool) {
	reader := &tickReader{sub: sub, stalls: stalls}
	r.list = append(r.list, reader)
	r.done.Go(func() {
		for m, err := range sub.Messages(t.Context()) {
			if err != nil {
				t.Errorf("subscriber: %v", err)
				return
			}
			if id := binary.LittleEndian.Uint64(m.Value); id != reader.next.Load() {
				t.Errorf("message %d came, want %d", id, reader.next.Load())
				return
			}
			sent := time.Unix(0, int64(binary.LittleEndian.Uint64(m.Value[8:])))
			reader.mu.Lock()
			reader.latency = append(reader.latency, time.Since(sent))
			reader.mu.Unlock()
			reader.next.Add(1)
			if stalls {
				r.mu.Lock()
				gate := r.gate
				r.mu.Unlock()
				<-gate
			}
		}
	})
}

// stall makes those that stall wait until resume is called.
func (r *readerSet) stall() (resume func()) {
	gate := make(chan struct{})
	r.mu.Lock()
	r.gate = gate
	r.mu.Unlock()
	return func() { close(gate) }
}

// takeLatencies gives what those that never stall saw since the last call.
func (r *readerSet) takeLatencies() (all []time.Duration) {
	for _, reader := range r.list {
		reader.mu.Lock()
		if !reader.stalls {
			all = append(all, reader.latency...)
		}
		reader.latency = reader.latency[:0]
		reader.mu.Unlock()
	}
	return all
}

func p99(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)*99/100]
}

// await waits until everybody has read n messages.
func (r *readerSet) await(t *testing.T, n uint64) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	ctx := soon(t, time.Minute)
	for i, reader := range r.list {
		for reader.next.Load() < n {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				t.Fatalf("subscriber %d (stalled: %v) has read %d of %d messages",
					i, reader.stalls, reader.next.Load(), n)
			}
		}
	}
}

func (r *readerSet) close(t *testing.T) {
	for _, reader := range r.list {
		if err := reader.sub.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	r.done.Wait()
}

// resident is the server's resident memory; 0 where the system does not tell.
func (s *server) resident() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	var total, resident int64
	if _, err := fmt.Sscan(string(text), &total, &resident); err != nil {
		s.t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}
