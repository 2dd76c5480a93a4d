package nettest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

const clusterPartitions = 6

// startCluster starts three servers that know each other.
func startCluster(t *testing.T) []*server {
	t.Helper()
	nodes := make([]*server, 3)
	var peers []string
	for i := range nodes {
		nodes[i] = &server{t: t, dir: t.TempDir(), address: freeAddress(t), http: freeHTTP(t)}
		peers = append(peers, fmt.Sprintf("%d=%s", i+1, nodes[i].address))
	}
	for i, s := range nodes {
		s.flags = []string{"--node", strconv.Itoa(i + 1), "--peers", strings.Join(peers, ",")}
		s.start()
		t.Cleanup(func() {
			if s.cmd != nil {
				s.terminate()
			}
		})
	}
	return nodes
}

// TestNodeKilledUnderLoad: of three nodes under load one is killed. Only its partitions fail, within the
// time a call waits, and retriably; when it is back everything goes on by itself, and nothing acknowledged
// is missing or there twice.
func TestNodeKilledUnderLoad(t *testing.T) {
	nodes := startCluster(t)
	// Knows one address. Longer than a busy machine holds up nodes that live.
	bus := nodes[0].dial(leat.WithUnreachableAfter(4 * time.Second))
	const topic = "shared"
	createTopic(t, bus, topic, clusterPartitions)
	led := leaders(t, bus, topic)
	load := startLoad(t, bus, topic)
	load.await(t, 200) // a partition has no folder before its first record
	checkFolders(t, nodes, led)
	dead := nodes[2]
	dead.kill()
	began := time.Now()
	<-time.After(pick(2*time.Second, 10*time.Second))
	down := load.awaitFailures(t, func(partition int) bool { return led[partition] == 3 })
	for partition, f := range down {
		switch {
		case led[partition] != 3 && f.count > 0:
			t.Errorf("partition %d of node %d failed while node 3 was dead: %v", partition, led[partition], f.last)
		case led[partition] == 3 && !errors.Is(f.last, leat.ErrUnavailable):
			t.Errorf("partition %d of the dead node: %v, want ErrUnavailable", partition, f.last)
		case led[partition] == 3 && !leat.Retryable(f.last):
			t.Errorf("partition %d of the dead node: %v is not retryable", partition, f.last)
		}
	}
	t.Logf("the first publish to the dead node failed after %v; the slowest answer took %v",
		load.firstFailure(began), load.slowest())
	dead.start()
	load.recover(t)
	load.stop()
	load.check(t, bus, topic)
}

