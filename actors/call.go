package actors

import (
	"context"
	"fmt"
	"sync/atomic"
)

// Reply carries one answer back to who asked. A request embeds it, or passes Abandoned on to it, so that
// a request nobody handles is answered with the reason. Copies are the same Reply; the zero Reply
// swallows its answer.
type Reply[R any] struct{ state *replyState[R] }

type replyState[R any] struct {
	answered atomic.Bool
	deliver  func(R, error) // nil for a Reply that is waited for
	answers  chan reply[R]  // capacity 1: answering never blocks
}

type reply[R any] struct {
	result R
	err    error
}

// NewReply makes a Reply to Wait for.
func NewReply[R any]() Reply[R] {
	return Reply[R]{&replyState[R]{answers: make(chan reply[R], 1)}}
}

// ReplyFunc makes a Reply whose first answer is given to deliver, on the goroutine that answers: it must
// not block. Wait is not for it.
func ReplyFunc[R any](deliver func(R, error)) Reply[R] {
	return Reply[R]{&replyState[R]{deliver: deliver}}
}

// Answer answers. Only the first answer counts. It never blocks; anybody may call it.
func (r Reply[R]) Answer(result R, err error) {
	if r.state == nil || !r.state.answered.CompareAndSwap(false, true) {
		return
	}
	if r.state.deliver != nil {
		r.state.deliver(result, err)
		return
	}
	r.state.answers <- reply[R]{result, err}
}

// Abandoned answers with the reason why nobody will.
func (r Reply[R]) Abandoned(err error) {
	var none R
	r.Answer(none, err)
}

// Wait returns the answer, or ctx.Err() if ctx ends first. One caller gets the answer.
func (r Reply[R]) Wait(ctx context.Context) (R, error) {
	select {
	case a := <-r.state.answers:
		return a.result, a.err
	case <-ctx.Done():
		var none R
		return none, ctx.Err()
	}
}

// Call sends a request to an actor and waits for its answer. request gets the Reply and returns the
// message, which must be an Abandonable: embed the Reply. It always ends: with the answer; with
// core.ErrClosed if the actor has stopped, stops before it gets to the message, or does not exist; with
// core.CodeHandlerFailed if it panics over it; with core.ErrFull if its control lane stays full; or with
// ctx.Err(), which is the only end if the actor forgets to answer. An actor that calls another one keeps
// its thread until the answer comes, and two that call each other wait for ctx.
func Call[R any](ctx context.Context, s *System, pid *PID, request func(Reply[R]) any) (R, error) {
	var none R
	answer := NewReply[R]()
	msg := request(answer)
	if _, ok := msg.(Abandonable); !ok {
		return none, fmt.Errorf("actors: call %s: request %T does not embed its Reply", idOf(pid), msg)
	}
	if err := ctx.Err(); err != nil {
		return none, fmt.Errorf("actors: call %s: %w", idOf(pid), err)
	}
	s.Send(pid, msg)
	result, err := answer.Wait(ctx)
	if err != nil && err == ctx.Err() {
		err = fmt.Errorf("actors: call %s: %w", idOf(pid), err)
	}
	return result, err
}
