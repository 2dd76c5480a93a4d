package httpdoor

import (
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/leatbus/leat/core"
)

const (
	unreservedBytes = 64 << 10 // a body up to here counts for nothing in PendingBytes
	inflateFree     = 1 << 20  // bytes that a body may always be inflated to
	inflateMost     = 64       // beyond that, times its length
	pooledBytes     = 1 << 20  // larger buffers are not kept
)

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// body is the whole of a request's body in memory. release gives the memory back.
type body struct {
	bytes    []byte
	door     *Door
	buffer   *[]byte
	reserved int64
}

// readBody reads a body, at most Limits.BodyBytes also after decompression.
func (d *Door) readBody(r *http.Request) (*body, error) {
	limit := d.limits.BodyBytes
	size := r.ContentLength
	if size > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	from, err := decoded(r.Header, r.Body)
	if err != nil {
		return nil, err
	}
	if size < 0 || from != io.Reader(r.Body) {
		size = limit
	}
	b := &body{door: d}
	if err := b.reserve(size); err != nil {
		return nil, err
	}
	b.buffer = buffers.Get().(*[]byte)
	if err := b.read(from, limit, r.ContentLength); err != nil {
		b.release()
		return nil, err
	}
	return b, nil
}

// reserve takes room among the bodies in memory.
func (b *body) reserve(size int64) error {
	if size <= unreservedBytes {
		return nil
	}
	d := b.door
	if d.pending.Add(size) > d.limits.PendingBytes {
		d.pending.Add(-size)
		return core.Errorf(core.CodeLimited, "read body", "bodies of more than %d bytes at once "+
			"(Limits.PendingBytes)", d.limits.PendingBytes)
	}
	b.reserved = size
	return nil
}

// read fills the buffer. known is the length that the client has announced, or -1.
func (b *body) read(from io.Reader, limit, known int64) error {
	buf := (*b.buffer)[:0]
	for {
		if len(buf) == cap(buf) {
			// One more than is announced, so that the end is seen without growing again.
			buf = append(make([]byte, 0, max(int(known)+1, 2*cap(buf), 512)), buf...)
		}
		n, err := from.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > limit {
			return &http.MaxBytesError{Limit: limit}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return readFailed(err)
		}
	}
	*b.buffer, b.bytes = buf, buf
	return nil
}

func (b *body) release() {
	b.door.pending.Add(-b.reserved)
	b.reserved = 0
	if b.buffer != nil && cap(*b.buffer) <= pooledBytes {
		buffers.Put(b.buffer)
	}
	b.buffer, b.bytes = nil, nil
}

// readFailed says why a body could not be read, as far as it is the client's doing.
func readFailed(err error) error {
	var ours *core.Error
	switch {
	case errors.As(err, &ours):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuse(http.StatusRequestTimeout, "read body", "the client was too slow")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return refuse(http.StatusBadRequest, "read body", "it ended too early")
	}
	return refuse(http.StatusBadRequest, "read body", "%v", err)
}

// decoded undoes Content-Encoding.
func decoded(header http.Header, from io.Reader) (io.Reader, error) {
	switch encoding := strings.ToLower(header.Get("Content-Encoding")); encoding {
	case "", "identity":
		return from, nil
	case "gzip":
		return &inflater{in: &counted{from: from}}, nil
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, "read body", "Content-Encoding %s: want gzip or none",
			core.Quote(encoding))
	}
}

// counted counts what is read.
type counted struct {
	from io.Reader
	n    int64
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	return n, err
}

// inflater is what gzip makes of a body. It ends where it becomes many times larger than what came in.
type inflater struct {
	in  *counted
	out int64
	gz  *gzip.Reader
}

// Read implements io.Reader.
func (z *inflater) Read(p []byte) (int, error) {
	if z.gz == nil {
		gz, err := gzip.NewReader(z.in)
		if err != nil {
			return 0, notGzip(err)
		}
		z.gz = gz
	}
	n, err := z.gz.Read(p)
	z.out += int64(n)
	if z.out > inflateFree && z.out > inflateMost*z.in.n {
		return n, core.Errorf(core.CodeRecordTooLarge, "inflate body",
			"%d bytes became %d: at most %d times as many",
			z.in.n, z.out, inflateMost)
	}
	if err != nil && err != io.EOF {
		err = notGzip(err)
	}
	return n, err
}

func notGzip(err error) error {
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, io.EOF) {
		return refuse(http.StatusBadRequest, "inflate body", "it is not gzip")
	}
	return readFailed(err)
}

// patient reads the body of a stream: each read may wait for idle, however long all of them take.
type patient struct {
	door *Door
	body io.Reader
	ctl  *http.ResponseController
	idle time.Duration
}

// Read implements io.Reader.
func (p *patient) Read(b []byte) (int, error) {
	if p.door.ctx.Err() != nil {
		return 0, core.NewError(core.CodeDraining, "read body", nil)
	}
	_ = p.ctl.SetReadDeadline(p.door.in(p.idle)) // a connection without deadlines waits for ever
	// The door may have closed in between, and put the deadline that ends this read into the past before.
	if p.door.ctx.Err() != nil {
		return 0, core.NewError(core.CodeDraining, "read body", nil)
	}
	n, err := p.body.Read(b)
	if err != nil && p.door.ctx.Err() != nil {
		err = core.NewError(core.CodeDraining, "read body", nil)
	}
	return n, err
}

// in is the time that is d from now.
func (d *Door) in(after time.Duration) time.Time { return time.Unix(0, d.clock.Now()).Add(after) }

// mediaType is the type of the body, in lower case and without parameters; empty if there is none.
func mediaType(header http.Header) string {
	given := header.Get("Content-Type")
	parsed, _, err := mime.ParseMediaType(given)
	if err != nil {
		return strings.ToLower(given)
	}
	return parsed
}
