package core

import (
	"testing"
	"time"
)

func TestProducedDelaysAreChecked(t *testing.T) {
	const now = int64(1_800_000_000_000_000_000)
	want := Delayed{Topic: 17, Partition: 3, Level: AckDisk}
	key := DelayKey{1, 2}.Encode(nil)
	inner := encodedRecord(t, []byte("k"), []byte("v"))
	message := func(change func(*Delayed)) []byte {
		m := Delayed{Topic: 17, Partition: 3, Level: AckDisk, Due: now + 1, Replaces: -1, Record: inner}
		change(&m)
		return encodedRecord(t, key, m.Encode(nil))
	}
	right := message(func(*Delayed) {})
	value := decodedRecord(t, right).Value
	mark := DelayMarkAt{Topic: 17, Partition: 3, Offset: 1}
	extended := func(x Extras) []byte {
		size, err := ExtendedRecordSize(1, 1, nil, x)
		if err != nil {
			t.Fatal(err)
		}
		record := make([]byte, size)
		PutExtendedRecord(record, []byte("k"), []byte("v"), nil, keyHashOf("k"), 0, x)
		return record
	}
	newer := append([]byte(nil), value...)
	newer[0] = DelayVersion + 1
	tests := []struct {
		name   string
		record []byte
		code   Code
	}{
		{"right", right, 0},
		{"overdue", message(func(m *Delayed) { m.Due = 0 }), 0},
		{"in ten years, by another clock", message(func(m *Delayed) { m.Due = now + int64(MaxDelay) + 1 }), 0},
		{"later", message(func(m *Delayed) { m.Due = now + int64(MaxDelay) + delaySkew + 1 }), CodeInvalidRecord},
		{"relative", message(func(m *Delayed) { m.Relative, m.Due = true, int64(MinDelay) }), 0},
		{"relative, too short", message(func(m *Delayed) { m.Relative, m.Due = true, int64(MinDelay)-1 }),
			CodeInvalidRecord},
		{"relative, too long", message(func(m *Delayed) { m.Relative, m.Due = true, int64(MaxDelay)+1 }),
			CodeInvalidRecord},
		{"with a TTL", message(func(m *Delayed) { m.Record = extended(Extras{TTL: time.Hour}) }), 0},
		{"with an ID", message(func(m *Delayed) { m.Record = extended(Extras{ID: "x"}) }), CodeInvalidRecord},
		{"too large", message(func(m *Delayed) { m.Record = encodedRecord(t, nil, make([]byte, 1000)) }),
			CodeRecordTooLarge},
		{"another topic", message(func(m *Delayed) { m.Topic++ }), CodeInvalidRecord},
		{"another partition", message(func(m *Delayed) { m.Partition++ }), CodeInvalidRecord},
		{"another level", message(func(m *Delayed) { m.Level = AckPage }), CodeInvalidRecord},
		{"of a schedule", message(func(m *Delayed) { m.Scheduled = true }), CodeInvalidRecord},
		{"replaces another", message(func(m *Delayed) { m.Replaces = 0 }), CodeInvalidRecord},
		{"an end", encodedRecord(t, key, nil, DelayedEnd{Offset: 1, Outcome: DelayFired}.Headers()...),
			CodeInvalidRecord},
		{"a mark", encodedRecord(t, mark.EncodeKey(nil), mark.EncodeValue(nil)), CodeInvalidRecord},
		{"no key", encodedRecord(t, nil, value), CodeInvalidRecord},
		{"another key", encodedRecord(t, []byte{DelayVersion, 9}, value), CodeInvalidRecord},
		{"half a value", encodedRecord(t, key, value[:20]), CodeInvalidRecord},
		{"of a newer version", encodedRecord(t, key, newer), CodeVersionTooNew},
		{"headers", encodedRecord(t, key, value, Header{Key: "a"}), CodeInvalidRecord},
	}
	for _, tt := range tests {
		r := decodedRecord(t, tt.record)
		err := CheckProducedDelay(&r, want, now, 1000)
		if got := CodeOf(err); tt.code == 0 && err != nil || tt.code != 0 && (err == nil || got != tt.code) {
			t.Errorf("%s: %v, want code %d", tt.name, err, tt.code)
		}
	}
}

func keyHashOf(key string) uint64 { return keyHash(&Record{Key: []byte(key)}) }

// FuzzProducedDelay: nothing from outside panics, and what passes decodes, does not touch other messages, and
// can be delivered.
func FuzzProducedDelay(f *testing.F) {
	m := Delayed{Topic: 17, Partition: 3, Level: AckDisk, Due: 5, Replaces: -1,
		Record: encodedRecord(f, []byte("key"), []byte("value"), Header{"a", []byte("b")})}
	f.Add(encodedRecord(f, DelayKey{1, 2}.Encode(nil), m.Encode(nil)))
	m.Replaces = 1
	f.Add(encodedRecord(f, DelayKey{1, 2}.Encode(nil), m.Encode(nil)))
	end := DelayedEnd{Offset: 1, Outcome: DelayFired}
	f.Add(encodedRecord(f, DelayKey{1, 2}.Encode(nil), nil, end.Headers()...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, _, err := DecodeRecord(raw)
		want := Delayed{Topic: 17, Partition: 3, Level: AckDisk}
		if err != nil || CheckProducedDelay(&r, want, 10, 1<<20) != nil {
			return
		}
		d, err := DecodeDelayRecord(&r)
		if err != nil || d.Kind != DelayMessage || d.Message.Replaces >= 0 {
			t.Fatalf("%x passes and is %+v, %v", raw, d, err)
		}
		fired := AppendFired(nil, d.Message.Record, DelayHandle{Topic: 17, Partition: 3}.String())
		if n, ok := producedRecordSize(fired, 1<<20); !ok || n != len(fired) {
			t.Errorf("%x is delivered as %x", raw, fired)
		}
	})
}
