package transport

import (
	"sync"

	"github.com/leatbus/leat/core"
)

// Lane writes frames of several goroutines to one stream. It has no goroutine while it is idle: a frame sent
// then is written by its sender. What is queued while a write is under way goes with the next, in one piece.
type Lane struct {
	stream Stream
	bound  int // bytes queued from which Send waits and Queue refuses

	mu      sync.Mutex // guards the following
	room    sync.Cond
	queued  []byte // empty while nobody writes, unless there is an err
	spare   []byte
	writing bool // somebody writes, and looks at queued afterwards
	err     error
}

// laneKept is the largest buffer a lane keeps while it is idle.
const laneKept = 64 << 10

// NewLane makes a lane of a stream that nobody else writes to.
func NewLane(stream Stream, bound int) *Lane {
	l := &Lane{stream: stream, bound: bound}
	l.room.L = &l.mu
	return l
}

// Send sends one or more whole frames. On an idle lane it writes them before it returns; otherwise it queues
// a copy and returns at once, but waits while the bound or more is queued. An error is that of an earlier
// write, and final.
func (l *Lane) Send(frames []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil && len(l.queued) >= l.bound {
		l.room.Wait()
	}
	if l.err != nil {
		return l.err
	}
	if l.writing {
		l.queued = append(l.queued, frames...)
		return nil
	}
	l.writing = true
	l.writeLocked(frames)
	if len(l.queued) > 0 && l.err == nil {
		go l.drain() // the sender does not write for the others; Close and Wait wait for it
	} else {
		l.idleLocked()
	}
	return l.err
}

// Queue is Send for callers that must not wait: a goroutine writes. It fails with core.ErrFull where Send
// would wait.
func (l *Lane) Queue(frames []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if len(l.queued) >= l.bound {
		return core.NewError(core.CodeFull, "send", nil)
	}
	l.queued = append(l.queued, frames...)
	if !l.writing {
		l.writing = true
		go l.drain()
	}
	return nil
}

// Close waits until what was sent is written, and ends the sending direction. Sending fails with
// core.CodeClosed from then on.
func (l *Lane) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waitLocked()
	if l.err != nil {
		return l.err
	}
	l.err = core.NewError(core.CodeClosed, "send", nil)
	return l.stream.Close()
}

// Wait waits until nobody writes. It is for after the stream was reset.
func (l *Lane) Wait() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waitLocked()
}

func (l *Lane) waitLocked() {
	for l.writing {
		l.room.Wait()
	}
}

// drain writes until nothing is queued.
func (l *Lane) drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queued) > 0 && l.err == nil {
		taken := l.queued
		l.queued, l.spare = l.spare[:0], nil
		l.room.Broadcast()
		l.writeLocked(taken)
		l.spare = taken[:0]
	}
	l.idleLocked()
}

// writeLocked writes, without the lock meanwhile. The caller has set writing.
func (l *Lane) writeLocked(frames []byte) {
	l.mu.Unlock()
	_, err := l.stream.Write(frames)
	l.mu.Lock()
	if err != nil && l.err == nil {
		l.err = err
	}
}

// idleLocked ends writing, and keeps small buffers only.
func (l *Lane) idleLocked() {
	l.writing = false
	if cap(l.queued) > laneKept {
		l.queued = nil
	}
	if cap(l.spare) > laneKept {
		l.spare = nil
	}
	l.room.Broadcast()
}
