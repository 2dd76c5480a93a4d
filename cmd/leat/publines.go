package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

const (
	// drainMax is how long what is in flight may take to be answered after an interrupt or a failure.
	drainMax = 2 * time.Second
	// progressEvery is how often the live line is drawn.
	progressEvery = 250 * time.Millisecond
)

// publishLines publishes every line of the input. When ctx ends or something fails it waits a little for
// what is in flight, so that doc tells what the server has.
func (a *app) publishLines(
	ctx context.Context, producer *leat.Producer, p *publishing, recordMax int, doc *publishedDoc,
) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	w := newWindow()
	progress := a.startProgress(w)
	// A line may hold a key beside the largest record; the producer checks exactly.
	in := newLines(newInput(reading, a.stdin), recordMax+core.MaxKeyBytes+len(p.separator))
	err := publishAll(ctx, producer, p, in, w)
	flushing, cancel := ctx, context.CancelFunc(func() {})
	if err != nil {
		flushing, cancel = context.WithTimeout(context.WithoutCancel(ctx), drainMax)
	}
	flushed := producer.Flush(flushing)
	if flushed != nil && err == nil { // interrupted while the rest was in flight
		err = flushed
		last, done := context.WithTimeout(context.WithoutCancel(ctx), drainMax)
		_ = producer.Flush(last) // what it answers is counted, and err says that not everything was
		done()
	}
	cancel()
	progress()
	doc.unanswered = w.records.Load() > 0
	doc.Published, doc.Bytes = w.acked.Load(), w.ackedBytes.Load()
	if failure := w.failure(); failure != nil && (err == nil || ctx.Err() == nil) {
		return failure // it came before what stopped the reading
	}
	return err
}

func publishAll(
	ctx context.Context, producer *leat.Producer, p *publishing, in *lines, w *window,
) error {
	separator := []byte(p.separator)
	m := p.message()
	for {
		line, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errLineTooLong):
			return inLine(in.number, core.Errorf(core.CodeRecordTooLarge, "publish to topic "+core.Quote(p.topic),
				"more than %d bytes", in.max))
		case err != nil:
			return err
		}
		m.Value = line
		if len(separator) > 0 {
			var ok bool
			if m.Key, m.Value, ok = bytes.Cut(line, separator); !ok {
				return &inputError{
					err:  fmt.Errorf("line %d has no %s to end its key", in.number, core.Quote(p.separator)),
					hint: "correct the line, or leave --key-sep away to publish lines without keys",
				}
			}
		}
		if err := w.publish(ctx, producer, m, in.number); err != nil {
			return err
		}
	}
}

// startProgress draws a line with figures on a terminal until the returned function is called.
func (a *app) startProgress(w *window) (stop func()) {
	if !a.stderrTerminal {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		live := newLiveLine(a)
		defer live.Done()
		var last, lastBytes int64
		for clock.Sleep(ctx, a.clock, progressEvery) == nil {
			n, size := w.acked.Load(), w.ackedBytes.Load()
			perSecond := int64(time.Second / progressEvery)
			live.Show(fmt.Sprintf("%s acknowledged, %s/s, %s/s, %s in flight", grouped(n), grouped((n-last)*perSecond),
				humanBytes((size-lastBytes)*perSecond), grouped(w.records.Load())))
			last, lastBytes = n, size
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
