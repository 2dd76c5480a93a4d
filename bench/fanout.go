package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

const (
	valueBytes  = 64
	channelRoom = 1024
	backlogMax  = 500_000 // messages a subscriber may be behind before the publisher waits
	topicName   = "fanout"
	retention   = 256 << 20
)

// channelFanOut sends n messages to every one of so many receivers.
func channelFanOut(receivers, n int) error {
	channels := make([]chan [valueBytes]byte, receivers)
	failures := make([]error, receivers)
	var group sync.WaitGroup
	for i := range channels {
		channels[i] = make(chan [valueBytes]byte, channelRoom)
		group.Go(func() {
			next := uint64(0)
			for value := range channels[i] {
				if got := binary.LittleEndian.Uint64(value[:]); got != next && failures[i] == nil {
					failures[i] = fmt.Errorf("receiver %d got message %d, want %d", i, got, next)
				}
				next++
			}
		})
	}
	var value [valueBytes]byte
	for number := range n {
		binary.LittleEndian.PutUint64(value[:], uint64(number))
		for _, c := range channels {
			c <- value
		}
	}
	for _, c := range channels {
		close(c)
	}
	group.Wait()
	return errors.Join(failures...)
}

// busFanOut is a bus with one partition and subscriptions that read all of it.
type busFanOut struct {
	bus      *leat.Bus
	producer *leat.Producer
	subs     []*leat.Subscription
	read     []atomic.Int64 // messages, by subscription
	sent     uint64
	failed   atomic.Pointer[error]

	stop    context.CancelFunc
	readers sync.WaitGroup
}

func openBusFanOut(dir string, subscribers int) (*busFanOut, error) {
	ctx, stop := context.WithCancel(context.Background())
	f := &busFanOut{stop: stop, read: make([]atomic.Int64, subscribers)}
	var err error
	cfg := leat.TopicConfig{Partitions: 1, Ack: leat.AckPage, RetentionBytes: retention}
	if f.bus, err = node.Open(ctx, dir, node.WithTopic(topicName, cfg)); err != nil {
		stop()
		return nil, err
	}
	if f.producer, err = f.bus.Producer(topicName); err != nil {
		return nil, errors.Join(err, f.close())
	}
	for i := range subscribers {
		sub, err := f.bus.Subscribe(topicName, leat.From(leat.Earliest))
		if err != nil {
			return nil, errors.Join(err, f.close())
		}
		f.subs = append(f.subs, sub)
		f.readers.Go(func() { f.consume(ctx, i, sub) })
	}
	return f, nil
}

func (f *busFanOut) fail(err error) { f.failed.CompareAndSwap(nil, &err) }

func (f *busFanOut) failure() error {
	if err := f.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (f *busFanOut) consume(ctx context.Context, index int, sub *leat.Subscription) {
	next := uint64(0)
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			f.fail(err)
			return
		}
		if got := binary.LittleEndian.Uint64(m.Value); got != next {
			f.fail(fmt.Errorf("subscriber %d got message %d, want %d", index, got, next))
		}
		next++
		f.read[index].Store(int64(next))
	}
}

// slowest is how many messages every subscription has read.
func (f *busFanOut) slowest() int64 {
	least := f.read[0].Load()
	for i := range f.read {
		least = min(least, f.read[i].Load())
	}
	return least
}

// run publishes n messages and waits until every subscription has read them.
func (f *busFanOut) run(n int) error {
	value, key := make([]byte, valueBytes), []byte("key-0000")
	done := func(_ leat.Receipt, err error) {
		if err != nil {
			f.fail(err)
		}
	}
	for i := range n {
		if i%1024 == 0 {
			for int64(f.sent)-f.slowest() > backlogMax && f.failure() == nil {
				runtime.Gosched()
			}
		}
		binary.LittleEndian.PutUint64(value, f.sent)
		f.producer.PublishAsync(leat.Message{Key: key, Value: value}, done)
		f.sent++
	}
	if err := f.producer.Flush(context.Background()); err != nil {
		return err
	}
	for f.slowest() < int64(f.sent) && f.failure() == nil {
		runtime.Gosched()
	}
	return f.failure()
}

func (f *busFanOut) close() error {
	f.stop()
	f.readers.Wait()
	return f.bus.Close()
}
