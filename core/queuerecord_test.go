package core

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

var queueRecords = []QueueRecord{
	{Group: "workers", TopicID: 16, Partition: 3, Offset: -1, Progress: []byte{1, 2, 3}},
	{Group: "w", TopicID: 1 << 40, Partition: MaxPartitions - 1, Offset: 0, Attempts: 1, Due: 5},
	{Group: "workers", TopicID: 16, Offset: 1 << 50, Attempts: 16, Code: CodeRejected, Due: -1},
	{Group: "workers", TopicID: 16, Offset: 1, Attempts: 2, Code: CodeAttemptsExhausted, Reason: "no stock"},
	{Group: "workers", TopicID: 16, Offset: 7, Removed: true},
	{Group: "workers", TopicID: 16, Offset: -1, Removed: true},
}

func encodeQueueRecord(r *QueueRecord) (key, value []byte) {
	if !r.Removed {
		value = r.EncodeValue(nil)
	}
	return r.EncodeKey(nil), value
}

func TestQueueRecord(t *testing.T) {
	for _, r := range queueRecords {
		key, value := encodeQueueRecord(&r)
		got, err := DecodeQueueRecord(key, value)
		if err != nil || !reflect.DeepEqual(got, r) || !IsQueueRecord(key) {
			t.Errorf("decode(encode(%+v)) = %+v, %v", r, got, err)
		}
		if IsProducerName(key) {
			t.Errorf("%x is a producer's name", key)
		}
		if _, err := DecodeCommit(key, value); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%x is a commit: %v", key, err)
		}
	}
	if KeyHash(nil) != 0 || KeyHash([]byte{}) == 0 || KeyHash([]byte("a")) == KeyHash([]byte("b")) {
		t.Error("hashes of keys")
	}
}

func FuzzQueueRecord(f *testing.F) {
	for _, r := range queueRecords {
		key, value := encodeQueueRecord(&r)
		f.Add(key, value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if len(value) == 0 {
			value = nil // an empty value does not come from us
		}
		r, err := DecodeQueueRecord(key, value)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersionTooNew) {
				t.Fatal(err)
			}
			return
		}
		if k, v := encodeQueueRecord(&r); !bytes.Equal(k, key) || !bytes.Equal(v, value) {
			t.Fatalf("%+v encodes to %x, %x", r, k, v)
		}
	})
}

func TestQueueRecordGolden(t *testing.T) {
	q := NewQueue(QueueConfig{}, 0, 0x1112131415161718, 1)
	var out QueueEffects
	q.Step(&QueueInput{Kind: QueueReadable, Offset: 1000}, 1, &out)
	q.Step(&QueueInput{Kind: QueueJoin, Member: 1, Max: 300}, 1, &out)
	for _, e := range out.List {
		if e.Kind == QueueDeliver && e.Offset != 128 {
			g := e.Grant
			g.Left &^= 0x8000_0000_0000_0006
			q.Step(&QueueInput{Kind: QueueAck, Member: 1, Grant: g}, 2, &QueueEffects{})
		}
	}
	progress := QueueRecord{Group: "workers", TopicID: 0x0102030405060708, Partition: 9, Offset: -1,
		Progress: q.EncodeProgress(nil)}
	failed := QueueRecord{Group: "workers", TopicID: 0x0102030405060708, Partition: 9,
		Offset: 0x2122232425262728, Attempts: 3, Code: CodeRejected, Due: 0x3132333435363738}
	goldenHex(t, "queue-progress-key.hex", progress.EncodeKey(nil))
	goldenHex(t, "queue-progress-value.hex", progress.EncodeValue(nil))
	goldenHex(t, "queue-failed-key.hex", failed.EncodeKey(nil))
	goldenHex(t, "queue-failed-value.hex", failed.EncodeValue(nil))
	failed.Reason = "no stock"
	goldenHex(t, "queue-failed-reason.hex", failed.EncodeValue(nil))
}

// TestQueueRecordIsChecked: a value that does not fit its length, or its version, is told.
func TestQueueRecordIsChecked(t *testing.T) {
	r := QueueRecord{Group: "w", TopicID: 16, Offset: 1, Attempts: 2, Code: CodeRejected, Reason: "why"}
	key, good := encodeQueueRecord(&r)
	change := func(at int, to byte) []byte {
		bad := bytes.Clone(good)
		bad[at] = to
		return bad
	}
	for name, tt := range map[string]struct {
		value []byte
		want  error
	}{
		"a newer version":           {change(0, 3), ErrVersionTooNew},
		"no version":                {change(0, 0), ErrCorrupt},
		"a reason in version 1":     {change(0, 1), ErrCorrupt},
		"a reason that is longer":   {change(16, 4), ErrCorrupt},
		"a reason that is shorter":  {change(16, 2), ErrCorrupt},
		"version 2 and no reason":   {change(16, 0)[:queueFailedBytes], ErrCorrupt},
		"a reason of 2⁵⁶ bytes":     {change(23, 1), ErrCorrupt},
		"cut short":                 {good[:queueFailedBytes-1], ErrCorrupt},
		"a reason that is too long": {append(change(17, 5), make([]byte, 5<<8)...), ErrCorrupt},
	} {
		if _, err := DecodeQueueRecord(key, tt.value); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}
