package actors

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/leatbus/leat/core"
)

// Undelivered is what a mailbox puts into the dead letters: a message that nobody will handle, and why.
// If the message is an Abandonable it has been told.
type Undelivered struct {
	Message any
	Err     error
}

// letterLog counts dead letters, and lets at most one a second into the log.
type letterLog struct {
	count  atomic.Uint64
	logged atomic.Uint64 // count at the last line
	nextAt atomic.Int64  // nanoseconds of the clock's Mono
}

// DeadLetters is the number of messages that could not be delivered so far.
func (s *System) DeadLetters() uint64 { return s.letters.count.Load() }

// deadLetter receives everything from protoactor's event stream, on the goroutine of the sender.
func (s *System) deadLetter(event any) {
	letter, ok := event.(*actor.DeadLetterEvent)
	if !ok {
		return
	}
	var err error
	switch msg := letter.Message.(type) {
	case *actor.Watch: // of an actor that has stopped
		if watcher, ok := s.inner.ProcessRegistry.Get(msg.Watcher); ok {
			watcher.SendSystemMessage(msg.Watcher,
				&actor.Terminated{Who: letter.PID, Why: actor.TerminatedReason_NotFound})
		}
		return
	case actor.SystemMessage, actor.MailboxMessage, actor.AutoReceiveMessage, *actor.DeadLetterResponse:
		return // lifecycle of an actor that is gone
	case *Undelivered:
		err = msg.Err
	default:
		err = core.Errorf(core.CodeClosed, "send to actor "+idOf(letter.PID), "there is no such actor")
		if abandonable, ok := msg.(Abandonable); ok {
			abandonable.Abandoned(err)
		}
	}
	if letter.Sender != nil {
		s.deliver(letter.Sender, &actor.DeadLetterResponse{Target: letter.PID})
	}
	s.logLetter(letter, err)
}

func (s *System) logLetter(letter *actor.DeadLetterEvent, err error) {
	n := s.letters.count.Add(1)
	if _, quiet := letter.Message.(actor.IgnoreDeadLetterLogging); quiet {
		return
	}
	now := s.clock.Mono()
	due := s.letters.nextAt.Load()
	if due != 0 && now < due || !s.letters.nextAt.CompareAndSwap(due, now+int64(time.Second)) {
		return
	}
	before := s.letters.logged.Swap(n)
	s.logger.Warn("dead letters", "actor", idOf(letter.PID), "messages", n-before, "last", err)
}

// deliver sends without waiting. False means that the mailbox is full.
func (s *System) deliver(pid *actor.PID, msg any) bool {
	if e := s.lookup(pid); e != nil {
		return e.mailbox.tryPost(msg)
	}
	s.root.Send(pid, msg)
	return true
}

// undeliverable gives up on a message whose mailbox stayed full.
func (s *System) undeliverable(pid *actor.PID, msg any) {
	err := core.Errorf(core.CodeFull, "timer for actor "+idOf(pid),
		"its mailbox had no room for %v", controlWait)
	if abandonable, ok := msg.(Abandonable); ok {
		abandonable.Abandoned(err)
	}
	s.inner.EventStream.Publish(&actor.DeadLetterEvent{PID: pid, Message: &Undelivered{Message: msg, Err: err}})
}

// Report logs a warning: something went wrong that no caller is told of. The arguments are slog's.
func (s *System) Report(msg string, args ...any) { s.logger.Warn(msg, args...) }

// reportFailure tells people of a failure. Nothing is locked while they are told.
func (s *System) reportFailure(f Failure) {
	level := slog.LevelWarn
	if f.Action == StoppedActor || f.Action == FeedEnded {
		level = slog.LevelError
	}
	if s.logger.Enabled(context.Background(), level) {
		attributes := []any{"actor", idOf(f.PID), "action", f.Action.String(), "error", f.Err,
			"attempt", f.Attempt, "delay", f.Delay}
		if f.Topic != "" {
			attributes = append(attributes, "topic", f.Topic, "partition", f.Partition, "offset", f.Offset)
		}
		if f.Stack != nil {
			attributes = append(attributes, "stack", string(f.Stack))
		}
		s.logger.Log(context.Background(), level, "actor failed", attributes...)
	}
	if s.onFailure != nil {
		s.onFailure(f)
	}
}

func idOf(pid *actor.PID) string {
	if pid == nil {
		return "(none)"
	}
	return pid.Id
}

// warnings is the logger protoactor gets: it would log each recovered panic and dead letter again.
type warnings struct{ slog.Handler }

// Enabled lets warnings and errors through.
func (w warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && w.Handler.Enabled(ctx, level)
}

// WithAttrs keeps the limit.
func (w warnings) WithAttrs(attributes []slog.Attr) slog.Handler {
	return warnings{w.Handler.WithAttrs(attributes)}
}

// WithGroup keeps the limit.
func (w warnings) WithGroup(name string) slog.Handler { return warnings{w.Handler.WithGroup(name)} }
