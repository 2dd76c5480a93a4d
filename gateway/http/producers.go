package httpdoor

import (
	"errors"
	"sync"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// producersMost are kept open while nobody publishes.
const producersMost = 256

// producerKey is what the producers of two requests must have in common to be one.
type producerKey struct {
	topic  string
	ack    leat.Ack
	manual bool // the partition is chosen by the client
}

// producers keeps producers open between requests.
type producers struct {
	bus  *leat.Bus
	most int

	mu     sync.Mutex // guards the following
	open   map[producerKey]*shared
	turn   int64 // counts uses
	closed bool
}

// shared is an open producer.
type shared struct {
	key      producerKey
	producer *leat.Producer
	spread   spread

	// The following is guarded by producers.mu.
	users int
	used  int64 // turn of the last use
	gone  bool  // not in the table: closed by its last user
}

func newProducers(bus *leat.Bus) *producers {
	return &producers{bus: bus, most: producersMost, open: map[producerKey]*shared{}}
}

// openProducer opens a producer of its own.
func (p *producers) openProducer(key producerKey) (*leat.Producer, error) {
	options := []leat.ProducerOption{leat.WithAck(key.ack)}
	if key.manual {
		options = append(options, leat.WithPartitioner(leat.Manual))
	}
	return p.bus.Producer(key.topic, options...)
}

// take gives a producer, to be given back.
func (p *producers) take(key producerKey) (*shared, error) {
	if s, err := p.find(key); s != nil || err != nil {
		return s, err
	}
	producer, err := p.openProducer(key)
	if err != nil {
		return nil, err
	}
	s, surplus := p.add(&shared{key: key, producer: producer})
	closeProducers(surplus)
	return s, nil
}

func (p *producers) find(key producerKey) (*shared, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, core.NewError(core.CodeDraining, "publish", nil)
	}
	s := p.open[key]
	if s != nil {
		p.useLocked(s)
	}
	return s, nil
}

func (p *producers) useLocked(s *shared) {
	p.turn++
	s.users++
	s.used = p.turn
}

// add enters a producer, or gives the one that somebody else has entered meanwhile. What is not needed any
// more is for the caller to close.
func (p *producers) add(s *shared) (kept *shared, surplus []*shared) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if other := p.open[s.key]; other != nil {
		p.useLocked(other)
		return other, []*shared{s}
	}
	p.useLocked(s)
	if p.closed { // it serves this request, and goes with it
		s.gone = true
		return s, nil
	}
	p.open[s.key] = s
	if len(p.open) > p.most {
		if idle := p.idlestLocked(); idle != nil {
			delete(p.open, idle.key)
			surplus = append(surplus, idle)
		}
	}
	return s, surplus
}

// idlestLocked is the one without users that was used last the longest ago; nil if all have some.
func (p *producers) idlestLocked() *shared {
	var idlest *shared
	for _, s := range p.open {
		if s.users == 0 && (idlest == nil || s.used < idlest.used) {
			idlest = s
		}
	}
	return idlest
}

// give gives a producer back. After an error that only another producer overcomes it is given out no more.
func (p *producers) give(s *shared, err error) {
	p.mu.Lock()
	if spoilt(err) && p.open[s.key] == s {
		delete(p.open, s.key)
		s.gone = true
	}
	s.users--
	last := s.gone && s.users == 0
	p.mu.Unlock()
	if last {
		closeProducers([]*shared{s})
	}
}

// spoilt reports whether a producer is of no use any more: its topic may have been made anew meanwhile.
func spoilt(err error) bool {
	switch {
	case err == nil:
		return false
	case errors.Is(err, leat.ErrTopicNotFound), errors.Is(err, leat.ErrClosed), errors.Is(err, leat.ErrTailLost),
		errors.Is(err, leat.ErrLogFenced), errors.Is(err, core.ErrOutOfSequence):
		return true
	}
	return false
}

// close closes all; those in use are closed by their users.
func (p *producers) close() {
	p.mu.Lock()
	p.closed = true
	var idle []*shared
	for key, s := range p.open {
		delete(p.open, key)
		s.gone = true
		if s.users == 0 {
			idle = append(idle, s)
		}
	}
	p.mu.Unlock()
	closeProducers(idle)
}

// closeProducers closes producers whose publishes were all answered, so that there is nothing to fail.
func closeProducers(list []*shared) {
	for _, s := range list {
		_ = s.producer.Close()
	}
}
