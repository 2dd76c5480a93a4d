package node

import (
	"slices"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/filter"
	"github.com/leatbus/leat/mmaplog"
	"github.com/leatbus/leat/transport/wire"
)

const (
	sendBytes = 64 << 10  // from which what was gathered is written
	sendKept  = 256 << 10 // the largest buffer that is kept
)

// sender has the cursors of a subscription stream and writes what they find. It belongs to one goroutine;
// what the client wants otherwise comes to it as changes.
type sender struct {
	stream  *subscriptionStream
	cursors []*sendCursor
	at      map[int32]int // of cursors, by partition
	turn    int
	thinner thinner
	sent    uint64 // bytes of BATCH frames, which credit bounds
	out     []byte // frames gathered, not yet written
	picked  []byte // a run without what is left out, as long as it is gathered

	messages, bytes int64 // of out, for the counters
}

// sendCursor is a place in one partition.
type sendCursor struct {
	part   *partition
	reader *mmaplog.Reader
	filter *filter.Matcher // nil for none
	looked int64           // limit up to which there is nothing to read
}

// send runs until the stream is stopped or fails.
func (s *subscriptionStream) send() error {
	for {
		if s.changed.Load() {
			s.sender.apply(s.takeChanges())
		}
		if s.stopped.Load() {
			return nil
		}
		if s.topic.deleted.Load() {
			return core.NewError(core.CodeTopicNotFound, s.topic.op("read"), nil)
		}
		s.sender.round()
		if len(s.sender.out) == 0 {
			s.sleep()
			continue
		}
		if err := s.sender.flush(); err != nil {
			return err
		}
	}
}

// sleep returns when there may be something to send. While a client grants nothing, news of the log do not
// wake its sender: it costs nobody anything.
func (s *subscriptionStream) sleep() {
	if s.sender.sent < s.credit.Load() {
		s.sleeper.parked.Store(true)
	} else {
		s.stats.stalls.Add(1)
	}
	if !s.sender.ready() {
		<-s.sleeper.wake
	}
	s.sleeper.parked.Store(false)
}

// ready reports whether looking again makes sense. Marks move before sleepers are woken, and are looked
// at after this one says that it is parked, so that one of the two sees the other.
func (s *sender) ready() bool {
	if s.stream.changed.Load() || s.stream.topic.deleted.Load() {
		return true
	}
	if s.sent >= s.stream.credit.Load() {
		return false
	}
	return slices.ContainsFunc(s.cursors, func(c *sendCursor) bool {
		limit := c.part.visible(s.stream.readAt)
		return limit > c.reader.Offset() && limit > c.looked
	})
}

// round gathers one run of each partition, until there is enough for one write or the credit is used up.
func (s *sender) round() {
	for range len(s.cursors) {
		if s.sent >= s.stream.credit.Load() || len(s.out) >= sendBytes || len(s.cursors) == 0 {
			return
		}
		s.turn = (s.turn + 1) % len(s.cursors)
		c := s.cursors[s.turn]
		limit := c.part.visible(s.stream.readAt)
		if limit <= c.reader.Offset() || limit <= c.looked {
			continue
		}
		from := c.reader.Offset()
		run, err := c.reader.Next(limit)
		switch {
		case err != nil:
			s.fail(c.part.number, s.cause(err))
			s.drop(c)
		case len(run) == 0:
			c.looked = limit
		default:
			s.gather(c.part.number, from, s.pick(c, run, from))
			s.messages += c.reader.Offset() - from - s.thinner.takeGone()
		}
	}
}

// cause tells that a log which is gone was deleted with its topic.
func (s *sender) cause(err error) error {
	if s.stream.topic.deleted.Load() {
		return core.NewError(core.CodeTopicNotFound, s.stream.topic.op("read"), nil)
	}
	return err
}

func (s *sender) gather(partition int32, from int64, run []byte) {
	h := wire.Header{Length: uint32(len(run)), Type: wire.Batch, Aux: uint16(partition), Arg: uint64(from)}
	s.out = append(h.Append(s.out), run...)
	s.sent += uint64(h.Size())
	s.bytes += int64(len(run))
}

func (s *sender) flush() error {
	s.stream.reader.delivered.Add(s.messages) // before the client can ack them
	s.stream.reader.deliveredBytes.Add(s.bytes)
	_, err := s.stream.stream.Write(s.out)
	s.messages, s.bytes = 0, 0
	s.out = s.out[:0]
	if cap(s.out) > sendKept {
		s.out = nil
	}
	return err
}

// apply takes over what the client changed.
func (s *sender) apply(changes map[int32]int64) {
	for number, offset := range changes {
		if at, reads := s.at[number]; reads {
			s.drop(s.cursors[at])
		}
		if offset == removed {
			continue
		}
		p, offset, err := s.stream.topic.locate(&wire.SubscribePartition{
			Partition: number, Kind: uint8(core.PositionOffset), Value: offset})
		if err != nil {
			s.fail(number, err)
			continue
		}
		s.add(p, offset)
	}
}

// add starts a partition.
func (s *sender) add(p *partition, offset int64) {
	if s.at == nil {
		s.at = make(map[int32]int)
	}
	s.at[p.number] = len(s.cursors)
	s.cursors = append(s.cursors, &sendCursor{part: p, reader: p.log.Reader(offset),
		filter: matcherFor(s.stream.filter, p), looked: -1})
	p.readers.add(s.stream.sleeper)
}

// fail tells the client that a partition is left out, and why.
func (s *sender) fail(partition int32, err error) {
	h := wire.Header{Type: wire.PartitionFailed, Aux: uint16(partition)}
	s.out = errorFrame(s.out, h, err, true)
}

func (s *sender) drop(c *sendCursor) {
	c.part.readers.remove(s.stream.sleeper)
	_ = c.reader.Close() // gives back a file handle; nothing was written through it
	at, last := s.at[c.part.number], len(s.cursors)-1
	s.cursors[at] = s.cursors[last]
	s.at[s.cursors[at].part.number] = at
	delete(s.at, c.part.number)
	s.cursors[last] = nil
	s.cursors = s.cursors[:last]
}

// close drops all cursors.
func (s *sender) close() {
	for len(s.cursors) > 0 {
		s.drop(s.cursors[len(s.cursors)-1])
	}
}
