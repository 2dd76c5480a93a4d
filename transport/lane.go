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
	queued  []byte
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

// Send queues a copy of one or more whole frames. On an idle lane it writes them before it returns;
// otherwise it returns at once, but waits while more than the bound is queued. An error is that of an
// earlier write, and final.
func (l *Lane) Send(frames []byte) error {
	l.mu.Lock()
	for l.err == nil && len(l.queued) >= l.bound {
		l.room.Wait()
	}
	if l.err != nil {
		defer l.mu.Unlock()
		return l.err
	}
	l.queued = append(l.queued, frames...)
	if l.writing {
		l.mu.Unlock()
		return nil
	}
	l.writing = true
	err := l.writeLocked()
	if err == nil && len(l.queued) > 0 {
		go l.drain() // the sender does not write for the others; Close and Wait wait for it
	} else {
		l.writing = false
		l.room.Broadcast()
	}
	l.mu.Unlock()
	return err
}

// Queue is Send for callers that must not wait: a goroutine writes. core.ErrFull beyond the bound.
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

// Close writes what is queued, ends the sending direction and waits for both. Nothing may be sent any more.
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

func (l *Lane) drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queued) > 0 && l.err == nil {
		_ = l.writeLocked() // kept in err
	}
	l.writing = false
	l.room.Broadcast()
}

// writeLocked writes everything queued, without the lock meanwhile.
func (l *Lane) writeLocked() error {
	taken := l.queued
	l.queued, l.spare = l.spare[:0], nil
	l.room.Broadcast()
	l.mu.Unlock()
	_, err := l.stream.Write(taken)
	l.mu.Lock()
	if cap(taken) <= laneKept {
		l.spare = taken[:0]
	}
	if err != nil && l.err == nil {
		l.err = err
	}
	return l.err
}
