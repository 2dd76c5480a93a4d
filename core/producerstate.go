package core

import (
	"encoding/binary"
	"fmt"
)

// ProducerStateVersion is the version byte of a stored table of producers this build writes, and the
// newest it reads.
const ProducerStateVersion = 1

const (
	producerStateHead  = 8
	producerStateFixed = 24 // one producer without its batches
	producerStateBatch = 24
)

// EncodeProducers appends the producers of the partition to dst, the longest idle first: what a later
// LoadProducers continues from, so that not all of a log must be read when it is opened. The layout is in
// docs/format.md. What is pending is left out. It takes about as long as copying the bytes.
func (p *Partition) EncodeProducers(dst []byte) []byte {
	le, t := binary.LittleEndian, &p.producers
	dst = append(dst, ProducerStateVersion, 0, 0, 0)
	dst = le.AppendUint32(dst, uint32(len(t.index)))
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
	t := producerTable{}
	if err := t.load(src, p.logEnd); err != nil {
		p.producers = producerTable{}
		return err
	}
	p.producers = t
	return nil
}

func (t *producerTable) load(src []byte, logEnd int64) error {
	le := binary.LittleEndian
	switch {
	case len(src) > 0 && src[0] > ProducerStateVersion:
		return Errorf(CodeVersionTooNew, "read producers", "version %d, this build reads up to %d",
			src[0], ProducerStateVersion)
	case len(src) < producerStateHead || src[0] == 0 || src[1]|src[2]|src[3] != 0:
		return corruptProducers("%d bytes, at least %d", len(src), producerStateHead)
	}
	count := le.Uint32(src[4:])
	src = src[producerStateHead:]
	if count > MaxProducers || uint64(count)*producerStateFixed > uint64(len(src)) {
		return corruptProducers("%d producers in %d bytes", count, len(src))
	}
	for range count {
		n, err := t.loadProducer(src, logEnd)
		if err != nil {
			return err
		}
		src = src[n:]
	}
	if len(src) > 0 {
		return corruptProducers("%d bytes left", len(src))
	}
	return nil
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
