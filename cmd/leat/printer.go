package main

import (
	"io"
	"sync"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// printerMax is how much output may wait for the reader of standard output.
const printerMax = 1 << 20

// printer writes what a loop hands it on a goroutine of its own, so that output is written at once when
// little comes and in large pieces when much comes. While a piece is written the next one grows; beyond
// printerMax the loop waits.
type printer struct {
	w       io.Writer
	written func(partition int32, offset int64) error // told the last written of each partition, or nil
	failed  func()                                    // called when writing fails, so that the loop ends
	ended   chan struct{}                             // closed when the goroutine has ended

	mu      sync.Mutex // guards the following
	changed *sync.Cond
	next    piece
	writing bool
	closed  bool
	err     error

	late int64 // answers that came when the lease was over; the goroutine's until it has ended
}

// piece is output with the last offset of each partition in it.
type piece struct {
	text []byte
	last map[int32]int64
	lent []leat.Message // of a queue group: each, without what it carries. Its bound is what a member may hold
}

func newPrinter(w io.Writer, written func(int32, int64) error, failed func()) *printer {
	p := &printer{w: w, written: written, failed: failed, ended: make(chan struct{}),
		next: piece{last: map[int32]int64{}}}
	p.changed = sync.NewCond(&p.mu)
	go p.run()
	return p
}

// print lets f append a message to the output. It waits while too much output waits, and answers the
// first error of the writer.
func (p *printer) print(m *leat.Message, f func(dst []byte) ([]byte, error)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.next.text) >= printerMax && p.err == nil {
		p.changed.Wait()
	}
	if p.err != nil {
		return p.err
	}
	wake := len(p.next.text) == 0
	text, err := f(p.next.text)
	if err != nil {
		return err
	}
	p.next.text = text
	p.next.last[m.Partition] = m.Offset
	if m.Attempt > 0 {
		lent := *m
		lent.Key, lent.Value, lent.Headers = nil, nil, nil
		p.next.lent = append(p.next.lent, lent)
	}
	if wake {
		p.changed.Broadcast()
	}
	return nil
}

// idle reports whether everything has been written.
func (p *printer) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.writing && len(p.next.last) == 0
}

// close writes the rest and waits for it.
func (p *printer) close() error {
	p.mu.Lock()
	p.closed = true
	p.changed.Broadcast()
	p.mu.Unlock()
	<-p.ended
	return p.err
}

func (p *printer) run() {
	defer close(p.ended)
	spare := piece{last: map[int32]int64{}}
	for {
		now, ok := p.take(spare)
		if !ok {
			return
		}
		err := p.write(&now)
		p.mu.Lock()
		p.writing, p.err = false, err
		p.changed.Broadcast()
		p.mu.Unlock()
		if err != nil {
			p.failed()
			return
		}
		clear(now.last)
		clear(now.lent)
		spare = piece{text: now.text[:0], last: now.last, lent: now.lent[:0]}
	}
}

// take waits for output and puts an empty piece in its place.
func (p *printer) take(spare piece) (piece, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.next.last) == 0 && !p.closed {
		p.changed.Wait()
	}
	if len(p.next.last) == 0 {
		return piece{}, false
	}
	now := p.next
	p.next, p.writing = spare, true
	p.changed.Broadcast()
	return now, true
}

func (p *printer) write(now *piece) error {
	if _, err := p.w.Write(now.text); err != nil {
		return err
	}
	for i := range now.lent {
		err := now.lent[i].Ack()
		if core.CodeOf(err) == core.CodeStaleAck {
			p.late++
		} else if err != nil {
			return err
		}
	}
	if p.written == nil {
		return nil
	}
	for partition, offset := range now.last {
		if err := p.written(partition, offset); err != nil {
			return err
		}
	}
	return nil
}
