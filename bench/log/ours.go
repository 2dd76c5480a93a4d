package log

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/benchkit"
	"github.com/leatbus/leat/mmaplog"
)

const oursName = "mmaplog"

// clockEvery is the number of appends between two looks at the clock.
const clockEvery = 64

// keptBytes bounds what a log of ours takes on the disk, where nothing has to be kept.
const keptBytes = 256 << 20

var ours = kind{name: oursName, role: benchkit.Ours, level: levelPage, open: openOurs}

// oursStore is a log of ours. Its writer is one goroutine, or the committer.
type oursStore struct {
	dir       string
	setting   setting
	store     *mmaplog.Store
	log       *mmaplog.Log
	committer *mmaplog.Committer // of a durable log that several append to

	appended int64 // owned by the writer, as is now
	now      int64 // nanoseconds since 1970
}

func openOurs(dir string, o setting) (store, error) {
	s := &oursStore{dir: dir, setting: o}
	return s, s.open()
}

func (s *oursStore) open() (err error) {
	if s.store, err = mmaplog.Open(mmaplog.OS(), s.dir, mmaplog.Options{}); err != nil {
		return err
	}
	if s.log, err = s.store.OpenLog(1, 0, s.setting.options()); err != nil {
		return errors.Join(err, s.store.Close())
	}
	if s.setting.durable && !s.setting.alone && !s.setting.batched {
		s.committer = mmaplog.NewCommitter(s.log)
	}
	return nil
}

func (o setting) options() mmaplog.LogOptions {
	settings := mmaplog.LogOptions{Level: core.AckPage, RetentionBytes: keptBytes}
	if o.durable {
		settings.Level = core.AckDisk
	}
	if o.small {
		settings.SegmentBytes = core.MinSegmentBytes
	}
	if o.round {
		settings.SegmentBytes, settings.RetentionBytes = 1<<20, 2<<20
	}
	if o.kept {
		settings.RetentionBytes = 0
	}
	return settings
}

func (s *oursStore) append(record []byte) error {
	if s.committer != nil {
		_, err := s.committer.Append(context.Background(), time.Now().UnixNano(), record, 1)
		return err
	}
	// As the bus does, which reads the clock once per batch.
	if s.appended++; s.appended%clockEvery == 1 {
		s.now = time.Now().UnixNano()
	}
	end, err := s.log.Append(s.now, record, 1)
	if err != nil || !s.setting.durable {
		return err
	}
	return s.log.SyncTo(context.Background(), end)
}

func (s *oursStore) appendAll(records [][]byte) error {
	s.log.Begin(time.Now().UnixNano())
	if _, n, err := s.log.AddEach(records); err != nil {
		return fmt.Errorf("%d of %d records: %w", n, len(records), err)
	}
	_, err := s.log.Publish()
	return err
}

func (s *oursStore) sync() error { return s.log.Sync(context.Background()) }

// read reads as a process does that did not write the log: nothing is known to be good, so that every
// checksum is compared.
func (s *oursStore) read(visit func([]byte) error) (err error) {
	if s.setting.kept {
		if err := s.store.Close(); err != nil {
			return err
		}
		if err := s.open(); err != nil {
			return err
		}
		s.setting.kept = false // opened once
	}
	reader := s.log.Reader(s.log.Start())
	defer func() { err = errors.Join(err, reader.Close()) }()
	for end := s.log.End(); reader.Offset() < end; {
		run, err := reader.Next(end)
		if err != nil {
			return err
		}
		if err := eachRecord(run, visit); err != nil {
			return err
		}
	}
	return nil
}

// eachRecord shows the records of whole frames.
func eachRecord(run []byte, visit func([]byte) error) error {
	for len(run) > 0 {
		header := core.ParseFrameHeader(run)
		for payload := run[core.FrameHeaderSize:header.Length]; len(payload) > 0; {
			_, n, err := core.DecodeRecord(payload)
			if err != nil {
				return err
			}
			if err := visit(payload[:n]); err != nil {
				return err
			}
			payload = payload[n:]
		}
		run = run[header.Size():]
	}
	return nil
}

func (s *oursStore) close() error { return s.store.Close() }
