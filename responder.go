package leat

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/leatbus/leat/core"
)

// Handler answers one request. ctx has the deadline of the requester and ends when nobody waits any more. The
// message belongs to the handler. An error, or a panic, is ErrRequestFailed at the requester, with its text.
type Handler func(ctx context.Context, request *Message) (Message, error)

// RespondOptions is the sum of the options of a responder.
type RespondOptions struct {
	Concurrency int // as in Concurrency; 0 until defaults were filled in
}

// RespondOption is one option of Bus.Respond.
type RespondOption func(*RespondOptions)

// DefaultConcurrency is how many requests a responder handles at once, unless Concurrency says otherwise.
const DefaultConcurrency = 64

// Concurrency sets how many requests are handled at once, 1 to 4,096. More are given to other responders, or
// wait at their node.
func Concurrency(n int) RespondOption { return func(o *RespondOptions) { o.Concurrency = n } }

// ResponderBackend carries one Responder.
type ResponderBackend interface {
	// Leave takes no more requests; replies to those taken are sent still. It does not wait.
	Leave()
	// Close ends it. Requests without a reply are lost.
	Close() error
	// Done is closed when it has ended, by itself or because of Close.
	Done() <-chan struct{}
	// Err says why it ended by itself, after Done; nil after Close.
	Err() error
}

// Call is a request as a Backend hands it to a Responder.
type Call struct {
	record []byte
	topic  string
	reply  func(record []byte, err error)
	ctx    context.Context
	cancel context.CancelFunc
}

// NewCall makes a Call. reply is called once, from any goroutine; ErrNoResponders says that the request was
// not looked at, and may be given to somebody else. It is for implementations of Backend, as Cancel.
func NewCall(topic string, record []byte, timeout time.Duration, reply func([]byte, error)) *Call {
	c := &Call{record: record, topic: topic, reply: reply}
	c.ctx, c.cancel = context.WithTimeout(context.Background(), timeout)
	return c
}

// Cancel says that nobody waits for the reply any more.
func (c *Call) Cancel() { c.cancel() }

// Responder answers the requests of a topic until it is closed.
type Responder struct {
	backend ResponderBackend
	handler Handler
	slots   chan struct{} // one per request that is handled

	closeOnce sync.Once
	closeErr  error

	mu      sync.Mutex // guards the following
	running map[*Call]struct{}
	closed  bool
	idle    chan struct{} // closed when none runs, once closed is set
}

// Respond has handler answer requests on a topic, on up to Concurrency goroutines, until the Responder or the
// bus is closed. It returns when requests can come. Each request goes to one of the responders of the topic:
// the one that has the fewest. Over a server it answers on every node that has partitions of the topic; in a
// process, what is asked of this node. ErrTopicNotFound, or ErrLimited where there are 1,024 responders.
func (b *Bus) Respond(topic string, handler Handler, options ...RespondOption) (*Responder, error) {
	o := RespondOptions{Concurrency: DefaultConcurrency}
	for _, option := range options {
		option(&o)
	}
	if o.Concurrency < 1 || o.Concurrency > core.MaxCallWindow {
		return nil, core.Errorf(core.CodeInvalidConfig, "respond on topic "+core.Quote(topic),
			"Concurrency(%d): want 1 to %d", o.Concurrency, core.MaxCallWindow)
	}
	r := &Responder{handler: handler, slots: make(chan struct{}, o.Concurrency),
		running: make(map[*Call]struct{}), idle: make(chan struct{})}
	var err error
	if r.backend, err = b.backend.OpenResponder(topic, o, r.take); err != nil {
		return nil, err
	}
	return r, nil
}

// Respond answers requests on a topic with handler until ctx ends, which is no error, or the topic or bus is
// gone. Requests that are under way are answered first, for 10 s at most.
func Respond(ctx context.Context, b *Bus, topic string, handler Handler, options ...RespondOption) error {
	r, err := b.Respond(topic, handler, options...)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return r.Close()
	case <-r.Done():
		_ = r.Close() // Err says more
		return r.Err()
	}
}

// Done is closed when the responder has ended: it was closed, or Err says why.
func (r *Responder) Done() <-chan struct{} { return r.backend.Done() }

// Err says why the responder ended by itself, after Done: ErrTopicNotFound, ErrClosed where the bus was, or
// another error that trying again cannot help. It is nil after Close.
func (r *Responder) Err() error { return r.backend.Err() }

// Close takes no more requests, waits until those under way are answered, for 10 s at most, and cancels the
// rest. It must not be called by the handler.
func (r *Responder) Close() error {
	r.closeOnce.Do(func() {
		r.backend.Leave()
		r.mu.Lock()
		r.closed = true
		if len(r.running) == 0 {
			close(r.idle)
		}
		r.mu.Unlock()
		patience, cancel := context.WithTimeout(context.Background(), closeWait)
		defer cancel()
		select {
		case <-r.idle:
		case <-r.backend.Done():
		case <-patience.Done():
		}
		r.mu.Lock()
		for c := range r.running {
			c.cancel()
		}
		r.mu.Unlock()
		r.closeErr = r.backend.Close()
		<-r.idle
	})
	return r.closeErr
}

// take is given each request by the backend. It does not block.
func (r *Responder) take(c *Call) {
	r.mu.Lock()
	closed := r.closed
	if !closed {
		r.running[c] = struct{}{}
	}
	r.mu.Unlock()
	if closed {
		c.cancel()
		c.reply(nil, core.NewError(core.CodeNoResponders, "respond", nil))
		return
	}
	go r.serve(c) // Close waits for it
}

// serve is the goroutine of one request.
func (r *Responder) serve(c *Call) {
	defer r.served(c)
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-c.ctx.Done():
		c.reply(nil, core.Errorf(core.CodeLimited, "respond", "the responder was busy until the request was over"))
		return
	}
	m, err := DecodeCall(c.record, c.topic)
	if err != nil {
		c.reply(nil, err)
		return
	}
	reply, err := r.handle(c.ctx, &m)
	var record []byte
	if err == nil {
		record, err = EncodeCall(&reply)
	}
	c.reply(record, err)
}

func (r *Responder) served(c *Call) {
	c.cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.running, c)
	if r.closed && len(r.running) == 0 {
		close(r.idle)
	}
}

// handle calls the handler and makes its error, or panic, one that the requester is told.
func (r *Responder) handle(ctx context.Context, m *Message) (reply Message, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("the handler panicked: %v", cause)
		}
		if err != nil {
			text := err.Error()
			err = core.Errorf(core.CodeRequestFailed, "request on topic "+core.Quote(m.Topic), "%s",
				text[:min(len(text), maxFailureBytes)])
		}
	}()
	return r.handler(ctx, m)
}

// maxFailureBytes is how much of a handler's error the requester is told.
const maxFailureBytes = 4 << 10
