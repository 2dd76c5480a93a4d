package node

import (
	"sync"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/internal/histogram"
	"github.com/leatbus/leat/transport/wire"
)

// ackBook knows what of one producer stream is in flight, and keeps answers until they are written. The
// stream's reader, its appender, shards (complete, under their locks) and whoever writes share it.
//
//	reader ──reserve──▶ slot ──journal──▶ settle ──▶ entries ──take──▶ ACKS frame
//
// Entries are written by the reader, if it is awake: it looks before it sleeps. Else whoever adds one
// wakes the stream's ack writer. Whoever writes looks again afterwards.
type ackBook struct {
	window uint64
	clock  clock.Clock          // nil: nothing is timed
	took   *histogram.Histogram // from reserve to settle

	mu       sync.Mutex // guards the following
	slots    []ackSlot  // by ticket; at most what the window holds
	free     []uint32
	reserved uint64   // tickets there ever were
	timed    uint32   // 1 + ticket of the frame that is timed; 0 if none is
	timedAt  int64    // when its ticket was reserved
	last     []uint32 // by partition: 1 + ticket of the last one committed, 0 if it is answered
	before   uint32   // last as it was before the newest commit, 0 once that is answered
	inFlight int
	answered uint64 // bytes of frames answered
	granted  uint64 // credit as last told
	entries  []byte // an ACKS frame without its header
	spare    []byte
	reading  bool          // the reader looks before it sleeps
	writing  bool          // somebody writes, and looks afterwards
	ended    bool          // nobody reads the answers
	settled  chan struct{} // closed when nothing is in flight; nil while nobody waits for it
	quiet    chan struct{} // the same, and everything was written
}

// ackSlot is one frame in flight.
type ackSlot struct {
	baseSeq   int32
	epoch     int16
	partition uint16
	records   uint16
	code      core.Code // of a refused frame that waits for the one before it
	node      uint16
	inFlight  bool
	size      uint32 // of the PRODUCE frame
	then      uint32 // 1 + ticket of a refused frame to be answered behind this one
}

func newAckBook(partitions int, window uint64) *ackBook {
	return &ackBook{window: window, granted: window, last: make([]uint32, partitions),
		entries: make([]byte, wire.HeaderSize)}
}

// reserve takes a ticket for a frame.
func (b *ackBook) reserve(slot ackSlot) uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	slot.inFlight = true
	b.inFlight++
	ticket := uint32(len(b.slots))
	if n := len(b.free); n > 0 {
		ticket = b.free[n-1]
		b.free = b.free[:n-1]
		b.slots[ticket] = slot
	} else {
		b.slots = append(b.slots, slot)
	}
	if b.reserved++; b.reserved%ackSample == 1 && b.timed == 0 && b.clock != nil {
		b.timed, b.timedAt = ticket+1, b.clock.Mono()
	}
	return ticket
}

// ackSample: of so many frames one is timed, so that a stream of small frames reads no clock for each.
const ackSample = 16

// commit makes a ticket the last of its partition before its frame is handed to the journal. Only uncommit
// or refuse of the same ticket may follow before the next commit: one goroutine at a time commits.
func (b *ackBook) commit(ticket uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := &b.last[b.slots[ticket].partition]
	b.before, *last = *last, ticket+1
}

// uncommit takes commit back where there was no room.
func (b *ackBook) uncommit(ticket uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last[b.slots[ticket].partition] = b.before
}

// refuse answers a committed ticket with an error, behind those of its partition that are in flight.
func (b *ackBook) refuse(ticket uint32, err error) (wake bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &b.slots[ticket]
	s.code, s.node = codeAndNode(err)
	last := &b.last[s.partition]
	if b.before != 0 {
		b.slots[b.before-1].then = ticket + 1
		*last = ticket + 1
		return false
	}
	*last = 0
	b.settleLocked(ticket, &wire.AckEntry{Code: s.code, Node: s.node, Offset: -1})
	return b.unseenLocked()
}

// codeAndNode is what an entry says of an error.
func codeAndNode(err error) (core.Code, uint16) {
	code, body := wire.ErrorOf(outward(err))
	return code, body.Node
}

// settle answers tickets with what the journal made of them, and reports whether to wake the ack writer.
func (b *ackBook) settle(run []outcome, counts *ackCounts) (wake bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range run {
		o := &run[i]
		entry := wire.AckEntry{Offset: o.offset, Time: o.time}
		switch {
		case o.err != nil:
			entry.Code, entry.Node = codeAndNode(o.err)
			entry.Offset, entry.Time = -1, 0
			counts.refused = append(counts.refused, entry.Code)
		case o.duplicate:
			entry.Flags = wire.AckDuplicate
			counts.duplicates += int64(o.records)
		default:
			counts.messages += int64(o.records)
			counts.bytes += int64(b.slots[o.ticket].size)
		}
		b.settleLocked(o.ticket, &entry)
	}
	return b.unseenLocked()
}

