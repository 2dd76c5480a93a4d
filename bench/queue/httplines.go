package queue

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/leatbus/leat/internal/benchkit"
)

// lineLook is the number of messages between two looks at the clock.
const lineLook = 64

// postLines posts one stream of lines and reads an answer for each.
func (s *suite) postLines(ctx context.Context, to *target) (sample benchkit.Sample, err error) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	body, lines := io.Pipe()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to.url, body)
	if err != nil {
		return sample, err
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	sent, written := int64(0), make(chan struct{})
	start := time.Now()
	go func() {
		defer close(written)
		var err error
		sent, err = writeLines(lines, start.Add(s.length))
		_ = lines.CloseWithError(err) // returns nil always
	}()
	answered := int64(0)
	answer, err := transport.RoundTrip(request)
	if err == nil {
		answered, err = countAnswers(answer)
	}
	took := time.Since(start)
	_ = body.CloseWithError(err) // whoever still writes ends
	<-written
	sample.Ops, sample.Rate = answered, float64(answered)/took.Seconds()
	sample.Lost = max(0, sent-answered)
	return sample, err
}

// writeLines writes messages until end and gives their number.
func writeLines(w io.Writer, end time.Time) (n int64, err error) {
	text := newMessage(httpSize)
	copy(text, "messages") // it is text all through
	out := bufio.NewWriterSize(w, 64<<10)
	line := append(append([]byte(`{"value":"`), text...), "\"}\n"...)
	for {
		for range lineLook {
			if _, err := out.Write(line); err != nil {
				return n, err
			}
			n++
		}
		if time.Now().After(end) {
			return n, out.Flush()
		}
	}
}

// countAnswers reads the answers to all lines, and gives their number.
func countAnswers(answer *http.Response) (n int64, err error) {
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, saidKept)) // the status says enough
		return 0, fmt.Errorf("POST of lines: %s %q", answer.Status, text)
	}
	lines := bufio.NewReaderSize(answer.Body, 64<<10)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if !bytes.Contains(line, []byte(`"offset"`)) {
			return n, fmt.Errorf("the answer to line %d is %q", n+1, line)
		}
		n++
	}
}

// publishQUIC publishes over QUIC for as long.
func (s *suite) publishQUIC(ctx context.Context, to *target) (sample benchkit.Sample, err error) {
	bus, closeBus, err := to.leat.dial(ctx)
	if err != nil {
		return sample, err
	}
	defer func() { err = errors.Join(err, closeBus()) }()
	producer, err := bus.Producer(httpTopic)
	if err != nil {
		return sample, err
	}
	p := &leatPublisher{producer: producer}
	p.done = p.answered
	value := newMessage(httpSize)
	start := time.Now()
	for end := start.Add(s.length); sample.Ops == 0 || time.Now().Before(end); {
		for range lineLook {
			if err := p.publish(ctx, nil, value); err != nil {
				return sample, err
			}
			sample.Ops++
		}
	}
	err = p.flush(ctx)
	sample.Rate = float64(sample.Ops) / time.Since(start).Seconds()
	return sample, errors.Join(err, producer.Close())
}
