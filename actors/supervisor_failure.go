package actors

import (
	"fmt"
	"runtime/debug"
	"time"
)

// Action is what was done about a Failure.
type Action uint8

// The actions.
const (
	Restarted     Action = iota // a new incarnation, after Delay; the mailbox is kept
	Retrying                    // the same, and the message is delivered again after Delay
	StoppedActor                // too many failures: the actor is stopped
	Ignored                     // a panic in Stopping, Stopped or Restarting: it goes on
	Resubscribed                // a feed lost its membership and has joined again
	Resubscribing               // a feed ended with an error and is tried again after Delay
	FeedEnded                   // a feed ended with an error and delivers no more
	AckFailed                   // a message was handled, but the bus did not take its ack
)

var actionNames = [...]string{"restarted", "retrying", "stopped", "ignored", "resubscribed",
	"resubscribing", "feed ended", "ack failed"}

// String gives the action in one or two words.
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// Failure is one failure of an actor or of its feed.
type Failure struct {
	PID       *PID
	Topic     string // of the message it failed on, or of the feed; empty for others
	Partition int32
	Offset    int64 // -1 unless it failed on a message of a topic
	Attempt   int   // from 1: of this message, or restarts without progress
	Err       error // a *Panic, or what the subscription answered
	Stack     []byte
	Action    Action
	Delay     time.Duration // until the action
}

// Panic is the error made of a panic.
type Panic struct {
	Value any
	Stack []byte
	Lane  string // of the mailbox: system, control or data; empty elsewhere

	failure Failure // what a feeder wants reported
}

// newPanic is called while the stack of the panic is still there.
func newPanic(value any) *Panic { return &Panic{Value: value, Stack: debug.Stack()} }

// Error is one line without the stack.
func (p *Panic) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// Unwrap gives the error that was thrown, if it was one.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}
