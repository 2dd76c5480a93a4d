package main

import (
	"context"
	"encoding/binary"
	"time"
)

// tick is one trade of the feed. All its fields have a fixed size, so that it can be written in place.
type tick struct {
	number uint64        // in the feed, from 0
	due    time.Duration // when it was to be sent, since the feed began
	symbol uint32        // which of symbols
	price  uint32        // in cents; 0 says that the market has closed and no tick follows
	size   uint32        // shares traded
}

const tickBytes = 28

func (t *tick) encode(dst []byte) {
	_ = dst[tickBytes-1]
	binary.LittleEndian.PutUint64(dst[0:], t.number)
	binary.LittleEndian.PutUint64(dst[8:], uint64(t.due))
	binary.LittleEndian.PutUint32(dst[16:], t.symbol)
	binary.LittleEndian.PutUint32(dst[20:], t.price)
	binary.LittleEndian.PutUint32(dst[24:], t.size)
}

func (t *tick) decode(src []byte) {
	_ = src[tickBytes-1]
	t.number = binary.LittleEndian.Uint64(src[0:])
	t.due = time.Duration(binary.LittleEndian.Uint64(src[8:]))
	t.symbol = binary.LittleEndian.Uint32(src[16:])
	t.price = binary.LittleEndian.Uint32(src[20:])
	t.size = binary.LittleEndian.Uint32(src[24:])
}

var symbols = [][]byte{
	[]byte("ALD"), []byte("BRK"), []byte("CYG"), []byte("DRX"), []byte("ELM"), []byte("FJD"), []byte("GRV"),
	[]byte("HLX"), []byte("IVY"), []byte("JNP"), []byte("KST"), []byte("LYN"), []byte("MRO"), []byte("NVA"),
}

// market makes up ticks: prices walk at random, a few symbols trade more than the rest, small trades are
// common and large ones rare. The same seed gives the same ticks.
type market struct {
	random uint64
	number uint64
	prices [16]uint32 // by symbol
}

func newMarket(seed uint64) *market {
	m := &market{random: seed}
	for i := range m.prices {
		m.prices[i] = 1_000 + uint32(m.draw(20_000))
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

// next makes the next tick, which is to be sent at due.
func (m *market) next(due time.Duration) tick {
	symbol := min(m.draw(uint64(len(symbols))), m.draw(uint64(len(symbols))))
	price := max(int64(m.prices[symbol])+int64(m.draw(11))-5, 1)
	m.prices[symbol] = uint32(price)
	t := tick{number: m.number, due: due, symbol: uint32(symbol), price: uint32(price),
		size: 100 << m.draw(4)}
	m.number++
	return t
}

// feed sends ticks at a steady rate, from start on, until it has lasted long enough or ctx ends, and then
// that the market has closed. A feed that is late sends what it missed at once: each tick keeps its time.
func feed(ctx context.Context, o options, start time.Time, send func(*tick) error) (ticks uint64, err error) {
	m := newMarket(o.seed)
	gap := float64(time.Second) / float64(o.rate)
	for ctx.Err() == nil {
		due := time.Duration(float64(m.number) * gap)
		if due >= o.lasts {
			break
		}
		if early := due - time.Since(start); early > 0 {
			time.Sleep(early)
		}
		t := m.next(due)
		if err := send(&t); err != nil {
			return m.number, err
		}
	}
	return m.number, send(&tick{number: m.number, due: time.Since(start)})
}
