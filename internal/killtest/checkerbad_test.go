package killtest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// goodHistory is two partitions with two producers; all but the last record of each partition are
// acknowledged.
func goodHistory() (*history, [][]record) {
	h := &history{started: map[uint64]uint64{7: 6, 9: 6}}
	logs := make([][]record, 2)
	for i := range 12 {
		producer, sequence := uint64(7+2*(i%2)), uint64(i/2)
		partition := i / 6
		r := record{int64(len(logs[partition])), producer, sequence, uint64(1000 + i), nil}
		logs[partition] = append(logs[partition], r)
		if r.offset < 5 {
			h.acks = append(h.acks, ack{int32(partition), r.offset, producer, sequence, r.hash})
		}
	}
	return h, logs
}

func TestCheckerFindsBadHistories(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(h *history, logs [][]record)
		want  []findingKind
	}{
		{"good", func(*history, [][]record) {}, nil},
		{"an unacknowledged tail is cut", func(_ *history, logs [][]record) { logs[0] = logs[0][:5] }, nil},
		{"an acknowledged tail is cut", func(_ *history, logs [][]record) { logs[0] = logs[0][:4] },
			[]findingKind{lost}},
		{"a partition is empty", func(_ *history, logs [][]record) { logs[1] = nil },
			[]findingKind{lost, lost, lost, lost, lost}},
		{"an acknowledged record is dropped", func(_ *history, logs [][]record) {
			logs[0] = slices.Delete(logs[0], 2, 3)
		}, []findingKind{gap, lost}},
		{"the first record is dropped", func(_ *history, logs [][]record) { logs[1] = logs[1][1:] },
			[]findingKind{gap, lost}},
		{"other bytes", func(_ *history, logs [][]record) { logs[0][3].hash++ }, []findingKind{changed}},
		{"broken bytes", func(_ *history, logs [][]record) { logs[0][3].err = errors.New("torn") },
			[]findingKind{damaged, changed}},
		{"another record took the offset", func(h *history, logs [][]record) {
			h.started[9] = 100
			logs[1][4] = record{4, 9, 50, 1, nil}
		}, []findingKind{reordered, lost}},
		{"two records changed places", func(_ *history, logs [][]record) {
			a, b := &logs[0][1], &logs[0][2]
			a.offset, b.offset = b.offset, a.offset
			*a, *b = *b, *a
		}, []findingKind{moved, moved}},
		{"one is in another partition", func(h *history, _ [][]record) { h.acks[2].partition = 1 },
			[]findingKind{moved, twice}},
		{"everything behind a lost record moved up", func(_ *history, logs [][]record) {
			logs[0] = slices.Delete(logs[0], 4, 5)
			logs[0][4].offset = 4
		}, []findingKind{lost}},
		{"an offset twice", func(_ *history, logs [][]record) { logs[0][5].offset = 4 },
			[]findingKind{duplicateOffset}},
		{"a record twice", func(_ *history, logs [][]record) {
			again := logs[0][4]
			again.offset = 6
			logs[0] = append(logs[0], again)
		}, []findingKind{duplicate}},
		{"a record twice, in two partitions", func(_ *history, logs [][]record) {
			again := logs[0][4]
			again.offset = 6
			logs[1] = append(logs[1], again)
		}, []findingKind{duplicate}},
		{"never published", func(h *history, _ [][]record) { h.started[9] = 5 }, []findingKind{phantom}},
		{"a producer nobody knows", func(_ *history, logs [][]record) { logs[0][5].producer = 8 },
			[]findingKind{phantom}},
		{"an offset acknowledged twice", func(h *history, _ [][]record) { h.acks = append(h.acks, h.acks[0]) },
			[]findingKind{twice}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, logs := goodHistory()
			tt.spoil(h, logs)
			var got []findingKind
			findings := check(h, logs)
			for _, f := range findings {
				got = append(got, f.kind)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("check found %v, want %v", findings, tt.want)
			}
		})
	}
}

func TestAckJournalLeavesOutOnlyATornEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acks")
	j, err := openAckJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []ack{{3, 1 << 40, 7, 9, 11}, {0, 0, 1, 2, 3}}
	if err := errors.Join(j.write(want[0]), j.write(want[1]), j.file.Close()); err != nil {
		t.Fatal(err)
	}
	if got, err := readAcks(path); err != nil || !slices.Equal(got, want) {
		t.Errorf("readAcks = %v, %v, want %v", got, err, want)
	}
	if err := os.Truncate(path, 2*ackBytes-1); err != nil {
		t.Fatal(err)
	}
	if got, err := readAcks(path); err != nil || !slices.Equal(got, want[:1]) {
		t.Errorf("readAcks of a torn journal = %v, %v, want %v", got, err, want[:1])
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[9] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readAcks(path); err == nil {
		t.Errorf("readAcks of a damaged journal = %v, want an error", got)
	}
}

func TestPayloadIsChecked(t *testing.T) {
	value := putPayload([]byte("key"), 7, 9, payloadHeader+100)[3:]
	if producer, sequence, err := parsePayload(value); producer != 7 || sequence != 9 || err != nil {
		t.Errorf("parsePayload = %d, %d, %v, want 7, 9, nil", producer, sequence, err)
	}
	for at := range value {
		value[at] ^= 0x10
		if _, _, err := parsePayload(value); err == nil {
			t.Errorf("parsePayload with byte %d changed = nil, want an error", at)
		}
		value[at] ^= 0x10
	}
	if _, _, err := parsePayload(value[:len(value)-1]); err == nil {
		t.Error("parsePayload of a short value = nil, want an error")
	}
}