// settleLocked adds the entry of a ticket, and of the refused ones behind it, and frees their slots.
func (b *ackBook) settleLocked(ticket uint32, entry *wire.AckEntry) {
	for {
		s := &b.slots[ticket]
		entry.Partition, entry.Records, entry.BaseSeq, entry.Epoch = s.partition, s.records, s.baseSeq, s.epoch
		if !b.ended {
			b.entries = entry.Append(b.entries)
		}
		if b.timed == ticket+1 {
			b.took.Add(b.clock.Mono() - b.timedAt)
			b.timed = 0
		}
		b.answered += uint64(s.size)
		b.inFlight--
		s.inFlight = false
		if b.last[s.partition] == ticket+1 {
			b.last[s.partition] = 0
		}
		if b.before == ticket+1 {
			b.before = 0 // its ticket may be another frame's from here on
		}
		b.free = append(b.free, ticket)
		if s.then == 0 {
			break
		}
		ticket = s.then - 1
		next := &b.slots[ticket]
		*entry = wire.AckEntry{Code: next.code, Node: next.node, Offset: -1}
	}
	b.tellLocked()
}

// tellLocked wakes those that wait for the end of what is in flight.
func (b *ackBook) tellLocked() {
	if b.settled != nil && b.inFlight == 0 {
		close(b.settled)
		b.settled = nil
	}
	if b.quiet != nil && b.quietLocked() {
		close(b.quiet)
		b.quiet = nil
	}
}

func (b *ackBook) quietLocked() bool {
	return b.ended || b.inFlight == 0 && !b.writing && len(b.entries) == wire.HeaderSize
}

// refuseUnknown answers a frame that has no ticket, because its partition does not exist.
func (b *ackBook) refuseUnknown(entry *wire.AckEntry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended {
		b.entries = entry.Append(b.entries)
	}
}

// unseenLocked reports whether nobody is about to look at what was added.
func (b *ackBook) unseenLocked() bool {
	return !b.reading && !b.writing && b.somethingLocked()
}

func (b *ackBook) somethingLocked() bool {
	return !b.ended && (len(b.entries) > wire.HeaderSize || b.creditDueLocked())
}

// creditDueLocked reports whether half of the window can be granted again.
func (b *ackBook) creditDueLocked() bool { return b.answered+b.window-b.granted >= b.window/2 }

// pass counts a frame that gets no answer as answered.
func (b *ackBook) pass(size int) (wake bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered += uint64(size)
	return b.unseenLocked()
}

// awake notes that the reader will look; asleep that it will not.
func (b *ackBook) awake() {
	b.mu.Lock()
	b.reading = true
	b.mu.Unlock()
}

func (b *ackBook) asleep() {
	b.mu.Lock()
	b.reading = false
	b.mu.Unlock()
}

// take gives the frames to write, nil if there is nothing or somebody else writes. Who gets something
// calls wrote afterwards and takes again.
func (b *ackBook) take() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.writing || !b.somethingLocked() {
		return nil
	}
	b.writing = true
	frames := b.entries
	b.entries, b.spare = append(b.spare[:0], noHeader[:]...), nil
	if length := len(frames) - wire.HeaderSize; length > 0 {
		h := wire.Header{Type: wire.Acks, Length: uint32(length)}
		h.Put(frames)
	} else {
		frames = frames[:0]
	}
	if b.creditDueLocked() {
		b.granted = b.answered + b.window
		h := wire.Header{Type: wire.Credit, Arg: b.granted}
		frames = h.Append(frames)
	}
	return frames
}

var noHeader [wire.HeaderSize]byte

// wrote gives the memory of take back. After an error nothing is written any more.
func (b *ackBook) wrote(frames []byte, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writing = false
	if cap(frames) <= sendKept {
		b.spare = frames
	}
	b.ended = b.ended || err != nil
	b.tellLocked()
}

// end drops answers from now on.
func (b *ackBook) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.tellLocked()
}

func (b *ackBook) hasEnded() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended
}

// credit is how much the client may send in all.
func (b *ackBook) credit() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.granted
}

// whenSettled gives a channel that is closed when nothing is in flight; nil if nothing is.
func (b *ackBook) whenSettled() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inFlight == 0 {
		return nil
	}
	if b.settled == nil {
		b.settled = make(chan struct{})
	}
	return b.settled
}

// whenQuiet is whenSettled for everything answered and written, or nobody there to read it.
func (b *ackBook) whenQuiet() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.quietLocked() {
		return nil
	}
	if b.quiet == nil {
		b.quiet = make(chan struct{})
	}
	return b.quiet
}

// ackCounts is what a run of outcomes adds to the counters.
type ackCounts struct {
	messages, bytes, duplicates int64
	refused                     []core.Code
}

func (s *topicStats) add(c *ackCounts, acks int) {
	s.acks.Add(int64(acks))
	addSome(&s.produced, c.messages)
	addSome(&s.producedBytes, c.bytes)
	addSome(&s.duplicates, c.duplicates)
	s.refuse(c.refused...)
}
