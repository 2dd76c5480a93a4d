package core

import (
	"encoding/binary"
	"fmt"
)

// ProducerStateVersion is the version byte of a stored table of producers this build writes, and the
// newest it reads.
const ProducerStateVersion = 2

const (
	storedIDBytes = 32

	producerStateHead  = 8
	producerStateFixed = 24 // one producer without its batches
	producerStateBatch = 24
)

// EncodeProducers appends the producers of the partition to dst, the longest idle first: what a later
// LoadProducers continues from, so that not all of a log must be read when it is opened. The layout is in
// docs/format.md. What is pending is left out. It takes about as long as copying the bytes.
func (p *Partition) EncodeProducers(dst []byte) []byte {
	le, t := binary.LittleEndian, &p.producers
	version := byte(1) // the lowest that has what there is
	if p.dedup.settled > p.dedup.first {
		version = 2
	}
	dst = append(dst, version, 0, 0, 0)
	dst = t.encode(le.AppendUint32(dst, uint32(len(t.index))))
	if version == 2 {
		dst = p.dedup.encode(dst)
	}
	return dst
}

// encode appends the producers to dst.
func (t *producerTable) encode(dst []byte) []byte {
	le := binary.LittleEndian
	if len(t.index) == 0 {
		return dst
	}
	for slot := t.oldest; slot != noProducer; slot = t.slots[slot].newer {
		s := &t.slots[slot]
		dst = le.AppendUint64(dst, uint64(s.id))
		dst = le.AppendUint64(dst, uint64(s.lastSeen))
		dst = le.AppendUint32(dst, uint32(uint16(s.epoch))|uint32(s.kept)<<16)
		dst = le.AppendUint32(dst, 0)
		for i := range int(s.kept) {
			b := &s.batches[(int(s.last)+ProducerBatchesKept-int(s.kept)+1+i)%ProducerBatchesKept]
			dst = le.AppendUint64(dst, uint64(b.lo))
			dst = le.AppendUint64(dst, uint64(b.time))
			dst = le.AppendUint32(dst, uint32(b.baseSeq))
			dst = le.AppendUint32(dst, uint32(b.records))
		}
	}
	return dst
}

// ProducerCount is the number of producers the partition remembers.
func (p *Partition) ProducerCount() int { return len(p.producers.index) }

// LoadProducers replaces the producers by what EncodeProducers wrote, before frames are restored and
// before the first step. On an error, CodeCorrupt or CodeVersionTooNew, no producer is known.
func (p *Partition) LoadProducers(src []byte) error {
	t, ids := producerTable{}, dedupTable{window: p.dedup.window}
	rest, err := t.load(src, p.logEnd)
	if err == nil && src[0] == 2 {
		rest, err = ids.load(rest, p.logEnd)
	}
	if err == nil && len(rest) > 0 {
		err = corruptProducers("%d bytes left", len(rest))
	}
	if err != nil {
		p.ForgetProducers()
		return err
	}
	p.producers, p.dedup = t, ids
	return nil
}

// load reads the producers at the start of src and gives what follows.
func (t *producerTable) load(src []byte, logEnd int64) (rest []byte, err error) {
	le := binary.LittleEndian
	switch {
	case len(src) > 0 && src[0] > ProducerStateVersion:
		return nil, Errorf(CodeVersionTooNew, "read producers", "version %d, this build reads up to %d",
			src[0], ProducerStateVersion)
	case len(src) < producerStateHead || src[0] == 0 || src[1]|src[2]|src[3] != 0:
		return nil, corruptProducers("%d bytes, at least %d", len(src), producerStateHead)
	}
	count := le.Uint32(src[4:])
	src = src[producerStateHead:]
	if count > MaxProducers || uint64(count)*producerStateFixed > uint64(len(src)) {
		return nil, corruptProducers("%d producers in %d bytes", count, len(src))
	}
	for range count {
		n, err := t.loadProducer(src, logEnd)
		if err != nil {
			return nil, err
		}
		src = src[n:]
	}
	return src, nil
}

