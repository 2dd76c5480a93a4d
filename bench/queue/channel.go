package queue

import "context"

// channel is the floor: messages go through a Go channel to the workers that wait at it. Nothing is stored.
type channel struct {
	size int
	// slots hold the messages: twice as many as the backlog lets be under way, so that one that is used again
	// was handled before.
	slots [][]byte
}

func newChannel(size int) *channel {
	c := &channel{size: size, slots: make([][]byte, 2*backlog)}
	all := make([]byte, size*len(c.slots))
	for i := range c.slots {
		c.slots[i] = all[i*size : (i+1)*size]
	}
	return c
}

// channelLine is both ends.
type channelLine struct {
	*channel
	next int
	to   chan []byte
}

func (c *channel) open(_ context.Context, workers int) (*line, error) {
	l := &channelLine{channel: c, to: make(chan []byte, 1024)}
	opened := &line{publisher: l}
	for range workers {
		opened.workers = append(opened.workers, l)
	}
	return opened, nil
}

func (l *channelLine) publish(_ context.Context, _, value []byte) error {
	slot := l.slots[l.next%len(l.slots)]
	l.next++
	copy(slot, value)
	l.to <- slot
	return nil
}

func (l *channelLine) flush(context.Context) error { return nil }

func (l *channelLine) work(ctx context.Context, h *hand) error {
	for {
		select {
		case value := <-l.to:
			h.see(value)
		case <-ctx.Done():
			return nil
		}
	}
}

func (l *channelLine) settle(context.Context) error { return nil }
