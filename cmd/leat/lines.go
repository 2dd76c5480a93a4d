package main

import (
	"bufio"
	"context"
	"errors"
	"io"
)

// chunkBytes is how much of the input is read at once.
const chunkBytes = 64 << 10

// input reads ahead on a goroutine of its own, because a read from a terminal or pipe cannot be
// interrupted: Read ends with ctx all the same. The goroutine ends with the input, or with the process.
type input struct {
	ctx     context.Context
	chunks  chan chunk
	free    chan []byte // two buffers go round
	current chunk
	rest    []byte // of current
}

type chunk struct {
	data []byte
	err  error
}

func newInput(ctx context.Context, r io.Reader) *input {
	in := &input{ctx: ctx, chunks: make(chan chunk), free: make(chan []byte, 2)}
	in.free <- make([]byte, chunkBytes)
	in.free <- make([]byte, chunkBytes)
	go in.run(r)
	return in
}

func (in *input) run(r io.Reader) {
	for {
		var buf []byte
		select {
		case buf = <-in.free:
		case <-in.ctx.Done():
			return
		}
		n, err := r.Read(buf)
		select {
		case in.chunks <- chunk{data: buf[:n], err: err}:
		case <-in.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// Read implements io.Reader; it is called by one goroutine.
func (in *input) Read(p []byte) (int, error) {
	for len(in.rest) == 0 {
		if in.current.err != nil {
			return 0, in.current.err
		}
		if in.current.data != nil {
			in.free <- in.current.data[:chunkBytes]
			in.current.data = nil
		}
		select {
		case in.current = <-in.chunks:
		case <-in.ctx.Done():
			return 0, in.ctx.Err()
		}
		in.rest = in.current.data
	}
	n := copy(p, in.rest)
	in.rest = in.rest[n:]
	return n, nil
}

// errLineTooLong says that a line is longer than the largest record.
var errLineTooLong = errors.New("line too long")

// lines cuts input into lines of at most max bytes.
type lines struct {
	r      *bufio.Reader
	max    int
	number int64 // of the line that next gave, from 1
	long   []byte
}

func newLines(r io.Reader, max int) *lines {
	return &lines{r: bufio.NewReaderSize(r, chunkBytes), max: max}
}

// next gives the next line without its newline, valid until the next call, or io.EOF. A last line needs
// no newline.
func (l *lines) next() ([]byte, error) {
	l.long = l.long[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		switch {
		case err == nil:
			part = part[:len(part)-1]
		case errors.Is(err, io.EOF) && len(part)+len(l.long) > 0, errors.Is(err, bufio.ErrBufferFull):
		default:
			return nil, err
		}
		if len(l.long)+len(part) > l.max {
			l.number++
			return nil, errLineTooLong
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			l.number++
			if len(l.long) == 0 {
				return part, nil
			}
			l.long = append(l.long, part...)
			return l.long, nil
		}
		l.long = append(l.long, part...)
	}
}
