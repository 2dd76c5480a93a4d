package node

import (
	"context"
	"encoding/binary"
	"sync"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/routing"
)

// An entry of the slab is a 16-byte head and then the encoded records, as they go to the log, or,
// where these are larger than inlineBytes, a reference to a buffer that holds them:
//
//	0 partition u32 | 4 producer u32 | 8 ticket u32 | 12 records u16 | 14 level u8 | 15 form u8
//	16 records …                      or 16 body u32 | 20 zero u32
const (
	entryHead     = 16
	bodyReference = 8
	inlineBytes   = 4 << 10
)

// Bits of an entry's form.
const (
	formReference = 1 << iota // the records are in a buffer
	formFrame                 // the records are one frame of a remote producer, see frameHead
	formIDs                   // some of the records have ids
)

// Producers that are not in the table of producers.
const (
	nobody         uint32 = iota // one way: no answer
	waiterProducer               // the ticket is a waiter's index
	firstProducer
)

// entry is the decoded head, and what is needed to encode the record behind it.
type entry struct {
	part     *partition
	keyHash  uint64 // of the only record; not part of the head
	producer uint32
	ticket   uint32
	records  int
	level    core.Ack
	body     uint32 // 1 + index of the buffer; 0 if the records are inline
	frame    bool   // the records are one frame of a remote producer
	ids      bool   // some of the records have ids
}

func (n *Node) decodeEntry(raw []byte) (entry, []byte) {
	le := binary.LittleEndian
	e := entry{
		part:     n.partitionAt(le.Uint32(raw[0:])),
		producer: le.Uint32(raw[4:]),
		ticket:   le.Uint32(raw[8:]),
		records:  int(le.Uint16(raw[12:])),
		level:    core.Ack(raw[14]),
	}
	form, at := raw[15], entryHead
	if form == 0 {
		return e, raw[entryHead:]
	}
	e.ids = form&formIDs != 0
	if e.frame = form&formFrame != 0; e.frame {
		at += frameHead
	}
	if form&formReference == 0 {
		return e, raw[at:]
	}
	e.body = 1 + le.Uint32(raw[at:])
	return e, n.bodies.get(e.body)
}

func (e *entry) encode(dst []byte) {
	le := binary.LittleEndian // whole words, see appendPlain
	le.PutUint64(dst[0:], uint64(e.part.id)|uint64(e.producer)<<32)
	le.PutUint64(dst[8:], uint64(e.ticket)|uint64(uint16(e.records))<<32|uint64(e.level)<<48)
	at := entryHead
	if e.frame {
		dst[15], at = formFrame, at+frameHead
	}
	if e.ids {
		dst[15] |= formIDs
	}
	if e.body != 0 {
		dst[15] |= formReference
		le.PutUint64(dst[at:], uint64(e.body-1))
	}
}

// commit puts one message into the partition's shard ring. size is the record's encoded size.
// With wait it waits for room until ctx ends; without, a full ring or a closed gate is ErrFull.
func (n *Node) commit(ctx context.Context, e *entry, m *leat.Message, size int, wait bool) error {
	e.ids = m.ID != ""
	if err := n.admit(ctx, e.part, wait); err != nil {
		return err
	}
	if size > inlineBytes {
		return n.commitBody(ctx, e, []leat.Message{*m}, size, wait)
	}
	claimed, ok := e.part.shard.slab.TryClaim(entryHead + size)
	if !ok {
		var err error
		if claimed, err = e.part.shard.claim(ctx, entryHead+size, wait); err != nil {
			return err
		}
	}
	e.encode(claimed.Bytes)
	putRecord(claimed.Bytes[entryHead:], m, e.keyHash)
	e.part.shard.slab.Commit(claimed)
	return nil
}

