package log

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/leatbus/leat/internal/benchkit"
)

// pebbleLogNumber is tied into every chunk.
const pebbleLogNumber = 1

var pebble = kind{name: "Pebble record log", role: benchkit.Peer, level: levelMemory,
	note: "without a sync a record is in the process until its 32 KiB block is full; " +
		"syncs are shared by all who wait; one file without rolls", open: openPebble}

// pebbleStore is the log writer under Pebble's WAL, set up as Pebble sets it up.
type pebbleStore struct {
	path    string
	setting setting
	ready   chan struct{} // as many syncs may wait

	mu     sync.Mutex // held around calls of writer, which asks for that
	writer *record.LogWriter
}

func openPebble(dir string, o setting) (store, error) {
	s := &pebbleStore{path: filepath.Join(dir, "000001.log"), setting: o,
		ready: make(chan struct{}, record.SyncConcurrency)}
	file, err := vfs.Default.Create(s.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	preallocate := 64 << 20
	if o.small {
		preallocate = 1 << 20
	}
	file = vfs.NewSyncingFile(file, vfs.SyncingFileOptions{
		NoSyncOnClose: true, BytesPerSync: 512 << 10, PreallocateSize: preallocate,
	})
	s.writer = record.NewLogWriter(file, pebbleLogNumber, record.LogWriterConfig{
		QueueSemChan: s.ready, WriteWALSyncOffsets: func() bool { return true },
	})
	return s, nil
}

func (s *pebbleStore) append(p []byte) error {
	if !s.setting.durable {
		_, err := s.writer.WriteRecord(p)
		return err
	}
	var done sync.WaitGroup
	var failed error
	done.Add(1)
	s.ready <- struct{}{}
	s.mu.Lock()
	_, err := s.writer.SyncRecord(p, &done, &failed)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	done.Wait()
	return failed
}

// appendAll: a batch of Pebble is one record, so this has a record per record.
func (s *pebbleStore) appendAll(records [][]byte) error {
	for _, p := range records {
		if _, err := s.writer.WriteRecord(p); err != nil {
			return err
		}
	}
	return nil
}

func (s *pebbleStore) sync() error { return errNoSync }

// read ends the log: what is in its last block gets to the file only then.
func (s *pebbleStore) read(visit func([]byte) error) (err error) {
	if err := s.close(); err != nil {
		return err
	}
	file, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	reader := record.NewReader(bufio.NewReaderSize(file, 64<<10), pebbleLogNumber)
	var p []byte
	for {
		chunks, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if p, err = readInto(p[:0], chunks); err != nil {
			return err
		}
		if err := visit(p); err != nil {
			return err
		}
	}
}

// readInto appends all of r to p, which soon is large enough.
func readInto(p []byte, r io.Reader) ([]byte, error) {
	for {
		if len(p) == cap(p) {
			p = append(p, 0)[:len(p)]
		}
		n, err := r.Read(p[len(p):cap(p)])
		p = p[:len(p)+n]
		if errors.Is(err, io.EOF) {
			return p, nil
		}
		if err != nil {
			return p, err
		}
	}
}

func (s *pebbleStore) close() error {
	if s.writer == nil {
		return nil
	}
	err := s.writer.Close()
	s.writer = nil
	return err
}
