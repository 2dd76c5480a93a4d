package node

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/core"
)

// asideMark is the partition of a completion that carries no ticket: it says that there is something
// in aside.
const asideMark = -1

// aside holds answers that wait for nothing: refusals, and publishes that asked for no receipt. They
// take no ticket, because those are given back in order and a disk that hangs would hold them up.
type aside struct {
	mu      sync.Mutex // guards the following
	self    *actors.Sender[actors.Completion]
	list    []answered
	retired bool // nobody calls back any more: whoever has an answer calls on its own goroutine

	spare []answered // owned by the producer's actor
}

// answerNow calls back with an outcome that is known already: on the actor's goroutine while there is
// one. It waits only for callbacks that are 65,536 behind.
func (a *answers) answerNow(call func(leat.Receipt, error), r leat.Receipt, err error) {
	if call == nil {
		return
	}
	if failed := a.start.ensure(); failed != nil {
		a.callBack(&answered{call, cmp.Or(err, failed), leat.Receipt{}})
		return
	}
	for !a.putAside(answered{call, err, r}) {
		if failed := a.awaitRoom(a.asideFull); failed != nil {
			a.callBack(&answered{call, failed, leat.Receipt{}})
			return
		}
	}
}

// putAside leaves an answer to the actor, or calls back if that has gone. It reports false while
// there is no room.
func (a *answers) putAside(r answered) bool {
	a.aside.mu.Lock()
	if a.aside.retired {
		a.aside.mu.Unlock()
		a.callBack(&r)
		return true
	}
	defer a.aside.mu.Unlock()
	if len(a.aside.list) >= answerRing {
		return false
	}
	a.aside.list = append(a.aside.list, r)
	if len(a.aside.list) == 1 && !a.aside.self.TrySend(&actors.Completion{Partition: asideMark}) {
		a.overflow()
	}
	return true
}

func (a *answers) asideFull() bool {
	a.aside.mu.Lock()
	defer a.aside.mu.Unlock()
	return !a.aside.retired && len(a.aside.list) >= answerRing
}

// takeAside calls back what was put aside. It belongs to the actor, or to whoever retired it.
func (a *answers) takeAside() {
	a.aside.mu.Lock()
	taken := a.aside.list
	a.aside.list, a.aside.spare = a.aside.spare[:0], nil
	a.aside.mu.Unlock()
	if len(taken) == 0 {
		a.aside.spare = taken
		return
	}
	a.makeRoom()
	for i := range taken {
		a.callBack(&taken[i])
	}
	clear(taken)
	a.aside.spare = taken
}

// fail answers a ticket whose message never reached the ring.
func (a *answers) fail(ticket uint32, err error) {
	slot := &a.slots[ticket%answerRing]
	a.aside.mu.Lock()
	if a.aside.retired {
		a.aside.mu.Unlock()
		if slot.call != nil {
			a.callBack(&answered{call: slot.call, err: err})
		}
		return
	}
	defer a.aside.mu.Unlock()
	a.fails.put(ticket, err)
	if !a.aside.self.TrySend(&actors.Completion{Ticket: ticket, Failed: true}) {
		a.overflow()
	}
}

// retire says that the actor is about to stop. With force it does so even though something is in
// flight; without, it reports false then.
func (a *answers) retire(force bool) bool {
	a.start.forbid(core.NewError(core.CodeClosed, a.op, nil))
	a.aside.mu.Lock()
	defer a.aside.mu.Unlock()
	records, _ := inFlight(a.issued.Load(), a.done.Load())
	if !force && (records > 0 || len(a.aside.list) > 0) {
		return false
	}
	a.aside.retired = true
	return true
}

// drain flushes until nothing is in flight and the producer is retired. Publishers that saw the
// producer open may still add to what is in flight, so one flush is not enough.
func (p *producer) drain(ctx context.Context) error {
	for {
		if err := p.Flush(ctx); err != nil {
			return err
		}
		if p.answers.retire(false) {
			return nil
		}
	}
}

// stopAnswers stops the actor of a retired producer.
func (p *producer) stopAnswers(ctx context.Context) error {
	if !p.answers.start.running() {
		return nil
	}
	return p.answers.sys.Stop(ctx, p.answers.pid)
}

// closedMeanwhile reports whether the producer was closed while a publish took its ticket: its index
// may belong to another producer soon, so the publish must not reach the ring.
func (p *producer) closedMeanwhile() error {
	if p.closed.Load() {
		return core.NewError(core.CodeClosed, p.topic.op("publish to"), nil)
	}
	return nil
}

// starter makes the actor of a producer at its first answer.
type starter struct {
	make func() error
	once sync.Once
	err  error
	done atomic.Bool // once has returned
}

func (s *starter) ensure() error {
	s.once.Do(func() {
		s.err = s.make()
		s.done.Store(true)
	})
	return s.err
}

// forbid makes an actor that was not made by now impossible.
func (s *starter) forbid(err error) {
	s.once.Do(func() {
		s.err = err
		s.done.Store(true)
	})
}

// running reports whether there is an actor.
func (s *starter) running() bool { return s.done.Load() && s.err == nil }
