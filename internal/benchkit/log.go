package benchkit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/mmaplog"
)

// Sizes of the log scenario. A burst stays within the window that is prefaulted ahead of a busy log,
// and the rests between bursts let the next window and segment be prepared, as they are at any rate
// a disk can follow.
const (
	logTopic       = 1
	burstBytes     = 1 << 20
	sustainedBytes = 256 << 20
	burstsPerRound = 32
	appenders      = 64
)

// Log measures package mmaplog alone: appends one by one at page against memcpy, reading back, and
// durable appends, one and 64 at a time and to 256 logs, against bare syncs. Size is the encoded record,
// 256 bytes; For is the time of each durable case and round, 1 s; Rounds is 5.
func Log(ctx context.Context, o Options) (_ *Report, err error) {
	if o.Size == 0 {
		o.Size = 256
	}
	if o.Size < 48 || o.Size%8 != 0 || o.Size > core.DefaultRecordBytes {
		return nil, core.Errorf(core.CodeInvalidConfig, "bench log",
			"--size %d: want a multiple of 8 from 48 to %d", o.Size, core.DefaultRecordBytes)
	}
	if o.For == 0 {
		o.For = time.Second
	}
	if o.Rounds == 0 {
		o.Rounds = 5
	}
	b, err := newBench("log", o)
	if err != nil {
		return nil, err
	}
	defer b.end(&err)
	if err := b.pageLog(ctx); err != nil {
		return nil, err
	}
	if err := b.diskLog(ctx); err != nil {
		return nil, err
	}
	if err := b.manyLogs(ctx); err != nil {
		return nil, err
	}
	return b.report, nil
}

// openLog opens the one log of a new store. Retention bounds the disk.
func (b *bench) openLog(name string, level core.Ack, durable func(int64, error)) (
	*mmaplog.Store, *mmaplog.Log, error) {
	store, err := mmaplog.Open(mmaplog.OS(), filepath.Join(b.dir, name), mmaplog.Options{})
	if err != nil {
		return nil, nil, err
	}
	log, err := store.OpenLog(logTopic, 0, mmaplog.LogOptions{
		Level: level, RetentionBytes: 256 << 20, Durable: durable,
	})
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return store, log, nil
}

// numberedRecord encodes a record of size bytes with an 8-byte key; its value starts with a number
// that number sets.
func numberedRecord(size int) []byte {
	record := make([]byte, size)
	key := []byte("bench-00")
	core.PutRecord(record, key, make([]byte, size-core.RecordHeaderSize-len(key)), nil, 0, 0)
	return record
}

func setNumber(record []byte, number int64) {
	binary.LittleEndian.PutUint64(record[core.RecordHeaderSize+8:], uint64(number))
}

func (b *bench) pageLog(ctx context.Context) (err error) {
	store, log, err := b.openLog("page", core.AckPage, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	floor, err := newCopyFloor(b.clock, b.dir, 64<<20)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, floor.close()) }()
	appended, err := b.appendRounds(ctx, log, floor)
	if err != nil {
		return err
	}
	return b.readRounds(ctx, log, floor, appended)
}

// appendRounds returns the number of records in the log.
func (b *bench) appendRounds(ctx context.Context, log *mmaplog.Log, floor *copyFloor) (int64, error) {
	record := numberedRecord(b.Size)
	frame := make([]byte, core.FrameHeaderSize+b.Size)
	perBurst := max(1, burstBytes/len(frame))
	next := int64(0)
	var appends, sustained, copies samples
	err := interleave(ctx, b.Rounds, func(round int) error {
		b.progress("append %d B at page, round %d", b.Size, round+1)
		if round == WarmUp {
			// Segments start small and double: the first ones are not what is measured.
			if _, err := b.appendBurst(log, record, (64<<20)/len(frame), &next); err != nil {
				return err
			}
		}
		rate, err := b.bursts(ctx, burstsPerRound, perBurst, func() (int64, error) {
			return b.appendBurst(log, record, perBurst, &next)
		})
		appends.add(round, rate)
		if err != nil {
			return err
		}
		n := int(min(b.For, time.Second)/time.Millisecond) * sustainedBytes / 1000 / len(frame)
		nanos, err := b.appendBurst(log, record, n, &next)
		sustained.add(round, perSecond(int64(n), nanos))
		return err
	}, func(round int) error {
		rate, err := b.bursts(ctx, burstsPerRound, perBurst, func() (int64, error) {
			return floor.run(frame, perBurst)
		})
		copies.add(round, rate)
		return err
	})
	row := b.report.row(fmt.Sprintf("append %d B one by one", b.Size), "page", "records/s", appends)
	row.against("records/s, "+floor.name, copies)
	row.Note = fmt.Sprintf("median of %d bursts of %d MiB in each round; a frame, a checksum and a publish "+
		"per record", burstsPerRound, burstBytes>>20)
	row = b.report.row(fmt.Sprintf("append %d B one by one, sustained", b.Size), "page", "records/s", sustained)
	row.against("records/s, "+floor.name, copies)
	row.Note = fmt.Sprintf("up to %d MiB in each round without a rest, segments prepared and synced beside it",
		sustainedBytes>>20)
	return next, err
}

