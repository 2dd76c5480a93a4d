package scale

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/benchkit"
)

const (
	backlogTopic      = "backlog"
	backlogPartitions = 4
	valueSize         = 64
	generatedAtOnce   = 1024 // messages of a batch
	recordBytes       = 92   // about what a message takes on the disk
	spareBytes        = 2 << 30
)

// stores are a bus with a backlog and one without.
type stores struct {
	full, empty *store
}

// store is a bus with one topic.
type store struct {
	dir  string
	bus  *leat.Bus
	old  [backlogPartitions]span // what was there before anything was measured
	size int64                   // messages of old
}

type span struct{ start, end int64 }

// open gives the stores, which are made when they are first wanted.
func (s *suite) open(ctx context.Context) (*stores, error) {
	if s.stores != nil {
		return s.stores, nil
	}
	root := s.root
	if root == "" {
		root = os.TempDir()
	}
	needed := s.backlog*recordBytes + spareBytes
	if free, ok := freeBytes(root); ok && free < needed {
		return nil, benchkit.Skipf("%d MiB free in %s, %d wanted for a backlog of %d messages: -backlog N or "+
			"-dir DIR", free>>20, root, needed>>20, s.backlog)
	}
	made := &stores{}
	var err error
	if made.empty, err = openStore(ctx, root, 0); err == nil {
		made.full, err = openStore(ctx, root, s.backlog)
	}
	if err != nil {
		return nil, errors.Join(err, made.close())
	}
	s.stores = made
	return made, nil
}

func (s *stores) close() (err error) {
	for _, one := range []*store{s.full, s.empty} {
		if one != nil {
			err = errors.Join(err, one.close())
		}
	}
	return err
}

// openStore opens a bus whose topic has n messages. What it gives is to be closed, also if it fails.
func openStore(ctx context.Context, root string, n int64) (*store, error) {
	s := &store{}
	var err error
	if s.bus, s.dir, err = openBus(ctx, root); err != nil {
		return s, err
	}
	cfg := leat.TopicConfig{Partitions: backlogPartitions, Ack: leat.AckPage}
	if err := s.bus.CreateTopic(ctx, backlogTopic, cfg); err != nil {
		return s, err
	}
	if err := s.fill(ctx, n); err != nil {
		return s, err
	}
	return s, s.look(ctx)
}

func (s *store) close() (err error) {
	if s.bus != nil {
		err = s.bus.Close()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// fill publishes n messages, the same number to each partition, and waits until they are on the disk.
func (s *store) fill(ctx context.Context, n int64) error {
	var tasks sync.WaitGroup
	errs := make([]error, backlogPartitions)
	for i := range errs {
		tasks.Go(func() { errs[i] = s.fillPartition(ctx, int32(i), n/backlogPartitions) })
	}
	tasks.Wait()
	return errors.Join(errs...)
}

func (s *store) fillPartition(ctx context.Context, partition int32, n int64) error {
	producer, err := s.bus.Producer(backlogTopic, leat.WithPartitioner(leat.Manual))
	if err != nil {
		return err
	}
	batch := make([]leat.Message, generatedAtOnce)
	for i := range batch {
		batch[i] = leat.Message{Partition: partition, Value: newValue()}
	}
	for number := int64(0); number < n && err == nil; {
		part := batch[:min(int64(len(batch)), n-number)]
		for i := range part {
			setNumber(part[i].Value, number)
			number++
		}
		_, err = producer.PublishBatch(ctx, part)
	}
	if err := errors.Join(err, producer.Close()); err != nil {
		return fmt.Errorf("publish the backlog: %w", err)
	}
	last, err := s.bus.Producer(backlogTopic, leat.WithPartitioner(leat.Manual), leat.WithAck(leat.AckDisk))
	if err != nil {
		return err
	}
	_, err = last.Publish(ctx, leat.Message{Partition: partition, Value: newValue()})
	return errors.Join(err, last.Close())
}

// look notes what is there.
func (s *store) look(ctx context.Context) error {
	topics, err := s.bus.Topics(ctx)
	if err != nil {
		return err
	}
	for i := range topics {
		if topics[i].Name != backlogTopic {
			continue
		}
		for number := range s.old {
			p := &topics[i].Partitions[number]
			s.old[number] = span{p.Start, p.End}
			s.size += p.End - p.Start
		}
		return nil
	}
	return errors.New("the topic is gone")
}

func newValue() []byte {
	value := make([]byte, valueSize)
	for i := range value {
		value[i] = 'a' + byte(i%26)
	}
	return value
}

// setNumber writes a number into the first 8 bytes.
func setNumber(value []byte, number int64) { binary.LittleEndian.PutUint64(value, uint64(number)) }

// patience is how long nothing may happen until something counts as missing.
const patience = 30 * time.Second
