package log

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/leatbus/leat/internal/benchkit"
)

const (
	natsStream  = "bench"
	natsSubject = "bench.records"
	natsPending = 256 // publishes without an answer
)

var (
	natsFile = kind{name: "NATS file store", role: benchkit.Peer, level: levelMemory,
		note: "the store of a JetStream stream without its server's way to it; what is appended " +
			"goes to the page cache a little later", open: openNATSFile}
	jetStream = kind{name: "NATS JetStream", role: benchkit.Peer, level: levelMemory,
		note: fmt.Sprintf("one replica, embedded, client in the same process, at most %d "+
			"publishes without an answer", natsPending), open: openJetStream}
)

// natsServer runs a JetStream server in this process, which nobody reaches from outside.
func natsServer(dir string, o setting) (*server.Server, error) {
	s, err := server.NewServer(&server.Options{
		JetStream: true, StoreDir: dir, DontListen: true, NoSigs: true, NoLog: true,
		SyncAlways: o.durable && !o.batched, JetStreamMaxMemory: 1 << 30, JetStreamMaxStore: 1 << 40,
	})
	if err != nil {
		return nil, err
	}
	go s.Start() // ends with Shutdown, which WaitForShutdown waits for
	if !s.ReadyForConnections(10 * time.Second) {
		return nil, errors.New("nats-server was not ready within 10 s")
	}
	return s, nil
}

func natsConfig() server.StreamConfig {
	return server.StreamConfig{Name: natsStream, Subjects: []string{natsSubject}, Storage: server.FileStorage,
		Retention: server.LimitsPolicy, MaxMsgs: -1, MaxBytes: -1, MaxMsgsPer: -1, MaxMsgSize: -1, Replicas: 1}
}

// natsFileStore writes into the store of a stream.
type natsFileStore struct {
	server *server.Server
	store  server.StreamStore
	dir    string

	mu     sync.Mutex
	synced string // guarded by mu: the block that was the newest at the last sync
}

// openNATSFile gets at the store of a stream by restoring one from an empty backup: of the ways to make a
// stream only that one hands out the stream itself.
func openNATSFile(dir string, o setting) (store, error) {
	s, err := natsServer(dir, o)
	if err != nil {
		return nil, err
	}
	config := natsConfig()
	backup, err := emptyBackup(config)
	if err != nil {
		return nil, err
	}
	stream, err := s.GlobalAccount().RestoreStream(&config, bytes.NewReader(backup))
	if err != nil {
		s.Shutdown()
		return nil, fmt.Errorf("make a stream: %w", err)
	}
	return &natsFileStore{server: s, store: stream.Store(), dir: dir}, nil
}

func emptyBackup(config server.StreamConfig) ([]byte, error) {
	meta, err := json.Marshal(server.FileStreamInfo{Created: time.Now(), StreamConfig: config})
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	squeeze := s2.NewWriter(&packed)
	archive := tar.NewWriter(squeeze)
	err = archive.WriteHeader(&tar.Header{Name: server.JetStreamMetaFile, Mode: 0o600, Size: int64(len(meta)),
		Typeflag: tar.TypeReg})
	if err == nil {
		_, err = archive.Write(meta)
	}
	err = errors.Join(err, archive.Close(), squeeze.Close()) // which write
	return packed.Bytes(), err
}

func (s *natsFileStore) append(record []byte) error {
	_, _, err := s.store.StoreMsg(natsSubject, nil, record, 0)
	return err
}

func (s *natsFileStore) appendAll(records [][]byte) error {
	for _, record := range records {
		if err := s.append(record); err != nil {
			return err
		}
	}
	return nil
}

// sync writes what is buffered and syncs the newest block, and the one before it if that is new.
func (s *natsFileStore) sync() error {
	if err := s.store.FlushAllPending(); err != nil {
		return err
	}
	blocks, err := filepath.Glob(filepath.Join(s.dir, "jetstream", "*", "streams", natsStream, "msgs", "*.blk"))
	if err != nil || len(blocks) == 0 {
		return errors.Join(err, errNoSync)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	newest := newestBlock(blocks)
	if s.synced != "" && s.synced != newest {
		err = syncPath(s.synced)
	}
	s.synced = newest
	return errors.Join(err, syncPath(newest))
}

// newestBlock is the file with the highest number.
func newestBlock(paths []string) (newest string) {
	highest := -1
	for _, path := range paths {
		var number int
		if _, err := fmt.Sscanf(filepath.Base(path), "%d.blk", &number); err == nil && number > highest {
			highest, newest = number, path
		}
	}
	return newest
}

// natsPayload is the number of the field of a stored message that has its bytes, which has no other way out.
var natsPayload = func() int {
	field, ok := reflect.TypeFor[server.StoreMsg]().FieldByName("msg")
	if !ok {
		panic("bench/log: a stored message of NATS has no field msg")
	}
	return field.Index[0]
}()

func (s *natsFileStore) read(visit func([]byte) error) error {
	var message server.StoreMsg
	payload := reflect.ValueOf(&message).Elem().Field(natsPayload)
	last := s.store.State().LastSeq
	for i := uint64(1); i <= last; i++ {
		if _, err := s.store.LoadMsg(i, &message); err != nil {
			return err
		}
		if err := visit(payload.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

func (s *natsFileStore) close() error {
	s.server.Shutdown()
	s.server.WaitForShutdown()
	return nil
}

// jetStreamStore publishes to a stream with the client's own asynchronous publish.
type jetStreamStore struct {
	server     *server.Server
	connection *nats.Conn
	stream     nats.JetStreamContext
	durable    bool
}

func openJetStream(dir string, o setting) (store, error) {
	s, err := natsServer(dir, o)
	if err != nil {
		return nil, err
	}
	connection, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		return nil, err
	}
	stream, err := connection.JetStream(nats.PublishAsyncMaxPending(natsPending), nats.MaxWait(time.Minute))
	if err == nil {
		_, err = stream.AddStream(&nats.StreamConfig{Name: natsStream, Subjects: []string{natsSubject},
			Storage: nats.FileStorage})
	}
	return &jetStreamStore{s, connection, stream, o.durable}, err
}

func (s *jetStreamStore) append(record []byte) error {
	if s.durable {
		_, err := s.stream.Publish(natsSubject, record)
		return err
	}
	_, err := s.stream.PublishAsync(natsSubject, bytes.Clone(record), nats.StallWait(time.Minute))
	return err
}

func (s *jetStreamStore) appendAll(records [][]byte) error {
	for _, record := range records {
		if err := s.append(record); err != nil {
			return err
		}
	}
	return nil
}

// settle waits for the answers of what was published.
func (s *jetStreamStore) settle() error {
	select {
	case <-s.stream.PublishAsyncComplete():
		return nil
	case <-time.After(time.Minute):
		return errors.New("no answer of JetStream within a minute")
	}
}

func (s *jetStreamStore) sync() error { return errNoSync }

func (s *jetStreamStore) read(visit func([]byte) error) error {
	subscription, err := s.stream.SubscribeSync(natsSubject, nats.OrderedConsumer())
	if err != nil {
		return err
	}
	info, err := s.stream.StreamInfo(natsStream)
	if err != nil {
		return err
	}
	for range info.State.LastSeq {
		message, err := subscription.NextMsg(time.Minute)
		if err != nil {
			return err
		}
		if err := visit(message.Data); err != nil {
			return err
		}
	}
	return subscription.Unsubscribe()
}

func (s *jetStreamStore) close() error {
	s.connection.Close()
	s.server.Shutdown()
	s.server.WaitForShutdown()
	return nil
}
