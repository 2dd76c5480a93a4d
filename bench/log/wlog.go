package log

import (
	"errors"
	"path/filepath"

	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"

	"github.com/leatbus/leat/internal/benchkit"
)

var prometheus = kind{name: "Prometheus wlog", role: benchkit.Peer, level: levelPage,
	note: "checksum per record; it syncs at the end of a segment only, so a durable append " +
		"calls its Sync", open: openWlog}

// wlogStore is a write log of Prometheus; it has a lock of its own.
type wlogStore struct {
	wl      *wlog.WL
	setting setting
}

func openWlog(dir string, o setting) (store, error) {
	size := wlog.DefaultSegmentSize
	if o.small {
		size = 1 << 20
	}
	log, err := wlog.NewSize(quiet(), nil, filepath.Join(dir, "wal"), size, compression.None)
	return &wlogStore{log, o}, err
}

func (s *wlogStore) append(record []byte) error {
	if err := s.wl.Log(record); err != nil || !s.setting.durable || s.setting.batched {
		return err
	}
	return s.wl.Sync()
}

func (s *wlogStore) appendAll(records [][]byte) error { return s.wl.Log(records...) }

func (s *wlogStore) sync() error { return s.wl.Sync() }

func (s *wlogStore) read(visit func([]byte) error) (err error) {
	segments, err := wlog.NewSegmentsReader(s.wl.Dir())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, segments.Close()) }()
	reader := wlog.NewReader(segments)
	for reader.Next() {
		if err := visit(reader.Record()); err != nil {
			return err
		}
	}
	return reader.Err()
}

func (s *wlogStore) close() error { return s.wl.Close() }
