package push

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// The pause before a topic that could not be read is tried again, doubling.
const (
	stalledMin = 100 * time.Millisecond
	stalledMax = 30 * time.Second
)

// runner posts the messages of one subscription while it is not paused.
type runner struct {
	pusher  *Pusher
	config  Config
	before  *runner // of the same subscription: this one begins when that has ended; nil for none
	reading context.Context
	stop    context.CancelFunc // of reading; POSTs under way go on
	ended   chan struct{}
	gone    atomic.Bool // the receiver answered 410
	keys    atomic.Pointer[[]secret]
	figures *figures
}

// figures are what the runners of a subscription did since the process began.
type figures struct {
	delivered, failed, inFlight atomic.Int64

	mu sync.Mutex // guards the following
	// stalled is why the topic cannot be read; empty while it can.
	stalled string
	last    *Fault
}

func newRunner(p *Pusher, r *record, before *runner) *runner {
	n := &runner{pusher: p, config: r.Config, before: before, ended: make(chan struct{}), figures: &figures{}}
	n.keys.Store(&r.Secrets)
	if before != nil {
		n.figures = before.figures
	}
	n.reading, n.stop = context.WithCancel(context.Background())
	return n
}

// run is the goroutine of the runner.
func (n *runner) run() {
	defer close(n.ended)
	if n.before != nil {
		<-n.before.ended
		n.before = nil
	}
	for wait := stalledMin; n.reading.Err() == nil; wait = min(2*wait, stalledMax) {
		began := n.pusher.clock.Mono()
		err := n.read()
		if n.reading.Err() != nil {
			break
		}
		if err == nil {
			err = core.NewError(core.CodeClosed, "read topic "+core.Quote(n.config.Topic), nil)
		}
		n.stall(err)
		if n.pusher.clock.Mono()-began > int64(stalledMax) {
			wait = stalledMin
		}
		if clock.Sleep(n.reading, n.pusher.clock, wait) != nil {
			break
		}
	}
	if n.gone.Load() {
		n.pusher.halt(n)
	}
}

// read posts messages until the subscription to the topic ends.
func (n *runner) read() error {
	sub, err := n.pusher.bus.Subscribe(n.config.Topic, n.config.options()...)
	if err != nil {
		return err
	}
	n.stall(nil)
	var workers sync.WaitGroup
	free := make(chan struct{}, n.config.Concurrency)
	for m, failure := range sub.Messages(n.reading) {
		if failure != nil {
			err = failure
			break
		}
		kept := m.Clone()
		select {
		case free <- struct{}{}:
		case <-n.reading.Done(): // closing gives the message back
			continue
		}
		workers.Go(func() {
			defer func() { <-free }()
			n.deliver(kept)
		})
	}
	workers.Wait()
	return errors.Join(err, sub.Close())
}

// stall notes why the topic cannot be read, or that it can.
func (n *runner) stall(err error) {
	text := ""
	if err != nil {
		text = validText([]byte(err.Error()))
	}
	f := n.figures
	f.mu.Lock()
	changed := f.stalled != text
	f.stalled = text
	f.mu.Unlock()
	if changed && err != nil {
		n.pusher.logger.Warn("a push subscription cannot read its topic", "name", n.config.Name,
			"topic", n.config.Topic, "error", err)
	}
}

// deliver posts a message and answers its group.
func (n *runner) deliver(m *leat.Message) {
	n.figures.inFlight.Add(1)
	defer n.figures.inFlight.Add(-1)
	v := n.pusher.post(&n.config, *n.keys.Load(), m)
	var err error
	switch v.kind {
	case done:
		n.figures.delivered.Add(1)
		err = m.Ack()
	case again:
		err = m.NackBecause(v.delay, v.fault.Text)
	case gone:
		n.gone.Store(true)
		n.stop()
	case cutOff:
	}
	if v.kind == again || v.kind == gone {
		n.fail(m, v.fault)
	}
	if err != nil && !errors.Is(err, leat.ErrStaleAck) && !errors.Is(err, leat.ErrClosed) {
		n.pusher.logger.Warn("a push subscription cannot answer its group", "name", n.config.Name, "error", err)
	}
}

func (n *runner) fail(m *leat.Message, fault Fault) {
	fault.Time = time.Unix(0, n.pusher.clock.Now()).UTC()
	fault.Partition, fault.Offset, fault.Attempt = m.Partition, m.Offset, m.Attempt
	f := n.figures
	f.failed.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = &fault
}

// fill adds the figures to a description.
func (f *figures) fill(i *Info) {
	f.mu.Lock()
	i.Stalled, i.LastFault = f.stalled, f.last
	f.mu.Unlock()
	i.Delivered, i.Failed, i.InFlight = f.delivered.Load(), f.failed.Load(), f.inFlight.Load()
}
