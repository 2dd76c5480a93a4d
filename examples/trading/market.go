package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/leatbus/leat"
)

// tick is a trade of one instrument. All its fields have a fixed size, so that it can be written in place.
type tick struct {
	number     uint64        // among the ticks of its instrument, from 0
	due        time.Duration // when the market was to send it, since it opened
	instrument uint32
	price      uint32 // in cents
	size       uint32 // shares; 0 for the price at which the market has closed, the last tick of its instrument
}

const tickBytes = 28

func (t *tick) closing() bool { return t.size == 0 }

func (t *tick) encode(dst []byte) {
	_ = dst[tickBytes-1]
	binary.LittleEndian.PutUint64(dst[0:], t.number)
	binary.LittleEndian.PutUint64(dst[8:], uint64(t.due))
	binary.LittleEndian.PutUint32(dst[16:], t.instrument)
	binary.LittleEndian.PutUint32(dst[20:], t.price)
	binary.LittleEndian.PutUint32(dst[24:], t.size)
}

// decode refuses what is no tick of a market of so many instruments.
func (t *tick) decode(src []byte, instruments int) error {
	if len(src) != tickBytes {
		return fmt.Errorf("a tick of %d bytes, want %d", len(src), tickBytes)
	}
	t.number = binary.LittleEndian.Uint64(src[0:])
	t.due = time.Duration(binary.LittleEndian.Uint64(src[8:]))
	t.instrument = binary.LittleEndian.Uint32(src[16:])
	t.price = binary.LittleEndian.Uint32(src[20:])
	t.size = binary.LittleEndian.Uint32(src[24:])
	if int64(t.instrument) >= int64(instruments) {
		return fmt.Errorf("a tick of instrument %d, there are %d", t.instrument, instruments)
	}
	return nil
}

// market makes up ticks: prices walk at random, and some instruments trade far more than others. The same
// seed gives the same ticks.
type market struct {
	random  uint64
	symbols [][]byte
	last    []tick // by instrument
}

func newMarket(seed uint64, instruments int) *market {
	m := &market{random: seed, symbols: make([][]byte, instruments), last: make([]tick, instruments)}
	for i := range m.last {
		m.symbols[i] = fmt.Appendf(nil, "%c%c%c%d", 'A'+m.draw(26), 'A'+m.draw(26), 'A'+m.draw(26), i)
		m.last[i] = tick{number: ^uint64(0), instrument: uint32(i), price: uint32(1_000 + m.draw(50_000))}
	}
	return m
}

// draw gives a number below n, from the generator splitmix64.
func (m *market) draw(n uint64) uint64 {
	m.random += 0x9e3779b97f4a7c15
	z := m.random
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return (z ^ z>>31) % n
}

// trade makes the next tick, which is to be sent at due.
func (m *market) trade(due time.Duration) *tick {
	n := uint64(len(m.last))
	t := &m.last[min(m.draw(n), m.draw(n), m.draw(n))]
	t.number++
	t.due = due
	t.price = uint32(max(int64(t.price)+int64(m.draw(11))-5, 1))
	t.size = 100 << m.draw(4)
	return t
}

// feed is a market that sends its ticks to a topic.
type feed struct {
	market   *market
	producer *leat.Producer
	failed   error // belongs to the callbacks until Flush returns
}

// run sends ticks at a steady rate, from start on, until it has lasted long enough or ctx ends, and then the
// closing price of each instrument. A feed that is late sends what it missed at once: each tick keeps its
// time.
func (f *feed) run(ctx context.Context, start time.Time, rate int, lasts time.Duration) (int64, error) {
	ticks := int64(0)
	gap := float64(time.Second) / float64(rate)
	for ctx.Err() == nil {
		due := time.Duration(float64(ticks) * gap)
		if due >= lasts {
			break
		}
		if early := due - time.Since(start); early > 0 {
			time.Sleep(early)
		}
		if err := f.send(f.market.trade(due)); err != nil {
			return ticks, err
		}
		ticks++
	}
	for i := range f.market.last {
		t := &f.market.last[i]
		t.number++
		t.due = time.Since(start)
		t.size = 0
		if err := f.send(t); err != nil {
			return ticks, err
		}
		ticks++
	}
	err := f.producer.Flush(context.Background())
	return ticks, cmp.Or(err, f.failed)
}

// send writes a tick straight into the buffer that is published: nothing of this allocates. The symbol is the
// key, so that the ticks of an instrument keep their order.
func (f *feed) send(t *tick) error {
	c, err := f.producer.Claim(context.Background(), f.market.symbols[t.instrument], tickBytes)
	if err != nil {
		return err
	}
	t.encode(c.Bytes())
	c.PublishAsync(f.answered)
	return nil
}

func (f *feed) answered(_ leat.Receipt, err error) { f.failed = cmp.Or(f.failed, err) }
