package transport

import (
	"errors"
	"io"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// readBytes is the most that one Read of a stream gives, and the buffer of a Reader where that much comes
// at once. It begins with firstBytes, because most streams are idle.
const (
	readBytes  = 64 << 10
	firstBytes = 2 << 10
)

// firstChunk is how much of a large payload is allocated before any of it has arrived.
const firstChunk = 256 << 10

// Reader reads frames from a stream. It belongs to one goroutine.
type Reader struct {
	from  io.Reader
	limit uint32
	buf   []byte
	at    int    // buf[at:end] was read and not used
	end   int    //
	left  uint32 // of the payload of the last header
	full  bool   // the last Read filled the buffer, which may grow
}

// NewReader reads frames with payloads of at most limit bytes.
func NewReader(from io.Reader, limit uint32) *Reader { return &Reader{from: from, limit: limit} }

// SetLimit changes the limit from the next frame on.
func (r *Reader) SetLimit(limit uint32) { r.limit = limit }

// Buffered is how many bytes can be had without waiting.
func (r *Reader) Buffered() int { return r.end - r.at }

// Next reads the header of the next frame; what was not read of the payload before is skipped. It gives
// io.EOF where the stream ended between two frames, core.CodeProtocol where it ended within one or a payload
// is over the limit, and the stream's error otherwise.
func (r *Reader) Next() (wire.Header, error) {
	if err := r.skip(); err != nil {
		return wire.Header{}, err
	}
	for r.Buffered() < wire.HeaderSize {
		if err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) && r.Buffered() > 0 {
				err = wire.Errorf("the stream ended within a header")
			}
			return wire.Header{}, err
		}
	}
	h := wire.ParseHeader(r.buf[r.at:r.end])
	r.at += wire.HeaderSize
	if h.Length > r.limit {
		return h, wire.Errorf("%v of %d bytes, at most %d", h.Type, h.Length, r.limit)
	}
	r.left = h.Length
	return h, nil
}

// Payload reads the payload of the last header into memory of into, which it grows if needed, and returns
// it. Memory beyond the first chunk is allocated only as bytes arrive.
func (r *Reader) Payload(into []byte) ([]byte, error) {
	n := int(r.left)
	if cap(into) >= n {
		into = into[:n]
		return into, r.readFull(into)
	}
	into = make([]byte, 0, min(n, firstChunk))
	for len(into) < n {
		if len(into) == cap(into) {
			grown := make([]byte, len(into), min(2*cap(into), n))
			copy(grown, into)
			into = grown
		}
		have := len(into)
		into = into[:cap(into)]
		if err := r.readFull(into[have:]); err != nil {
			return nil, err
		}
	}
	return into, nil
}

// Small gives the payload of the last header as a view that is valid until the next call, or copies it if
// it is larger than the reader's buffer.
func (r *Reader) Small() ([]byte, error) {
	n := int(r.left)
	if n > readBytes {
		return r.Payload(nil)
	}
	if n > len(r.buf) {
		r.grow(n)
	}
	for r.Buffered() < n {
		if err := r.fill(); err != nil {
			return nil, within(err)
		}
	}
	view := r.buf[r.at : r.at+n : r.at+n]
	r.at += n
	r.left = 0
	return view, nil
}

// readFull fills dst, which is a part of the payload: first from the buffer, then past it.
func (r *Reader) readFull(dst []byte) error {
	r.left -= uint32(len(dst))
	n := copy(dst, r.buf[r.at:r.end])
	r.at += n
	for dst = dst[n:]; len(dst) > 0; dst = dst[n:] {
		if len(dst) < readBytes/4 { // what follows it comes with it
			if err := r.fill(); err != nil {
				return within(err)
			}
			n = copy(dst, r.buf[r.at:r.end])
			r.at += n
			continue
		}
		var err error
		if n, err = r.from.Read(dst); err != nil && n < len(dst) {
			return within(err)
		}
		if n == 0 {
			return io.ErrNoProgress
		}
	}
	return nil
}

// skip drops the rest of a payload.
func (r *Reader) skip() error {
	for r.left > 0 {
		if r.Buffered() == 0 {
			if err := r.fill(); err != nil {
				return within(err)
			}
		}
		n := min(r.Buffered(), int(r.left))
		r.at += n
		r.left -= uint32(n)
	}
	return nil
}

// fill reads once into the buffer, whose rest it moves to the front.
func (r *Reader) fill() error {
	switch {
	case r.buf == nil:
		r.buf = make([]byte, firstBytes)
	case r.full:
		r.grow(4 * len(r.buf))
	}
	if r.at > 0 {
		r.end = copy(r.buf, r.buf[r.at:r.end])
		r.at = 0
	}
	n, err := r.from.Read(r.buf[r.end:])
	r.end += n
	r.full = r.end == len(r.buf) && len(r.buf) < readBytes
	if n > 0 {
		return nil // an error comes again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// grow makes the buffer hold at least n bytes, as far as readBytes allows.
func (r *Reader) grow(n int) {
	size := firstBytes
	for size < min(n, readBytes) {
		size *= 2
	}
	buf := make([]byte, size)
	r.at, r.end = 0, copy(buf, r.buf[r.at:r.end])
	r.buf, r.full = buf, false
}

// within makes the end of the stream an error.
func within(err error) error {
	if errors.Is(err, io.EOF) {
		return core.Errorf(core.CodeProtocol, "read frame", "the stream ended within a payload")
	}
	return err
}