// leaders gives the node of each partition.
func leaders(t *testing.T, bus *leat.Bus, topic string) (led [clusterPartitions]uint16) {
	t.Helper()
	infos, err := bus.Topics(soon(t, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		if info.Name == topic {
			for _, p := range info.Partitions {
				led[p.Partition] = p.Node
			}
		}
	}
	for node := range uint16(3) {
		if !slices.Contains(led[:], node+1) {
			t.Fatalf("node %d has no partition: %v", node+1, led)
		}
	}
	return led
}

// checkFolders: each node's folder holds its own partitions of users' topics only.
func checkFolders(t *testing.T, nodes []*server, led [clusterPartitions]uint16) {
	t.Helper()
	const firstUserTopic = 16
	for i, s := range nodes {
		own := 0
		found, err := filepath.Glob(filepath.Join(s.dir, "t", "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range found {
			id, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
			partition, err := strconv.Atoi(filepath.Base(dir))
			if id < firstUserTopic || err != nil {
				continue
			}
			if led[partition] != uint16(i+1) {
				t.Errorf("node %d has a folder for partition %d, which node %d leads", i+1, partition, led[partition])
			}
			own++
		}
		if own == 0 {
			t.Errorf("node %d has no folder of a partition: nothing was compared", i+1)
		}
	}
}

// load publishes to every partition, one message after the other, and tries again what failed.
type load struct {
	done    sync.WaitGroup
	ending  chan struct{}
	mu      sync.Mutex // guards the following
	acked   [clusterPartitions]map[int64]uint64
	failed  [clusterPartitions]failure
	first   time.Time
	longest time.Duration
}

type failure struct {
	count int
	last  error
}

func startLoad(t *testing.T, bus *leat.Bus, topic string) *load {
	t.Helper()
	p, err := bus.Producer(topic, leat.WithPartitioner(leat.Manual))
	if err != nil {
		t.Fatal(err)
	}
	l := &load{ending: make(chan struct{})}
	for partition := range int32(clusterPartitions) {
		l.acked[partition] = map[int64]uint64{}
		l.done.Go(func() {
			for id := uint64(0); ; id++ {
				select {
				case <-l.ending:
					return
				default:
				}
				value := binary.LittleEndian.AppendUint64(nil, id)
				start := time.Now()
				r, err := p.Publish(t.Context(), leat.Message{Partition: partition, Value: value})
				l.note(partition, id, r, err, start)
			}
		})
	}
	return l
}

func (l *load) note(partition int32, id uint64, r leat.Receipt, err error, start time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.longest = max(l.longest, time.Since(start))
	if err != nil {
		if l.first.IsZero() {
			l.first = time.Now()
		}
		l.failed[partition].count++
		l.failed[partition].last = err
		return
	}
	l.acked[partition][r.Offset] = id
}

// await waits until every partition has n acknowledged messages more.
func (l *load) await(t *testing.T, n int) {
	t.Helper()
	var want [clusterPartitions]int
	l.mu.Lock()
	for i := range want {
		want[i] = len(l.acked[i]) + n
	}
	l.mu.Unlock()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	ctx := soon(t, 30*time.Second)
	for {
		behind := -1
		l.mu.Lock()
		for i := range want {
			if len(l.acked[i]) < want[i] {
				behind = i
			}
		}
		l.mu.Unlock()
		if behind < 0 {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("partition %d has too few acknowledged messages after 30 s: %v",
				behind, l.failures()[behind].last)
		}
	}
}

// awaitFailures waits until each of some partitions has failed, and gives the failures of all.
func (l *load) awaitFailures(t *testing.T, of func(partition int) bool) [clusterPartitions]failure {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	ctx := soon(t, 30*time.Second)
	for {
		failed, missing := l.failures(), 0
		for i := range failed {
			if of(i) && failed[i].count == 0 {
				missing++
			}
		}
		if missing == 0 {
			return failed
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("%d partitions of the dead node have not failed after 30 s", missing)
		}
	}
}

func (l *load) recover(t *testing.T) {
	t.Helper()
	start := time.Now()
	l.await(t, 50)
	t.Logf("everything went on %v after the node was ready", time.Since(start))
}

func (l *load) failures() [clusterPartitions]failure {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

func (l *load) firstFailure(since time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first.Sub(since)
}

func (l *load) slowest() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.longest
}

func (l *load) stop() {
	close(l.ending)
	l.done.Wait()
}

// check reads everything: what was acknowledged is where its receipt says, and no message is there twice.
func (l *load) check(t *testing.T, bus *leat.Bus, topic string) {
	t.Helper()
	sub, err := bus.Subscribe(topic, leat.From(leat.Earliest))
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	left := logEnd(t, bus, topic)
	var next [clusterPartitions]uint64
	for m, err := range sub.Messages(soon(t, time.Minute)) {
		if err != nil {
			t.Fatal(err)
		}
		id := binary.LittleEndian.Uint64(m.Value)
		if id < next[m.Partition] {
			t.Fatalf("partition %d, offset %d: message %d comes again or late", m.Partition, m.Offset, id)
		}
		next[m.Partition] = id + 1
		if acked, ok := l.acked[m.Partition][m.Offset]; ok && acked != id {
			t.Fatalf("partition %d, offset %d holds %d, acknowledged was %d", m.Partition, m.Offset, id, acked)
		}
		delete(l.acked[m.Partition], m.Offset)
		if left--; left == 0 {
			break
		}
	}
	for partition, missing := range l.acked {
		if len(missing) > 0 {
			t.Errorf("partition %d: %d acknowledged messages are missing", partition, len(missing))
		}
	}
}
