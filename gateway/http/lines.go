package httpdoor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/messagedoc"
)

const (
	lineBytes   = 2 << 20          // one line of NDJSON
	linesAhead  = 2048             // lines that are read before the first of them is answered; a power of two
	chunkBytes  = 32 << 10         // of answers, in one write
	lineIdle    = 2 * time.Minute  // for the next bytes of a stream
	writeWait   = 30 * time.Second // for a client to take what is written
	errorsShown = 100              // of a summary
)

// LineResult answers one line of an NDJSON body: where the message is, or why it was not published.
type LineResult struct {
	Line      int64    `json:"line" doc:"Number of the line, from 1; empty lines count"`
	Partition *int32   `json:"partition,omitempty"`
	Offset    *int64   `json:"offset,omitempty"`
	Duplicate bool     `json:"duplicate,omitempty"`
	Handle    string   `json:"handle,omitempty" doc:"Names a delayed message"`
	Error     *Problem `json:"error,omitempty"`
}

// Summary answers an NDJSON body as a whole.
type Summary struct {
	Published int64        `json:"published" doc:"Messages that were acknowledged"`
	Failed    int64        `json:"failed" doc:"Lines that were not published"`
	Errors    []LineResult `json:"errors,omitempty" doc:"The first 100 of them"`
}

// lines is one NDJSON stream. Its reader publishes line after line; its handler writes the answers, in the
// order of the lines, as they come.
//
//	body ──▶ reader ──slots[next]──▶ producer ──answer──▶ slots[…] ──in order──▶ handler ──▶ client
//
// A reader that is linesAhead lines ahead of the handler waits, and with it the client.
type lines struct {
	door     *Door
	key      producerKey
	ctx      context.Context // ends when the client goes, or the door closes
	body     *bufio.Reader
	producer [2]*leat.Producer // by key; by partition, opened when it is needed
	spread   spread

	slots []slot
	next  atomic.Int64  // slots that the reader has used; it alone adds
	told  atomic.Int64  // slots that the handler is done with; it alone adds
	ended atomic.Bool   // the reader uses no more
	wake  chan struct{} // capacity 1: a slot was answered, or the reader has ended
	room  chan struct{} // capacity 1: told has grown
}

// slot is one line under way. It belongs to the reader until it is handed to the producer, then to its
// answer, and when that is there to the handler.
type slot struct {
	lines    *lines
	number   int64 // of the line
	receipt  leat.Receipt
	err      error
	answered atomic.Bool
	done     func(leat.Receipt, error) // answer, made once
}

func (s *slot) answer(receipt leat.Receipt, err error) {
	s.receipt, s.err = receipt, err
	s.answered.Store(true)
	nudge(s.lines.wake)
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// publishLines publishes a body of NDJSON.
func (d *Door) publishLines(w http.ResponseWriter, r *http.Request, key producerKey, receipts string) error {
	if receipts != "" && receipts != "all" && receipts != "summary" {
		return refuse(http.StatusBadRequest, "publish", "receipts %s: want all or summary", core.Quote(receipts))
	}
	leave, err := d.enter()
	if err != nil {
		return err
	}
	defer leave()
	ctl := http.NewResponseController(w)
	from, err := decoded(r.Header, &patient{door: d, body: r.Body, ctl: ctl, idle: lineIdle})
	if err != nil {
		return err
	}
	ctx, cancel := d.streamContext(r)
	defer cancel()
	l := &lines{door: d, key: key, ctx: ctx, body: bufio.NewReaderSize(from, 64<<10),
		slots: make([]slot, linesAhead), wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	if _, err := l.producerFor(false); err != nil {
		return err
	}
	defer l.close()
	_ = ctl.EnableFullDuplex() // HTTP/2 always is
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		l.read()
	}()
	defer l.interrupt(ctl, cancel, reading)
	stop := context.AfterFunc(d.ctx, func() { _ = ctl.SetReadDeadline(past) })
	defer stop()
	if receipts == "summary" {
		return l.summarize(w, ctl)
	}
	return l.tell(w, ctl)
}

// interrupt ends the reader. A read that waits ends by its deadline; behind the end of the body there is
// none, and net/http would take the deadline for the end of the connection.
func (l *lines) interrupt(ctl *http.ResponseController, cancel func(), reading <-chan struct{}) {
	cancel()
	select {
	case <-reading:
	default:
		_ = ctl.SetReadDeadline(past) // a connection without deadlines is the client's to end
		<-reading
	}
}

var past = time.Unix(1, 0)

// producerFor gives the producer for messages with or without a partition of their own.
func (l *lines) producerFor(manual bool) (*leat.Producer, error) {
	i := 0
	key := l.key
	if manual {
		i, key.manual = 1, true
	}
	if l.producer[i] == nil {
		var err error
		if l.producer[i], err = l.door.producers.openProducer(key); err != nil {
			return nil, err
		}
	}
	return l.producer[i], nil
}

// close waits for the answers that nobody needs any more.
func (l *lines) close() {
	for _, p := range l.producer {
		if p != nil {
			_ = p.Close() // its failures were answers
		}
	}
}

// read is the reader.
func (l *lines) read() {
	defer func() {
		l.ended.Store(true)
		nudge(l.wake)
	}()
	var long []byte
	for number := int64(1); ; number++ {
		text, err := l.readLine(&long)
		if len(trimmed(text)) > 0 && (err == nil || err == io.EOF) {
			if !l.publish(number, text) {
				return
			}
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			if s := l.claim(number); s != nil {
				s.answer(leat.Receipt{}, err)
			}
			return
		}
	}
}

// readLine gives the next line, valid until the next call. long holds lines that the buffer does not.
func (l *lines) readLine(long *[]byte) ([]byte, error) {
	text, err := l.body.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return text, lineFailed(err)
	}
	*long = append((*long)[:0], text...)
	for errors.Is(err, bufio.ErrBufferFull) {
		text, err = l.body.ReadSlice('\n')
		if *long = append(*long, text...); len(*long) > lineBytes {
			return nil, core.Errorf(core.CodeRecordTooLarge, "read line", "more than %d bytes; it ends here",
				lineBytes)
		}
	}
	return *long, lineFailed(err)
}

