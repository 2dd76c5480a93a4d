package killtest

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

const (
	topicName  = "kills"
	topicID    = 16 // the first topic of a folder
	partitions = 4
)

// childSpec tells a child what to do.
type childSpec struct {
	Data    string // the folder of the bus
	Acks    string // its ack journal
	Started string // its startedFile
	Level   string // page or disk
	Session uint64 // of the folder, from 1: part of every producer id
	Seed    uint64
	// EarlyAcks makes it acknowledge records before it publishes them: what the checker must find.
	EarlyAcks bool
}

// A child publishes with waiting publishers, each of which has one record in flight, and with
// asynchronous ones, which have as many as the bus allows.
var publishers = map[string]struct{ waiting, async int }{
	"page": {waiting: 6, async: 3},
	"disk": {waiting: 64, async: 2},
}

func topicConfig(level string) leat.TopicConfig {
	config := leat.TopicConfig{Partitions: partitions, Ack: leat.AckPage, SegmentBytes: 256 << 10}
	if level == "disk" {
		config.Ack = leat.AckDisk
	}
	return config
}

// producerID names a publisher of a session. No other session of the folder uses it.
func producerID(session uint64, publisher int) uint64 { return session<<16 | uint64(publisher) }

// child is the process that is killed.
type child struct {
	spec     childSpec
	bus      *leat.Bus
	producer *leat.Producer // routes by key; shared by the waiting publishers
	acks     *ackJournal
	started  *startedFile
	failed   chan error
}

// runChild publishes until the process is killed. It returns only with an error.
func runChild(spec childSpec) error {
	c := &child{spec: spec, failed: make(chan error)}
	var err error
	if c.acks, err = openAckJournal(spec.Acks); err != nil {
		return err
	}
	if c.started, err = openStarted(spec.Started); err != nil {
		return err
	}
	c.bus, err = node.Open(context.Background(), spec.Data, node.WithTopic(topicName, topicConfig(spec.Level)))
	if err != nil {
		return err
	}
	if c.producer, err = c.bus.Producer(topicName); err != nil {
		return err
	}
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		c.failed <- errors.Join(errors.New("the parent is gone"), err)
	}()
	if spec.EarlyAcks {
		go func() { c.failed <- c.publishEarly() }()
		return <-c.failed
	}
	n := publishers[spec.Level]
	for i := range n.waiting {
		go func() { c.failed <- c.publishWaiting(i) }()
	}
	for i := range n.async {
		go func() { c.failed <- c.publishAsync(n.waiting + i) }()
	}
	return <-c.failed
}

// source makes the messages of one publisher, in the order of their sequences.
type source struct {
	child     *child
	publisher int
	id        uint64
	next      uint64 // sequence
	random    *rand.Rand
	value     []byte
	key       [8]byte
}

func (c *child) source(publisher int) *source {
	return &source{child: c, publisher: publisher, id: producerID(c.spec.Session, publisher),
		random: rand.New(rand.NewPCG(c.spec.Seed, uint64(publisher)))}
}

// begin makes the next message, and notes that it is about to be published. What it points to is
// valid until the next call.
func (s *source) begin() (leat.Message, ack, error) {
	a := ack{producer: s.id, sequence: s.next}
	s.next++
	binary.LittleEndian.PutUint64(s.key[:], s.random.Uint64N(1000))
	s.value = putPayload(s.value[:0], s.id, a.sequence, payloadSize(s.random))
	a.hash = recordHash(s.key[:], s.value)
	return leat.Message{Key: s.key[:], Value: s.value}, a, s.child.started.set(s.publisher, s.next)
}

// publishWaiting publishes one record after the other.
func (c *child) publishWaiting(publisher int) error {
	s := c.source(publisher)
	for {
		m, a, err := s.begin()
		if err != nil {
			return err
		}
		r, err := c.producer.Publish(context.Background(), m)
		if err != nil {
			return err
		}
		a.partition, a.offset = r.Partition, r.Offset
		if err := c.acks.write(a); err != nil {
			return err
		}
	}
}

// publishAsync publishes without waiting, round robin over the partitions.
func (c *child) publishAsync(publisher int) error {
	producer, err := c.bus.Producer(topicName, leat.WithPartitioner(leat.Manual))
	if err != nil {
		return err
	}
	for s := c.source(publisher); ; {
		m, a, err := s.begin()
		if err != nil {
			return err
		}
		m.Partition = int32(s.next % partitions)
		producer.PublishAsync(m, func(r leat.Receipt, err error) {
			a.partition, a.offset = r.Partition, r.Offset
			if err == nil {
				err = c.acks.write(a)
			}
			if err != nil {
				c.failed <- err
			}
		})
	}
}

// publishEarly is a bus that lies: it acknowledges runs of records at the offsets they are going to
// have, and publishes them then.
func (c *child) publishEarly() error {
	producer, err := c.bus.Producer(topicName, leat.WithPartitioner(leat.Manual))
	if err != nil {
		return err
	}
	const run = 32
	s := c.source(0)
	for {
		var messages [run]leat.Message
		var acks [run]ack
		for i := range run {
			m, a, err := s.begin()
			if err != nil {
				return err
			}
			a.offset = int64(a.sequence)
			messages[i], acks[i] = *m.Clone(), a
		}
		if err := c.acks.write(acks[:]...); err != nil {
			return err
		}
		for _, m := range messages {
			if _, err := producer.Publish(context.Background(), m); err != nil {
				return err
			}
		}
	}
}
