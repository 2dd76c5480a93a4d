package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/leatbus/leat/internal/benchkit"
)

const (
	natsPending = 4096 // publishes without an answer
	natsPull    = 2000 // messages that a worker asks for ahead
	natsAckWait = time.Minute
)

var jetStream = kind{name: "NATS JetStream", role: benchkit.Peer, level: "memory",
	note: fmt.Sprintf("work-queue stream in files, one replica; asynchronous publishes, %d without an answer; "+
		"a pull consumer, %d messages ahead for each worker, an ack for each message; plain TCP; what is "+
		"published goes to the page cache a little later", natsPending, natsPull),
	start: startNATS}

// startNATS starts a NATS server in a process of its own.
func startNATS(ctx context.Context, s *stage) (system, []*process, error) {
	dir, err := s.folder("nats")
	if err != nil {
		return nil, nil, err
	}
	p, address, err := s.startServer(ctx, natsVerb, dir)
	return &natsSystem{url: "nats://" + address}, []*process{p}, err
}

// natsSystem is a NATS server.
type natsSystem struct {
	url  string
	made bool // the stream is there
}

func (s *natsSystem) open(ctx context.Context, workers int) (_ *line, err error) {
	l := &line{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	p := &natsPublisher{subject: queueName}
	_, stream, err := l.connectNATS(s.url, jetstream.WithPublishAsyncMaxPending(natsPending),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *nats.Msg, err error) {
			p.failed.CompareAndSwap(nil, &err)
		}))
	if err != nil {
		return nil, err
	}
	p.stream, l.publisher = stream, p
	if !s.made {
		if err := makeStream(ctx, stream); err != nil {
			return nil, err
		}
		s.made = true
	}
	for range workers {
		connection, stream, err := l.connectNATS(s.url)
		if err != nil {
			return nil, err
		}
		consumer, err := stream.Consumer(ctx, queueName, group)
		if err != nil {
			return nil, err
		}
		l.workers = append(l.workers, &natsWorker{connection, consumer})
	}
	return l, nil
}

// makeStream makes the work queue and its consumer.
func makeStream(ctx context.Context, stream jetstream.JetStream) error {
	_, err := stream.CreateStream(ctx, jetstream.StreamConfig{Name: queueName, Subjects: []string{queueName},
		Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage, Replicas: 1})
	if err != nil {
		return err
	}
	_, err = stream.CreateConsumer(ctx, queueName, jetstream.ConsumerConfig{Durable: group,
		AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: -1, AckWait: natsAckWait})
	return err
}

func (l *line) connectNATS(
	url string, options ...jetstream.JetStreamOpt,
) (*nats.Conn, jetstream.JetStream, error) {
	connection, err := nats.Connect(url)
	if err != nil {
		return nil, nil, err
	}
	l.later(func() error { connection.Close(); return nil })
	stream, err := jetstream.New(connection, options...)
	return connection, stream, err
}

// natsPublisher publishes without waiting for each answer.
type natsPublisher struct {
	stream  jetstream.JetStream
	subject string
	failed  atomic.Pointer[error]
}

func (p *natsPublisher) publish(_ context.Context, _, value []byte) error {
	// The client keeps the message until it is answered, to send it again.
	_, err := p.stream.PublishAsync(p.subject, bytes.Clone(value), jetstream.WithStallWait(time.Minute))
	return err
}

func (p *natsPublisher) flush(ctx context.Context) error {
	select {
	case <-p.stream.PublishAsyncComplete():
	case <-ctx.Done():
		return ctx.Err()
	}
	if failed := p.failed.Load(); failed != nil {
		return *failed
	}
	return nil
}

// natsWorker is one of those that share the consumer.
type natsWorker struct {
	connection *nats.Conn
	consumer   jetstream.Consumer
}

func (w *natsWorker) work(ctx context.Context, h *hand) error {
	failed := make(chan error, 1)
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	consuming, err := w.consumer.Consume(func(m jetstream.Msg) {
		h.see(m.Data())
		if err := m.Ack(); err != nil {
			fail(err)
		}
	}, jetstream.PullMaxMessages(natsPull), jetstream.ConsumeErrHandler(
		func(_ jetstream.ConsumeContext, err error) { fail(err) }))
	if err != nil {
		return err
	}
	defer func() {
		consuming.Stop()
		<-consuming.Closed()
	}()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// settle waits for an answer of the server, which has read the acks before.
func (w *natsWorker) settle(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, patience) // the client wants a bound
	defer cancel()
	return w.connection.FlushWithContext(limited)
}
