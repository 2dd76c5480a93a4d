package main

import (
	"cmp"
	"context"
	"errors"
	"os"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

// busLine is a topic of a bus in a folder of its own: what the subscribers miss they could read later.
type busLine struct {
	dir      string
	bus      *leat.Bus
	producer *leat.Producer
	failed   error // belongs to the callbacks until Flush returns
}

func openBus() (line, error) {
	dir, err := os.MkdirTemp("", "leat-fanout")
	if err != nil {
		return nil, err
	}
	l := &busLine{dir: dir}
	// One partition: the ticks of all symbols have one order.
	config := leat.TopicConfig{Ack: leat.AckPage, RetentionBytes: 256 << 20}
	if l.bus, err = node.Open(context.Background(), dir, node.WithTopic("ticks", config)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if l.producer, err = l.bus.Producer("ticks"); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// subscribe is a subscription without a group: it has all ticks, from now on.
func (l *busLine) subscribe() (follow, error) {
	sub, err := l.bus.Subscribe("ticks")
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, handle func(*tick) bool) error {
		defer sub.Close()
		var t tick
		for m, err := range sub.Messages(ctx) {
			if err != nil {
				return err
			}
			if t.decode(m.Value); !handle(&t) {
				break
			}
		}
		return nil
	}, nil
}

// send writes a tick straight into the buffer that is published, so that none of this allocates.
func (l *busLine) send(t *tick) error {
	c, err := l.producer.Claim(context.Background(), symbols[t.symbol], tickBytes)
	if err != nil {
		return err
	}
	t.encode(c.Bytes())
	c.PublishAsync(l.answered)
	return nil
}

func (l *busLine) answered(_ leat.Receipt, err error) { l.failed = cmp.Or(l.failed, err) }

func (l *busLine) end() error { return cmp.Or(l.producer.Flush(context.Background()), l.failed) }

func (l *busLine) close() error { return errors.Join(l.bus.Close(), os.RemoveAll(l.dir)) }
