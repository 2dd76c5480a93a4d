package log

import (
	"path/filepath"
	"sync"

	"github.com/tidwall/wal"

	"github.com/leatbus/leat/internal/benchkit"
)

var tidwall = kind{name: "tidwall/wal", role: benchkit.Peer, level: levelPage,
	note: "no checksum, the last segment is in the heap too", open: openTidwall}

// tidwallStore is a log of tidwall/wal, with mu around it because the caller counts.
type tidwallStore struct {
	log *wal.Log

	mu sync.Mutex
	// mu guards the following.
	next  uint64
	batch wal.Batch
}

func openTidwall(dir string, o setting) (store, error) {
	options := *wal.DefaultOptions
	options.NoSync = !o.durable || o.batched
	options.NoCopy = true
	log, err := wal.Open(filepath.Join(dir, "wal"), &options)
	return &tidwallStore{log: log, next: 1}, err
}

func (s *tidwallStore) append(record []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.log.Write(s.next, record)
	s.next++
	return err
}

func (s *tidwallStore) appendAll(records [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, record := range records {
		s.batch.Write(s.next, record)
		s.next++
	}
	return s.log.WriteBatch(&s.batch)
}

func (s *tidwallStore) sync() error { return s.log.Sync() }

func (s *tidwallStore) read(visit func([]byte) error) error {
	for i := uint64(1); i < s.next; i++ {
		record, err := s.log.Read(i)
		if err != nil {
			return err
		}
		if err := visit(record); err != nil {
			return err
		}
	}
	return nil
}

func (s *tidwallStore) close() error { return s.log.Close() }