// bursts runs a burst of n records so many times, with rests of a two hundredth of For between, and gives
// the median of their rates: a burst lasts a fraction of a millisecond, and one that lost its
// processor says nothing.
func (b *bench) bursts(ctx context.Context, times, n int, burst func() (nanos int64, err error)) (
	float64, error) {
	rates := make([]float64, times)
	for i := range rates {
		nanos, err := burst()
		if err != nil {
			return 0, err
		}
		rates[i] = perSecond(int64(n), nanos)
		if err := clock.Sleep(ctx, b.clock, b.For/200); err != nil {
			return 0, err
		}
	}
	return median(rates), nil
}

func (b *bench) appendBurst(log *mmaplog.Log, record []byte, n int, next *int64) (int64, error) {
	start := b.clock.Mono()
	for range n {
		setNumber(record, *next)
		end, err := log.Append(start, record, 1)
		if err != nil {
			return 0, err
		}
		if end != *next+1 {
			return 0, fmt.Errorf("benchkit: record %d got offset %d", *next, end-1)
		}
		*next++
	}
	return b.clock.Mono() - start, nil
}

// readRounds reads the newest 64 MiB in order and checks every record.
func (b *bench) readRounds(ctx context.Context, log *mmaplog.Log, floor *copyFloor, end int64) error {
	size := int64(core.FrameHeaderSize + b.Size)
	from := log.Start() // where a segment starts, so that nothing is looked up
	var reads, copies samples
	chunk := make([]byte, 64<<10)
	err := interleave(ctx, b.Rounds, func(round int) error {
		b.progress("read back, round %d", round+1)
		start := b.clock.Mono()
		if err := readNumbered(log, from, end); err != nil {
			return err
		}
		reads.add(round, perSecond(end-from, b.clock.Mono()-start))
		return nil
	}, func(round int) error {
		copies.add(round, perSecond(end-from, floor.readAll(chunk, (end-from)*size)))
		return nil
	})
	row := b.report.row(fmt.Sprintf("read %d B in order, checked", b.Size), "page", "records/s", reads)
	row.against("records/s, memcpy out of it", copies)
	return err
}

// readNumbered reads [from, end) and checks that record n says n.
func readNumbered(log *mmaplog.Log, from, end int64) (err error) {
	reader := log.Reader(from)
	defer func() { err = errors.Join(err, reader.Close()) }()
	for next := from; next < end; {
		run, err := reader.Next(end)
		if err != nil {
			return err
		}
		if len(run) == 0 {
			return fmt.Errorf("benchkit: nothing to read at %d of %d", next, end)
		}
		if next, err = checkRun(run, next); err != nil {
			return err
		}
	}
	return nil
}

// checkRun checks whole frames and returns the offset after the last record.
func checkRun(run []byte, next int64) (int64, error) {
	for len(run) > 0 {
		header := core.ParseFrameHeader(run)
		payload := run[core.FrameHeaderSize:header.Length]
		offset := header.BaseOffset
		for len(payload) > 0 {
			record, n, err := core.DecodeRecord(payload)
			if err != nil {
				return next, err
			}
			if offset >= next {
				if got := int64(binary.LittleEndian.Uint64(record.Value)); got != offset || offset != next {
					return next, fmt.Errorf("benchkit: want record %d, found %d at offset %d", next, got, offset)
				}
				next++
			}
			offset++
			payload = payload[n:]
		}
		run = run[header.Size():]
	}
	return next, nil
}
