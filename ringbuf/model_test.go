package ringbuf

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// ringModel is a ring as plain lists, driven by one goroutine through random calls.
type ringModel struct {
	t         *testing.T
	random    *rand.Rand
	ring      *Ring[int]
	producers []*Producer[int]
	open      []*modelClaim // per producer
	consumers []*modelConsumer
	claims    []*modelClaim // in claim order; with one producer, in publish order
	claimed   int64
	value     int
}

type modelClaim struct {
	batch   Batch[int]
	values  []int
	done    bool
	aborted bool
}

type modelConsumer struct {
	*Consumer[int]
	taken int // values released, from the start
	given int // values returned, from the start
	last  int // and by the last Poll
}

func newRingModel(t *testing.T, random *rand.Rand) *ringModel {
	capacity := 1 << random.IntN(7)
	o := Options{Producers: 1 + random.IntN(min(4, capacity)), Wait: Block}
	o.MaxBatch = 1 + random.IntN(capacity/o.Producers)
	near := []int64{0, 1 << 31, 1 << 32, 1 << 53, 1 << 61}[random.IntN(5)]
	m := &ringModel{t: t, random: random, claimed: max(0, near-random.Int64N(300))}
	m.ring = mustRing[int](t, capacity, o, m.claimed)
	for range o.Producers {
		m.producers = append(m.producers, mustProducer(t, m.ring))
	}
	m.open = make([]*modelClaim, o.Producers)
	for range 1 + random.IntN(3) {
		m.consumers = append(m.consumers, &modelConsumer{Consumer: mustConsumer(t, m.ring)})
	}
	return m
}

func TestRingAgainstModel(t *testing.T) {
	forSeeds(t, cut(400, 80), func(t *testing.T, random *rand.Rand) {
		m := newRingModel(t, random)
		for range 600 {
			m.step()
			if t.Failed() {
				return
			}
		}
		m.close()
	})
}

func (m *ringModel) step() {
	i := m.random.IntN(len(m.producers))
	switch m.random.IntN(5) {
	case 0, 1:
		if m.open[i] == nil {
			m.tryClaim(i)
		} else {
			m.finish(i)
		}
	case 2:
		m.finish(i)
	case 3:
		m.poll(m.consumers[m.random.IntN(len(m.consumers))])
	default:
		m.release(m.consumers[m.random.IntN(len(m.consumers))])
	}
}

func (m *ringModel) tryClaim(i int) {
	n := 1 + m.random.IntN(int(m.ring.maxBatch))
	slowest := m.released(m.consumers[0])
	for _, c := range m.consumers {
		slowest = min(slowest, m.released(c))
	}
	headroom := int64(len(m.producers)-1) * m.ring.maxBatch
	want := m.claimed+int64(n)+headroom <= slowest+int64(m.ring.Cap())
	b, ok := m.producers[i].TryClaim(n)
	if ok != want {
		m.t.Errorf("TryClaim(%d) = %v, want %v: claimed %d, slowest %d", n, ok, want, m.claimed, slowest)
	}
	if !ok {
		return
	}
	claim := &modelClaim{batch: b}
	for range n {
		m.value++
		claim.values = append(claim.values, m.value)
	}
	fillBatch(b, claim.values...)
	m.open[i] = claim
	if m.ring.shared() {
		m.claimed += int64(n)
		m.claims = append(m.claims, claim)
	}
}

// released is where the claim begins that the consumer's first slot lies in.
func (m *ringModel) released(c *modelConsumer) int64 {
	if !m.ring.shared() {
		return c.next
	}
	at := m.ring.start
	for _, claim := range m.claims {
		if n := int64(len(claim.values)); at+n <= c.next {
			at += n
		} else {
			break
		}
	}
	if at != c.released.value.Load() {
		m.t.Errorf("released to %d, want %d, where the claim of %d begins", c.released.value.Load(), at, c.next)
	}
	return at
}

func (m *ringModel) finish(i int) {
	claim := m.open[i]
	if claim == nil {
		return
	}
	m.open[i] = nil
	claim.done, claim.aborted = true, m.random.IntN(4) == 0
	if claim.aborted {
		m.producers[i].Abort(claim.batch)
		return
	}
	m.producers[i].Publish(claim.batch)
	if !m.ring.shared() { // alone, an aborted claim takes no sequence
		m.claimed += int64(len(claim.values))
		m.claims = append(m.claims, claim)
	}
}

// visible is what a consumer may see: everything published in front of the first unfinished claim.
// whole tells whether no aborted claim follows a published one, at which a run may end.
func (m *ringModel) visible() (values []int, whole bool) {
	whole = true
	for _, claim := range m.claims {
		if !claim.done {
			break
		}
		if claim.aborted {
			whole = false
			continue
		}
		values = append(values, claim.values...)
	}
	return values, whole
}

func (m *ringModel) poll(c *modelConsumer) {
	values, whole := m.visible()
	want := values[c.given:]
	first, second := c.Poll()
	got := slices.Concat(first, second)
	if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) || len(got) == 0 && len(want) != 0 ||
		whole && len(got) != len(want) {
		m.t.Errorf("Poll() = %v, want %v (all of them: %v)", got, want, whole)
	}
	if len(got) > 0 {
		c.given, c.last = c.given+len(got), len(got)
	}
}

func (m *ringModel) release(c *modelConsumer) {
	switch m.random.IntN(4) {
	case 0:
		c.Rewind()
		c.given, c.last = c.taken, 0
	case 1:
		n := m.random.IntN(c.last + 1)
		c.ReleaseTo(n)
		c.taken = max(c.taken, c.given-c.last+n)
	default:
		c.Release()
		c.taken = c.given
	}
}

// close ends the run: what is published by then arrives at every consumer, and then ErrClosed.
func (m *ringModel) close() {
	if m.random.IntN(2) == 0 {
		m.finishAll()
	}
	m.ring.Seal()
	m.finishAll() // batches claimed before Close count
	values, _ := m.visible()
	for i, c := range m.consumers {
		c.Rewind()
		for {
			first, second, err := c.Next(m.t.Context())
			if err != nil {
				if !errors.Is(err, ErrClosed) || c.taken != len(values) {
					m.t.Errorf("consumer %d: %v after %d of %d values", i, err, c.taken, len(values))
				}
				break
			}
			got := slices.Concat(first, second)
			if !slices.Equal(got, values[c.taken:c.taken+len(got)]) {
				m.t.Errorf("consumer %d: %v at %d, want %v", i, got, c.taken, values[c.taken:])
				break
			}
			c.taken += len(got)
			c.Release()
		}
	}
	if _, err := m.producers[0].Claim(m.t.Context(), 1); !errors.Is(err, ErrClosed) || m.ring.Len() != 0 {
		m.t.Errorf("after the end: Claim = %v, Len() = %d, want ErrClosed, 0", err, m.ring.Len())
	}
}

func (m *ringModel) finishAll() {
	for i := range m.open {
		m.finish(i)
	}
}
