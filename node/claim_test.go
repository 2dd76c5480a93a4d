package node

import (
	"context"
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// TestClaimDoesNotAllocate: neither the claim nor its publish allocates, inline or by reference.
func TestClaimDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p := b.producer("t")
	ctx, key := context.Background(), []byte("key")
	for _, size := range []int{16, 1000, inlineBytes, 100_000} {
		publish := func() {
			c, err := p.Claim(ctx, key, size)
			if err != nil {
				t.Fatal(err)
			}
			binary.LittleEndian.PutUint64(c.Bytes(), 42)
			if err := c.Publish(); err != nil {
				t.Fatal(err)
			}
		}
		for range 100 { // buffers, tables and segments
			publish()
		}
		runtime.GC()
		if allocs := testing.AllocsPerRun(500, publish); allocs > 0.5 {
			t.Errorf("a claim of %d bytes: %.2f allocations", size, allocs)
		}
	}
}

// TestClaimLimits claims up to exactly the topic's limit.
func TestClaimLimits(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage, MaxRecordBytes: 1000})
	p := b.producer("t")
	c, err := p.Claim(soon(t), []byte("key"), 1000-core.RecordHeaderSize-3)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Publish(); err != nil || c.Receipt().Offset != 0 {
		t.Errorf("Publish of the largest: %v, %+v", err, c.Receipt())
	}
	_, err = p.Claim(soon(t), []byte("key"), 1000-core.RecordHeaderSize-2)
	wantError(t, "one byte more", err, leat.ErrRecordTooLarge)
	if c, err = p.Claim(soon(t), nil, 1000-core.RecordHeaderSize); err != nil {
		t.Fatal(err)
	}
	c.Headers = []leat.Header{{Key: "h"}}
	wantError(t, "headers on top", c.Publish(), leat.ErrRecordTooLarge)
}

// TestClaimOfFencedProducer: who was replaced is told before it fills a buffer.
func TestClaimOfFencedProducer(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	older := b.producer("t", leat.WithID("id"))
	held, err := older.Claim(soon(t), nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	newer := b.producer("t", leat.WithID("id"))
	_, err = older.Claim(soon(t), nil, 1)
	wantError(t, "Claim of the older", err, leat.ErrProducerFenced)
	wantError(t, "Publish of what the older had claimed", held.Publish(), leat.ErrProducerFenced)
	c, err := newer.Claim(soon(t), nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Publish(); err != nil {
		t.Errorf("Publish of the newer: %v", err)
	}
}