// commitBody is commit for records that are large, or several: they travel in a pooled buffer.
func (n *Node) commitBody(ctx context.Context, e *entry, batch []leat.Message, size int, wait bool) error {
	body, buffer, err := n.bodies.take(ctx, size, wait)
	if err != nil {
		return err
	}
	for i := range batch {
		m := &batch[i]
		recordSize, err := core.ExtendedRecordSize(len(m.Key), len(m.Value), m.Headers, extrasOf(m))
		if err != nil {
			n.bodies.free(body)
			return err
		}
		var hash uint64
		if m.Key != nil {
			hash = routing.Hash(m.Key)
		}
		putRecord(buffer[:recordSize], m, hash)
		e.ids = e.ids || m.ID != ""
		buffer = buffer[recordSize:]
	}
	e.body = body
	claimed, err := e.part.shard.claim(ctx, entryHead+bodyReference, wait)
	if err != nil {
		n.bodies.free(body)
		return err
	}
	e.encode(claimed.Bytes)
	e.part.shard.slab.Commit(claimed)
	return nil
}

// extrasOf are what the record of a message has beside key, value and headers.
func extrasOf(m *leat.Message) core.Extras { return core.Extras{TTL: m.TTL, ID: m.ID} }

// putRecord encodes a message into dst, which has its size.
func putRecord(dst []byte, m *leat.Message, keyHash uint64) {
	core.PutExtendedRecord(dst, m.Key, m.Value, m.Headers, keyHash, 0, extrasOf(m))
}

// admit refuses what cannot be stored now, and waits while too much is not yet on the disk.
func (n *Node) admit(ctx context.Context, p *partition, wait bool) error {
	if err := p.refusal(); err != nil {
		return err
	}
	if !p.gate.closed.Load() {
		return nil
	}
	if !wait {
		return core.NewError(core.CodeFull, p.op("publish to"), nil)
	}
	if err := p.gate.await(ctx, n.closing); err != nil {
		return err
	}
	return p.refusal()
}

// maxBodyBytes bounds the buffers in flight between publishers and the journal, on a node whose
// unsynced_max allows it.
const maxBodyBytes = 64 << 20

// bodies holds records that are too large for the slab until the journal has appended them.
type bodies struct {
	closing <-chan struct{}
	limit   int // bytes in use, unless one buffer alone is larger

	mu    sync.Mutex // guards the following
	all   [][]byte
	spare []uint32 // indexes not in use
	bytes int
	room  chan struct{} // closed when bytes falls, nil while nobody waits for it
}

func newBodies(closing <-chan struct{}, limit int) *bodies {
	return &bodies{closing: closing, limit: limit}
}

// take gives a buffer of size bytes and 1 + its index.
func (b *bodies) take(ctx context.Context, size int, wait bool) (uint32, []byte, error) {
	for {
		b.mu.Lock()
		if b.bytes == 0 || b.bytes+size <= b.limit {
			index, buffer := b.reserveLocked(size)
			b.mu.Unlock()
			return index + 1, buffer, nil
		}
		if !wait {
			b.mu.Unlock()
			return 0, nil, core.NewError(core.CodeFull, "publish", nil)
		}
		if b.room == nil {
			b.room = make(chan struct{})
		}
		room := b.room
		b.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		case <-b.closing:
			return 0, nil, core.NewError(core.CodeClosed, "publish", nil)
		}
	}
}

func (b *bodies) reserveLocked(size int) (uint32, []byte) {
	b.bytes += size
	var index uint32
	if n := len(b.spare); n > 0 {
		index = b.spare[n-1]
		b.spare = b.spare[:n-1]
	} else {
		index = uint32(len(b.all))
		b.all = append(b.all, nil)
	}
	// A buffer is kept for the next record of about its size, so that steady use does not allocate.
	if cap(b.all[index]) < size || cap(b.all[index]) > 4*size {
		b.all[index] = make([]byte, size)
	}
	b.all[index] = b.all[index][:size]
	return index, b.all[index]
}

func (b *bodies) get(body uint32) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all[body-1]
}

// free gives a buffer back; 0 is none.
func (b *bodies) free(body uint32) {
	if body == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes -= len(b.all[body-1])
	b.spare = append(b.spare, body-1)
	if b.room != nil {
		close(b.room)
		b.room = nil
	}
}
