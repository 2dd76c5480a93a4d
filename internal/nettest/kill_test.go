package nettest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

const killKeys = 64

// acknowledged is what a publisher was told, by partition: the payload at each offset.
type acknowledged struct {
	mu sync.Mutex
	at map[int32]map[int64]uint64
}

func (a *acknowledged) add(t *testing.T, r leat.Receipt, id uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at[r.Partition] == nil {
		a.at[r.Partition] = map[int64]uint64{}
	}
	if other, ok := a.at[r.Partition][r.Offset]; ok {
		t.Errorf("offset %d of partition %d was given to messages %d and %d", r.Offset, r.Partition, other, id)
	}
	a.at[r.Partition][r.Offset] = id
}

// message makes message number id; its key is id mod killKeys.
func message(id uint64) leat.Message {
	value := binary.LittleEndian.AppendUint64(nil, id)
	return leat.Message{Key: fmt.Append(nil, "key-", id%killKeys), Value: value}
}

// createTopic makes a topic at page.
func createTopic(t *testing.T, bus *leat.Bus, name string, partitions int) {
	t.Helper()
	cfg := leat.TopicConfig{Partitions: partitions, Ack: leat.AckPage}
	if err := bus.CreateTopic(soon(t, 30*time.Second), name, cfg); err != nil {
		t.Fatal(err)
	}
}

// killWhile kills and restarts the server at random moments until done is closed.
func (s *server) killWhile(random *rand.Rand, done <-chan struct{}) (kills int) {
	for {
		select {
		case <-done:
			return kills
		case <-time.After(time.Duration(100+random.IntN(500)) * time.Millisecond):
		}
		s.kill()
		s.start()
		kills++
	}
}

// TestKillUnderClient: a client publishes through kills of the server. Every message is acknowledged in the
// end, and the log holds each exactly once, where its receipt says, in order per key.
func TestKillUnderClient(t *testing.T) {
	random := seeded(t)
	s := newServer(t)
	bus := s.dial(leat.WithUnreachableAfter(time.Minute))
	const topic = "kills"
	createTopic(t, bus, topic, 4)
	p, err := bus.Producer(topic)
	if err != nil {
		t.Fatal(err)
	}
	acks := &acknowledged{at: map[int32]map[int64]uint64{}}
	var failed atomic.Int64
	total := make(chan uint64, 1)
	done := make(chan struct{})
	enough := pick(3*time.Second, 60*time.Second)
	go func() { // the loop below waits for done
		defer close(done)
		count := uint64(0)
		for end := time.Now().Add(enough); time.Now().Before(end); {
			for range 100 {
				id := count
				count++
				p.PublishAsync(message(id), func(r leat.Receipt, err error) {
					if err != nil {
						failed.Add(1)
						t.Errorf("message %d: %v", id, err)
						return
					}
					acks.add(t, r, id)
				})
			}
			<-time.After(time.Millisecond)
		}
		total <- count
	}()
	kills := s.killWhile(random, done)
	published := <-total
	if err := p.Flush(soon(t, time.Minute)); err != nil {
		t.Fatalf("Flush: %v", err)
	}
	t.Logf("%d messages, %d kills", published, kills)
	if kills < 3 || failed.Load() > 0 {
		t.Fatalf("%d kills, %d messages failed", kills, failed.Load())
	}
	checkLog(t, bus, topic, published, acks)
}

