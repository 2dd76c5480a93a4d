package core

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// CheckProduced is everything a node must know of a PRODUCE frame from outside before it stores it:
// header and payload, whose padding is left out. The fields that the node writes itself (index, base
// offset, time, term, checksums of the header and of the frame before, durable lag) are not looked at.
// What passes can be read by everybody: each record decodes and is within every limit, its key has the
// right hash, its padding is zero, and no header is one that only Leat sets (CheckHeaders). maxRecordBytes
// is the topic's, 0 to MaxRecordBytes; letters says that it is one of dead letters.
//
// Errors: CodeInvalidRecord, CodeRecordTooLarge; CodeVersionTooNew and CodeUnsupported for what only
// another build can store; CodeCorrupt where the payload is not what the producer made the checksum of.
// It does not allocate unless something is wrong.
func CheckProduced(h *FrameHeader, payload []byte, maxRecordBytes int, letters bool) error {
	if err := checkProducedHeader(h, len(payload)); err != nil {
		return err
	}
	if got := Checksum(payload); got != h.PayloadCRC {
		return &Error{Code: CodeCorrupt, Op: produceOp,
			Hint: "the frame was damaged on its way: publish it again, and check the producer's encoder",
			Err:  fmt.Errorf("payload checksum %08x, computed %08x", h.PayloadCRC, got)}
	}
	records := 0
	for rest := payload; len(rest) > 0; records++ {
		n, ok := producedRecordSize(rest, maxRecordBytes)
		if !ok {
			return refuseRecord(rest, maxRecordBytes)
		}
		if err := checkOwnHeaders(rest[:n], letters); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if records != int(h.Records) {
		return invalidFrame("%d records, the header says %d", records, h.Records)
	}
	return nil
}

const produceOp = "store a frame"

func checkProducedHeader(h *FrameHeader, payloadBytes int) error {
	switch {
	case h.Version > FrameVersion:
		return Errorf(CodeVersionTooNew, produceOp, "version %d, this build stores up to %d",
			h.Version, FrameVersion)
	case h.Version == 0:
		return invalidFrame("version 0")
	case h.Attrs != uint8(FrameData):
		return Errorf(CodeUnsupported, produceOp, "attrs %#02x: want data without compression", h.Attrs)
	case payloadBytes > MaxBatchBytes || int64(h.Length) != int64(FrameHeaderSize+payloadBytes):
		return invalidFrame("length %d, payload of %d bytes, at most %d", h.Length, payloadBytes, MaxBatchBytes)
	case h.Records < 1 || h.Records > MaxBatchRecords:
		return invalidFrame("%d records, want 1 to %d", h.Records, MaxBatchRecords)
	case h.ProducerID < 0 || h.ProducerEpoch < 0 || h.BaseSeq < 0:
		return invalidFrame("producer %d, epoch %d, sequence %d: want 0 or more",
			h.ProducerID, h.ProducerEpoch, h.BaseSeq)
	case h.ProducerID == 0 && (h.ProducerEpoch != 0 || h.BaseSeq != 0):
		return invalidFrame("epoch %d, sequence %d without a producer", h.ProducerEpoch, h.BaseSeq)
	}
	return nil
}

// producedRecordSize gives the padded size of the record at the start of src if nothing is wrong with
// it. It reads words and leaves it to refuseRecord to say what is wrong, because there are many records
// in a frame and next to none is wrong.
func producedRecordSize(src []byte, maxRecordBytes int) (int, bool) {
	if len(src) < RecordHeaderSize {
		return 0, false
	}
	le := binary.LittleEndian
	first, hash, headersLen := le.Uint64(src[0:]), le.Uint64(src[8:]), uint64(le.Uint32(src[20:]))
	length, keyLen, flags := first&(1<<32-1), first>>32&(1<<16-1), RecordFlags(first>>48)
	size := (length + 7) &^ 7
	keyAt := uint64(RecordHeaderSize)
	if flags&^(FlagNullKey|FlagNullValue) != 0 {
		if flags&^(FlagNullKey|FlagNullValue|knownExtensions) != 0 {
			return 0, false
		}
		keyAt += extensionBytes * uint64(bits.OnesCount16(uint16(flags&knownExtensions)))
	}
	valueAt := keyAt + keyLen + headersLen
	if size > uint64(len(src)) || size > uint64(maxRecordBytes) || valueAt > length ||
		keyLen > MaxKeyBytes || headersLen > MaxHeaderBytes || flags&FlagNullValue != 0 && valueAt < length ||
		keyAt > RecordHeaderSize && !extensionsFit(src) {
		return 0, false
	}
	if flags&FlagNullKey == 0 {
		if xxhash.Sum64(src[keyAt:keyAt+keyLen]) != hash {
			return 0, false
		}
	} else if keyLen|hash != 0 {
		return 0, false
	}
	if pad := size - length; pad > 0 && le.Uint64(src[size-8:])>>(64-8*pad) != 0 {
		return 0, false
	}
	return int(size), headersLen == 0 || headersFit(src[valueAt-headersLen:valueAt])
}

// refuseRecord says what is wrong with a record that producedRecordSize refused.
func refuseRecord(src []byte, maxRecordBytes int) error {
	r, n, err := DecodeRecord(src)
	if err != nil {
		return NewError(CodeInvalidRecord, produceOp, errors.Unwrap(err))
	}
	switch {
	case r.Flags&^(FlagNullKey|FlagNullValue|knownExtensions) != 0:
		return unknownFlags(r.Flags)
	case r.Flags&knownExtensions != 0 && !extensionsFit(src):
		return invalidFrame("TTL of %d ns, want %d to %d; or another hash than that of the id %q", r.TTL, MinTTL,
			MaxTTL, r.ID)
	case n > maxRecordBytes:
		return Errorf(CodeRecordTooLarge, produceOp, "record of %d bytes, at most %d", n, maxRecordBytes)
	case len(r.Key) > MaxKeyBytes || len(r.RawHeaders) > MaxHeaderBytes:
		return invalidFrame("key of %d bytes, headers of %d", len(r.Key), len(r.RawHeaders))
	case r.KeyHash != keyHash(&r):
		return invalidFrame("key hash %016x, computed %016x", r.KeyHash, keyHash(&r))
	case len(r.RawHeaders) > 0 && !headersFit(r.RawHeaders):
		return invalidFrame("headers of %d bytes do not decode, or are more than %d",
			len(r.RawHeaders), MaxHeaders)
	}
	return invalidFrame("pad bytes are not zero")
}

func unknownFlags(flags RecordFlags) error {
	if flags&FlagRemoved != 0 {
		return invalidFrame("a record marked as removed")
	}
	return Errorf(CodeUnsupported, produceOp,
		"extensions of a record that this build does not know (flags %#04x of %#04x)",
		uint16(flags&extensionFlags&^knownExtensions), uint16(flags))
}

func keyHash(r *Record) uint64 {
	if r.Key == nil {
		return 0
	}
	return xxhash.Sum64(r.Key)
}

// headersFit reports whether raw is whole headers, as HeaderDecoder reads them, and not too many.
func headersFit(raw []byte) bool {
	for range MaxHeaders {
		if len(raw) < 6 {
			return false
		}
		le := binary.LittleEndian
		size := 6 + uint64(le.Uint16(raw[0:])) + uint64(le.Uint32(raw[2:]))
		if size > uint64(len(raw)) {
			return false
		}
		if raw = raw[size:]; len(raw) == 0 {
			return true
		}
	}
	return false
}

func invalidFrame(format string, args ...any) error {
	return NewError(CodeInvalidRecord, produceOp, fmt.Errorf(format, args...))
}
