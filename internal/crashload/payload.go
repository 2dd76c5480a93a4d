package crashload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/cespare/xxhash/v2"

	"github.com/leatbus/leat/core"
)

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// dice is a small generator (splitmix64): a load repeats from its seed.
type dice uint64

func (d *dice) next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

const noiseBytes = 1 << 20

// noise is what records are filled with.
var noise = func() []byte {
	d := dice(1)
	b := make([]byte, noiseBytes)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], d.next())
	}
	return b
}()

// payload is the content of the record that a generation writes at an offset: both, and noise of a length and
// from a place that follow from them.
func payload(offset int64, generation int) (head [16]byte, rest []byte) {
	d := dice(uint64(offset)<<16 ^ uint64(generation))
	size := d.next() % 300
	switch d.next() % 64 {
	case 0:
		size = d.next() % 60_000
	case 1, 2, 3, 4:
		size = d.next() % 6000
	}
	binary.LittleEndian.PutUint64(head[:], uint64(offset))
	binary.LittleEndian.PutUint64(head[8:], uint64(generation))
	at := d.next() % (noiseBytes - 60_000)
	return head, noise[at:][:size]
}

// encode makes the record of an offset.
func encode(offset int64, generation int) ([]byte, error) {
	head, rest := payload(offset, generation)
	value := append(head[:], rest...)
	key := head[:8]
	n, err := core.EncodedRecordSize(key, value, nil)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	core.PutRecord(b, key, value, nil, xxhash.Sum64(key), 0)
	return b, nil
}

// holds reports whether value is what a generation wrote at an offset.
func holds(value []byte, offset int64, generation int) bool {
	head, rest := payload(offset, generation)
	return len(value) == len(head)+len(rest) && bytes.Equal(value[:len(head)], head[:]) &&
		bytes.Equal(value[len(head):], rest)
}

const producerEvery = 3

// ofProducer tells which records are frames of a producer, and of which.
func ofProducer(offset int64) (id int64, sequence int32, ok bool) {
	return 1 + offset%5, int32(offset), offset%producerEvery == 0
}

// frameOf makes the header of a producer's frame.
func frameOf(offset int64, record []byte) core.FrameHeader {
	id, sequence, _ := ofProducer(offset)
	return core.FrameHeader{
		Length: uint32(core.FrameHeaderSize + len(record)), ProducerID: id, BaseSeq: sequence,
		PayloadCRC: core.Checksum(record), Records: 1, Version: core.FrameVersion,
	}
}