// loadProducer reads the producer at the start of src and gives its size.
func (t *producerTable) loadProducer(src []byte, logEnd int64) (int, error) {
	le := binary.LittleEndian
	if len(src) < producerStateFixed {
		return 0, corruptProducers("%d bytes left", len(src))
	}
	id, lastSeen := int64(le.Uint64(src)), int64(le.Uint64(src[8:]))
	epoch, kept := int16(le.Uint16(src[16:])), int(le.Uint16(src[18:]))
	size := producerStateFixed + kept*producerStateBatch
	_, known := t.index[id]
	switch {
	case id <= 0 || known || epoch < 0 || le.Uint32(src[20:]) != 0:
		return 0, corruptProducers("producer %d, epoch %d, known %v", id, epoch, known)
	case kept < 1 || kept > ProducerBatchesKept || size > len(src):
		return 0, corruptProducers("producer %d with %d batches, %d bytes left", id, kept, len(src))
	case len(t.index) > 0 && lastSeen < t.now:
		return 0, corruptProducers("producer %d is not in the order of its last batch", id)
	}
	t.now = lastSeen
	end := int64(0)
	for at := producerStateFixed; at < size; at += producerStateBatch {
		b := producedBatch{
			lo: int64(le.Uint64(src[at:])), time: int64(le.Uint64(src[at+8:])),
			baseSeq: int32(le.Uint32(src[at+16:])), records: int32(le.Uint32(src[at+20:])),
		}
		if b.baseSeq < 0 || b.records < 1 || b.records > MaxBatchRecords || b.lo < end ||
			b.lo > logEnd-int64(b.records) || at > producerStateFixed && b.baseSeq != t.nextOf(id) {
			return 0, corruptProducers("producer %d: %d records from sequence %d at offset %d",
				id, b.records, b.baseSeq, b.lo)
		}
		end = b.lo + int64(b.records)
		t.remember(id, epoch, b)
	}
	return size, nil
}

func (t *producerTable) nextOf(id int64) int32 {
	p := &t.slots[t.index[id]]
	return p.batches[p.last].nextSeq()
}

func corruptProducers(format string, args ...any) error {
	return NewError(CodeCorrupt, "read producers", fmt.Errorf(format, args...))
}

// resume moves the time to now without calling anybody idle meanwhile.
func (t *producerTable) resume(now int64) {
	passed := now - t.now
	if passed <= 0 {
		return
	}
	t.now = now
	for i := range t.slots {
		t.slots[i].lastSeen += passed
	}
}

// encode appends the ids to dst, the oldest first. What is pending is left out.
func (t *dedupTable) encode(dst []byte) []byte {
	le := binary.LittleEndian
	known := t.list[t.head : t.head+int(t.settled-t.first)]
	dst = le.AppendUint64(dst, uint64(len(known)))
	for i := range known {
		s := &known[i]
		dst = le.AppendUint64(dst, s.id[0])
		dst = le.AppendUint64(dst, s.id[1])
		dst = le.AppendUint64(dst, uint64(s.offset))
		dst = le.AppendUint64(dst, uint64(s.time))
	}
	return dst
}

// load reads what encode wrote, and gives what follows.
func (t *dedupTable) load(src []byte, logEnd int64) (rest []byte, err error) {
	le := binary.LittleEndian
	if len(src) < 8 {
		return nil, corruptProducers("%d bytes of ids", len(src))
	}
	count := le.Uint64(src)
	src = src[8:]
	if count == 0 || count > MaxDedupIDs || count*storedIDBytes > uint64(len(src)) {
		return nil, corruptProducers("%d ids in %d bytes", count, len(src))
	}
	after := storedID{offset: -1}
	for range count {
		s := storedID{
			id: MessageID{le.Uint64(src), le.Uint64(src[8:])}, offset: int64(le.Uint64(src[16:])),
			time: int64(le.Uint64(src[24:])),
		}
		if s.offset <= after.offset || s.offset >= logEnd || s.time < after.time {
			return nil, corruptProducers("an id of offset %d, time %d behind %d, %d", s.offset, s.time,
				after.offset, after.time)
		}
		if t.index == nil {
			t.index = make(map[MessageID]int64)
		}
		t.index[s.id] = t.end()
		t.list = append(t.list, s)
		after, src = s, src[storedIDBytes:]
	}
	t.settle()
	return src, nil
}
