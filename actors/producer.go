package actors

import "github.com/leatbus/leat/core"

// Completion tells a producer what became of one publish. The journal sends completions through
// the data lane of the producer's mailbox, so a run of them is one message.
type Completion struct {
	Ticket    uint32 // which publish
	Count     uint32 // 0, or as many publishes from Ticket on: the rest is with their tickets
	Partition int32
	Offset    int64
	Time      int64 // append time, nanoseconds since 1970
	Failed    bool  // the error is with the ticket
}

// ProducerShell is the data plane of a producer. Its methods are called by the producer's actor
// only, so answers come on one goroutine at a time.
type ProducerShell interface {
	// Answer frees the room of a run and then calls back, in the order of the run.
	Answer(run *Batch[Completion])
	// Answered is the number of publishes answered in ticket order, modulo 2³².
	Answered() uint32
}

// FlushProducer asks a producer's actor to answer when every publish up to ticket Until (exclusive)
// has been answered and its callback has returned.
type FlushProducer struct {
	Until uint32
	Reply Reply[struct{}]
}

// Abandoned tells the caller that the actor stopped first.
func (m FlushProducer) Abandoned(err error) { m.Reply.Abandoned(err) }

// CloseProducer asks a producer's actor to fail its flushes and to take no new ones.
type CloseProducer struct{}

// producerActor answers publishes and owns the flushes that wait for them.
type producerActor struct {
	shell   ProducerShell
	flushes []FlushProducer // in the order they were asked for
	closed  bool
}

// NewProducerActor makes the actor of one producer; its mailbox has a data lane of completions.
func NewProducerActor(shell ProducerShell) Actor { return &producerActor{shell: shell} }

// Receive implements Actor.
func (a *producerActor) Receive(ctx Context) {
	switch m := ctx.Message().(type) {
	case *Batch[Completion]:
		a.shell.Answer(m)
		a.answerFlushes()
	case FlushProducer:
		if a.closed {
			m.Reply.Answer(struct{}{}, core.NewError(core.CodeClosed, "flush producer", nil))
			return
		}
		a.flushes = append(a.flushes, m)
		a.answerFlushes()
	case CloseProducer:
		a.closed = true
		for _, f := range a.flushes {
			f.Abandoned(core.NewError(core.CodeClosed, "flush producer", nil))
		}
		a.flushes = nil
	}
}

// answerFlushes answers those that everything was answered for. Tickets wrap, so distance decides.
func (a *producerActor) answerFlushes() {
	if len(a.flushes) == 0 {
		return
	}
	answered := a.shell.Answered()
	kept := a.flushes[:0]
	for _, f := range a.flushes {
		if int32(answered-f.Until) >= 0 {
			f.Reply.Answer(struct{}{}, nil)
		} else {
			kept = append(kept, f)
		}
	}
	clear(a.flushes[len(kept):])
	a.flushes = kept
}
