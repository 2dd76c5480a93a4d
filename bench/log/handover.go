package log

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/internal/benchkit"
	"github.com/leatbus/leat/internal/clock"
)

const (
	handoverTimes = 3       // times the usual length
	heapBytes     = 4 << 30 // of the heap beside it, in nodes
	nodeBytes     = 1024
)

// node is a piece of the heap that the garbage collector has to walk.
type node struct {
	next [4]*node
	_    [nodeBytes - 4*8]byte
}

// neighbour is a heap that somebody works on.
type neighbour struct {
	nodes []*node
	quit  chan struct{}
	ended chan struct{}
}

// newNeighbour fills a heap and replaces 64 KiB of it every millisecond until stop.
func newNeighbour(bytes int) *neighbour {
	n := &neighbour{nodes: make([]*node, bytes/nodeBytes), quit: make(chan struct{}), ended: make(chan struct{})}
	for i := range n.nodes {
		n.nodes[i] = n.made(i)
	}
	go n.work()
	return n
}

// made makes a node that leads to others.
func (n *neighbour) made(i int) *node {
	made := new(node)
	for j := range made.next {
		made.next[j] = n.nodes[(i*7+j*len(n.nodes)/4)%len(n.nodes)]
		if other := made.next[j]; other != nil {
			other.next = [4]*node{} // no chain of nodes that were replaced
		}
	}
	return made
}

func (n *neighbour) work() {
	defer close(n.ended)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := 0; ; {
		select {
		case <-tick.C:
		case <-n.quit:
			return
		}
		for range 64 << 10 / nodeBytes {
			i = (i + 8191) % len(n.nodes)
			n.nodes[i] = n.made(i)
		}
	}
}

func (n *neighbour) stop() {
	close(n.quit)
	<-n.ended
	n.nodes = nil
}

// handover writes in one goroutine and reads in another one, beside a busy heap.
func (s *suite) handover() benchkit.Scenario {
	scenario, p := s.handovers("handover-256", "a heap of 4 GiB of which 64 MiB are replaced per second", false)
	s.chronicleCase(&scenario, p, "handover", recordBytesLarge, handoverTimes)
	return scenario
}

// handoverCollecting is handover while a collection runs, from the start of each round.
func (s *suite) handoverCollecting() benchkit.Scenario {
	scenario, _ := s.handovers("handover-collecting",
		"a heap of 4 GiB of which 64 MiB are replaced per second, and which is collected once in each round", true)
	return scenario
}

func (s *suite) handovers(name, beside string, collect bool) (benchkit.Scenario, *places) {
	scenario, p := s.scenario(name, fmt.Sprintf(
		"write %d B at %d M/s in one goroutine, read in another, checked, from the intended time; beside %s",
		recordBytesLarge, pacedRate/1_000_000, beside))
	scenario.Measure, scenario.Threads = benchkit.ByP50, 2
	scenario.Open = func(context.Context) (func() error, error) {
		size := heapBytes
		if s.length < 100*time.Millisecond {
			size = 64 << 20 // a look at whether it works
		}
		heap := newNeighbour(size)
		return func() error {
			heap.stop()
			return p.close()
		}, p.open()
	}
	scenario.Cases = []benchkit.Case{
		s.handoverCase(p, &ours, collect, oursPair), s.handoverCase(p, &mapFloor, collect, mapPair),
	}
	return scenario, p
}

// pair is the two sides of a log: write appends, and follow waits for records from a number on and shows
// what there is, but none from number end on.
type pair struct {
	write  func(record []byte) error
	follow func(end int64, visit func(record []byte) error) error
}

func oursPair(s store) pair {
	log := s.(*oursStore).log
	reader := log.Reader(log.End())
	return pair{s.append, func(end int64, visit func([]byte) error) error {
		for reader.Offset() < end {
			run, err := reader.Next(end)
			if err != nil {
				return err
			}
			if err := eachRecord(run, visit); err != nil {
				return err
			}
		}
		return reader.Close()
	}}
}

// mapPair copies into the map and moves a mark behind each record, which is all that is needed in a process.
func mapPair(s store) pair {
	m := s.(*mapStore)
	var written atomic.Int64
	at := m.at
	buffer := make([]byte, recordBytesLarge)
	return pair{
		func(record []byte) error {
			err := m.append(record)
			written.Add(1)
			return err
		},
		func(end int64, visit func([]byte) error) error {
			for read := int64(0); read < end; read++ {
				for written.Load() <= read {
				}
				if at+recordBytesLarge > len(m.bytes) {
					at = 0
				}
				at += copy(buffer, m.bytes[at:])
				if err := visit(buffer); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (s *suite) handoverCase(p *places, k *kind, collect bool, of func(store) pair) benchkit.Case {
	var b *burster
	return benchkit.Case{Name: k.name, Role: k.role, Level: k.level, Note: k.note,
		Run: func(_ context.Context, round int) (sample benchkit.Sample, err error) {
			length := handoverTimes * s.length
			if round == benchkit.WarmUp {
				length = s.length
			}
			if b == nil {
				if b, err = newBurster(p, k, recordBytesLarge, 1, s.length); err != nil {
					return sample, err
				}
			}
			if p, ok := b.store.(interface{ prepare() error }); ok {
				if err := p.prepare(); err != nil {
					return sample, err
				}
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			collected := make(chan struct{})
			go func() {
				defer close(collected)
				if collect {
					runtime.GC()
				}
			}()
			sample, err = b.hand(k, of(b.store), int64(length)*pacedRate/1e9)
			<-collected
			runtime.ReadMemStats(&after)
			sample.More = append(sample.More, benchkit.Figure{Name: "collections of the heap, " + k.name,
				Value: float64(after.NumGC - before.NumGC), Unit: "per round"})
			return sample, err
		}}
}

// hand writes n records at the pace and reads them.
func (b *burster) hand(k *kind, p pair, n int64) (benchkit.Sample, error) {
	h := benchkit.NewHistogram()
	tally := newTally(recordBytesLarge, b.next)
	end := b.next + n
	if _, ok := b.store.(*mapStore); ok {
		end = n // it counts from here
	}
	failed := make(chan error, 1)
	go func() {
		failed <- p.follow(end, func(record []byte) error {
			err := tally.see(record)
			h.Record(clock.System.Mono() - intended(record))
			return err
		})
	}()
	record := b.records[0]
	var err error
	pacer := benchkit.NewPacer(clock.System, pacedRate)
	start := clock.System.Mono()
	for i := int64(0); i < n && err == nil; i++ {
		setIntended(record, pacer.Wait())
		setNumber(record, b.next)
		b.next++
		err = p.write(record)
	}
	took := clock.System.Mono() - start
	setIntended(record, 0)
	if err != nil {
		return benchkit.Sample{}, fmt.Errorf("the writer stopped, and with it the reader: %w", err)
	}
	err = <-failed
	sample := benchkit.Sample{Ops: n, Lost: b.next - tally.next}
	sample.Measured(h)
	sample.More = []benchkit.Figure{reached(k.name, n, took)}
	return sample, err
}