func lineFailed(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return readFailed(err)
}

func trimmed(text []byte) []byte {
	for len(text) > 0 && isSpace(text[len(text)-1]) {
		text = text[:len(text)-1]
	}
	return text
}

// publish hands a line to a producer, and reports whether to go on. It waits for room.
func (l *lines) publish(number int64, text []byte) bool {
	s := l.claim(number)
	if s == nil {
		return false
	}
	parsed, err := parseLine(text)
	if err != nil {
		s.answer(leat.Receipt{}, err)
		return true
	}
	if goesByID(&parsed.message, parsed.partition) {
		parsed.partition = true
		parsed.message.Partition, err = l.spread.partition(l.ctx, l.door.bus, l.key.topic, parsed.message.ID)
	}
	var p *leat.Producer
	if err == nil {
		p, err = l.producerFor(parsed.partition)
	}
	if err != nil {
		s.answer(leat.Receipt{}, err)
		return true
	}
	p.PublishAsync(parsed.message, s.done)
	return true
}

// claim takes the next slot; nil when the stream ends instead.
func (l *lines) claim(number int64) *slot {
	at := l.next.Load()
	for at-l.told.Load() == linesAhead {
		select {
		case <-l.room:
		case <-l.ctx.Done():
			return nil
		}
	}
	s := &l.slots[at%linesAhead]
	if s.lines == nil {
		s.lines, s.done = l, s.answer
	}
	s.number = number
	s.answered.Store(false)
	l.next.Store(at + 1)
	return s
}

// each calls f for every slot that is answered, in order, until there is none, and reports whether more may
// come.
func (l *lines) each(f func(*slot)) (more bool) {
	ended := l.ended.Load() // before next, which does not grow afterwards
	next := l.next.Load()
	at := l.told.Load()
	for at < next && l.slots[at%linesAhead].answered.Load() {
		f(&l.slots[at%linesAhead])
		at++
		l.told.Store(at)
	}
	nudge(l.room)
	return !ended || at < next
}

// tell writes a line for each line.
func (l *lines) tell(w http.ResponseWriter, ctl *http.ResponseController) error {
	w.Header()["Content-Type"] = []string{ndjson}
	var buf []byte
	for {
		failed := error(nil)
		write := func() {
			_ = ctl.SetWriteDeadline(l.door.in(writeWait)) // a connection without deadlines waits for ever
			if _, err := w.Write(buf); err != nil {
				failed = err
			}
			buf = buf[:0]
		}
		more := l.each(func(s *slot) {
			if buf = appendResult(buf, s); len(buf) >= chunkBytes && failed == nil {
				write()
			}
		})
		if len(buf) > 0 && failed == nil {
			write()
		}
		if failed == nil {
			failed = ctl.Flush()
		}
		if failed != nil || !more {
			return nil // who does not read has gone
		}
		if !l.await() {
			return nil
		}
	}
}

// await waits until there may be something to tell; false if nobody is there to be told.
func (l *lines) await() bool {
	select {
	case <-l.wake:
		return true
	case <-l.ctx.Done():
	}
	// A door that closes has published what was read: that is told.
	if l.door.ctx.Err() == nil {
		return false
	}
	<-l.wake
	return true
}

func appendResult(dst []byte, s *slot) []byte {
	dst = append(dst, `{"line":`...)
	dst = strconv.AppendInt(dst, s.number, 10)
	if s.err != nil {
		problem, err := json.Marshal(problemOf(s.err))
		if err != nil {
			panic("httpdoor: a problem that JSON cannot spell") // texts and a number
		}
		dst = append(dst, `,"error":`...)
		dst = append(dst, problem...)
		return append(dst, "}\n"...)
	}
	dst = append(dst, `,"partition":`...)
	dst = strconv.AppendInt(dst, int64(s.receipt.Partition), 10)
	dst = append(dst, `,"offset":`...)
	dst = strconv.AppendInt(dst, s.receipt.Offset, 10)
	if s.receipt.Duplicate {
		dst = append(dst, `,"duplicate":true`...)
	}
	if s.receipt.Handle != "" {
		dst = messagedoc.AppendText(append(dst, `,"handle":`...), s.receipt.Handle)
	}
	return append(dst, "}\n"...)
}

// summarize writes one document when all is done. Its status is that of the first failure.
func (l *lines) summarize(w http.ResponseWriter, ctl *http.ResponseController) error {
	summary := Summary{}
	for l.each(func(s *slot) { summary.add(s) }) {
		if !l.await() {
			return nil
		}
	}
	status := http.StatusOK
	if len(summary.Errors) > 0 {
		status = summary.Errors[0].Error.Status
	}
	_ = ctl.SetWriteDeadline(l.door.in(writeWait)) // a connection without deadlines waits for ever
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(&summary) // who does not read it has gone
	return nil
}

func (s *Summary) add(slot *slot) {
	if slot.err == nil {
		s.Published++
		return
	}
	s.Failed++
	if len(s.Errors) < errorsShown {
		s.Errors = append(s.Errors, LineResult{Line: slot.number, Error: problemOf(slot.err)})
	}
}
