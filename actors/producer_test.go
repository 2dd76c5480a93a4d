package actors

import (
	"errors"
	"testing"

	"github.com/leatbus/leat/core"
)

// producerShell is a producer whose answered ticket is set by the test.
type producerShell struct{ answered uint32 }

func (s *producerShell) Answer(run *Batch[Completion]) { s.answered += uint32(run.Len()) }
func (s *producerShell) Answered() uint32              { return s.answered }

// TestProducerFlushes: a flush waits for its tickets, also across their wrap, and fails when the
// producer is closed first.
func TestProducerFlushes(t *testing.T) {
	s := NewSystem(SystemOptions{})
	shell := &producerShell{answered: 1<<32 - 1}
	mailbox := mustMailbox[Completion](t, MailboxOptions{DataCapacity: 8})
	sender := mustSender(t, mailbox)
	pid, err := s.Spawn(mailbox.Props(func() Actor { return NewProducerActor(shell) }, nil), "producer")
	if err != nil {
		t.Fatal(err)
	}
	flush := func(until uint32) Reply[struct{}] {
		reply := NewReply[struct{}]()
		s.Send(pid, FlushProducer{Until: until, Reply: reply})
		return reply
	}
	next, later := flush(0), flush(5)
	if !sender.TrySend(&Completion{}) {
		t.Fatal("no room")
	}
	if _, err := next.Wait(t.Context()); err != nil {
		t.Errorf("flush of an answered ticket: %v", err)
	}
	s.Send(pid, CloseProducer{})
	if _, err := later.Wait(t.Context()); !errors.Is(err, core.ErrClosed) {
		t.Errorf("flush that was waiting: %v, want %v", err, core.ErrClosed)
	}
	if _, err := flush(0).Wait(t.Context()); !errors.Is(err, core.ErrClosed) {
		t.Errorf("flush after the close: %v, want %v", err, core.ErrClosed)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