// checkLog reads everything back: each id once, in order per key, where it was acknowledged.
func checkLog(t *testing.T, bus *leat.Bus, topic string, published uint64, acks *acknowledged) {
	t.Helper()
	sub, err := bus.Subscribe(topic, leat.From(leat.Earliest))
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	next := map[uint64]uint64{} // by key: the next id
	for key := range uint64(killKeys) {
		next[key] = key
	}
	count := uint64(0)
	for m, err := range sub.Messages(soon(t, time.Minute)) {
		if err != nil {
			t.Fatal(err)
		}
		id := binary.LittleEndian.Uint64(m.Value)
		if key := id % killKeys; next[key] != id {
			t.Fatalf("partition %d, offset %d holds message %d, want %d", m.Partition, m.Offset, id, next[key])
		}
		next[id%killKeys] += killKeys
		if acks != nil {
			if got, ok := acks.at[m.Partition][m.Offset]; !ok || got != id {
				t.Fatalf("partition %d, offset %d holds message %d, acknowledged was %d, %v",
					m.Partition, m.Offset, id, got, ok)
			}
		}
		if count++; count == published {
			break
		}
	}
	if count != published {
		t.Fatalf("the log holds %d messages, want %d", count, published)
	}
	if total := logEnd(t, bus, topic); total != int64(published) {
		t.Errorf("the log holds %d messages, want %d", total, published)
	}
}

func logEnd(t *testing.T, bus *leat.Bus, topic string) (total int64) {
	t.Helper()
	infos, err := bus.Topics(soon(t, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		if info.Name == topic {
			for _, p := range info.Partitions {
				total += p.End
			}
		}
	}
	return total
}

// TestKillUnderCommand: `leat pub` sends lines through kills of the server, goes on by itself, and the log
// holds every line once and in order.
func TestKillUnderCommand(t *testing.T) {
	random := seeded(t)
	s := newServer(t)
	bus := s.dial(leat.WithUnreachableAfter(time.Minute))
	const topic = "lines"
	createTopic(t, bus, topic, 4)
	lines := pick(200_000, 1_000_000)
	var input bytes.Buffer
	for i := range lines {
		fmt.Fprintf(&input, "key-%d\t%d\n", i%killKeys, i)
	}
	pub := exec.Command(program, "pub", topic, "-", "--key-sep", "\t", "-o", "json", "-s", s.address)
	pub.Stdin = slowly{&input}
	var out, errs bytes.Buffer
	pub.Stdout, pub.Stderr = &out, &errs
	if err := pub.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var failure error
	go func() { // the loop below waits for done
		defer close(done)
		failure = pub.Wait()
	}()
	kills := s.killWhile(random, done)
	if failure != nil {
		t.Fatalf("leat pub: %v\n%s\n%s", failure, out.String(), errs.String())
	}
	var result struct {
		Published int `json:"published"`
	}
	if err := json.Unmarshal(out.Bytes(), &result); err != nil || result.Published != lines {
		t.Fatalf("leat pub said %s (%v), want %d published", out.String(), err, lines)
	}
	t.Logf("%d lines, %d kills", lines, kills)
	if kills < 2 {
		t.Errorf("%d kills: the run proves nothing", kills)
	}
	checkLines(t, bus, topic, lines)
}

// slowly hands out a little at a time, so that a run lasts for some kills.
type slowly struct{ from *bytes.Buffer }

// Read implements io.Reader.
func (s slowly) Read(p []byte) (int, error) {
	<-time.After(time.Millisecond)
	return s.from.Read(p[:min(len(p), 2<<10)])
}

func checkLines(t *testing.T, bus *leat.Bus, topic string, lines int) {
	t.Helper()
	sub, err := bus.Subscribe(topic, leat.From(leat.Earliest))
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	next := map[string]int{}
	for i := range killKeys {
		next[fmt.Sprint("key-", i)] = i
	}
	count := 0
	for m, err := range sub.Messages(soon(t, time.Minute)) {
		if err != nil {
			t.Fatal(err)
		}
		want, ok := next[string(m.Key)]
		if !ok || string(m.Value) != fmt.Sprint(want) {
			t.Fatalf("%s: line %s, want %d", m.Key, m.Value, want)
		}
		next[string(m.Key)] += killKeys
		if count++; count == lines {
			break
		}
	}
	if total := logEnd(t, bus, topic); count != lines || total != int64(lines) {
		t.Errorf("%d lines read, the log holds %d, want %d", count, total, lines)
	}
}
