package core

import (
	"strings"
	"testing"
	"time"
)

func TestTopicConfigDefaults(t *testing.T) {
	got := TopicConfig{}.WithDefaults()
	want := TopicConfig{Partitions: 1, Ack: AckDisk, Retention: 7 * 24 * time.Hour,
		SegmentBytes: 64 << 20, MaxRecordBytes: 1 << 20}
	if got != want {
		t.Errorf("WithDefaults() = %+v, want %+v", got, want)
	}
	if err := got.Validate("t"); err != nil {
		t.Errorf("Validate of the defaults = %v", err)
	}
	given := TopicConfig{Partitions: 3, Ack: AckPage, Retention: KeepForever, RetentionBytes: 5,
		RetentionRecords: 6, SegmentBytes: 1 << 20, MaxRecordBytes: 9, TTL: MinTTL}
	if got := given.WithDefaults(); got != given {
		t.Errorf("WithDefaults(%+v) = %+v, want no change", given, got)
	}
}

func TestTopicConfigValidate(t *testing.T) {
	valid := TopicConfig{}.WithDefaults()
	tests := []struct {
		field  string
		change func(*TopicConfig)
		code   Code
	}{
		{"", func(c *TopicConfig) { c.Partitions = MaxPartitions }, 0},
		{"", func(c *TopicConfig) { c.SegmentBytes = MinSegmentBytes }, 0},
		{"", func(c *TopicConfig) { c.MaxRecordBytes = MaxRecordBytes }, 0},
		{"", func(c *TopicConfig) { c.MaxRecordBytes = 1 }, 0},
		{"", func(c *TopicConfig) { c.Ack = AckNone }, 0},
		{"Partitions", func(c *TopicConfig) { c.Partitions = 0 }, CodeInvalidConfig},
		{"Partitions", func(c *TopicConfig) { c.Partitions = -1 }, CodeInvalidConfig},
		{"Partitions", func(c *TopicConfig) { c.Partitions = MaxPartitions + 1 }, CodeInvalidConfig},
		{"", func(c *TopicConfig) { c.Retention = KeepForever }, 0},
		{"", func(c *TopicConfig) { c.Retention = MinRetention }, 0},
		{"Retention", func(c *TopicConfig) { c.Retention = MinRetention - 1 }, CodeInvalidConfig},
		{"Retention", func(c *TopicConfig) { c.Retention = -2 }, CodeInvalidConfig},
		{"", func(c *TopicConfig) { c.Cleanup = CleanupCompact }, 0},
		{"Cleanup", func(c *TopicConfig) { c.Cleanup = cleanupEnd }, CodeInvalidConfig},
		{"RetentionBytes", func(c *TopicConfig) { c.RetentionBytes = -1 }, CodeInvalidConfig},
		{"RetentionRecords", func(c *TopicConfig) { c.RetentionRecords = -1 }, CodeInvalidConfig},
		{"SegmentBytes", func(c *TopicConfig) { c.SegmentBytes = MinSegmentBytes / 2 }, CodeInvalidConfig},
		{"SegmentBytes", func(c *TopicConfig) { c.SegmentBytes = MaxSegmentBytes * 2 }, CodeInvalidConfig},
		{"SegmentBytes", func(c *TopicConfig) { c.SegmentBytes = 1_000_000 }, CodeInvalidConfig},
		{"SegmentBytes", func(c *TopicConfig) { c.SegmentBytes = -1 << 20 }, CodeInvalidConfig},
		{"MaxRecordBytes", func(c *TopicConfig) { c.MaxRecordBytes = MaxRecordBytes + 1 }, CodeInvalidConfig},
		{"MaxRecordBytes", func(c *TopicConfig) { c.MaxRecordBytes = -5 }, CodeInvalidConfig},
		{"", func(c *TopicConfig) { c.TTL = MinTTL }, 0},
		{"", func(c *TopicConfig) { c.TTL = MaxTTL }, 0},
		{"TTL", func(c *TopicConfig) { c.TTL = MinTTL - 1 }, CodeInvalidConfig},
		{"TTL", func(c *TopicConfig) { c.TTL = -1 }, CodeInvalidConfig},
		{"", func(c *TopicConfig) { c.DedupWindow = MaxDedupWindow }, 0},
		{"DedupWindow", func(c *TopicConfig) { c.DedupWindow = MaxDedupWindow + 1 }, CodeInvalidConfig},
		{"DedupWindow", func(c *TopicConfig) { c.DedupWindow = MinDedupWindow - 1 }, CodeInvalidConfig},
		{"TTL", func(c *TopicConfig) { c.TTL = MaxTTL + 1 }, CodeInvalidConfig},
		{"quorum", func(c *TopicConfig) { c.Ack = AckQuorum }, CodeLevelUnavailable},
	}
	for _, tt := range tests {
		c := valid
		tt.change(&c)
		err := c.Validate("trades")
		wantCode(t, "Validate", err, tt.code)
		if err != nil && (!strings.Contains(err.Error(), tt.field) || HintFor(err) == "") {
			t.Errorf("Validate(%+v) = %v, want %s named and a hint", c, err, tt.field)
		}
	}
}

func TestTopicConfigDiffers(t *testing.T) {
	stored := TopicConfig{}.WithDefaults()
	if got := stored.Differs(stored); got != "" {
		t.Errorf("Differs from itself: %q", got)
	}
	changes := map[string]func(*TopicConfig){
		"Partitions: stored 1, asked 2":                 func(c *TopicConfig) { c.Partitions = 2 },
		"Ack: stored disk, asked page":                  func(c *TopicConfig) { c.Ack = AckPage },
		"Retention: stored 168h0m0s, asked KeepForever": func(c *TopicConfig) { c.Retention = KeepForever },
		"Cleanup: stored delete, asked compact":         func(c *TopicConfig) { c.Cleanup = CleanupCompact },
		"RetentionRecords: stored 0, asked 3":           func(c *TopicConfig) { c.RetentionRecords = 3 },
		"RetentionBytes: stored 0, asked 7":             func(c *TopicConfig) { c.RetentionBytes = 7 },
		"SegmentBytes: stored 67108864, asked 262144": func(c *TopicConfig) {
			c.SegmentBytes = MinSegmentBytes
		},
		"MaxRecordBytes: stored 1048576, asked 9": func(c *TopicConfig) { c.MaxRecordBytes = 9 },
		"DedupWindow: stored 0s, asked 1s":        func(c *TopicConfig) { c.DedupWindow = time.Second },
		"TTL: stored 0s, asked 1s":                func(c *TopicConfig) { c.TTL = time.Second },
	}
	for want, change := range changes {
		asked := stored
		change(&asked)
		if got := stored.Differs(asked); got != want {
			t.Errorf("Differs = %q, want %q", got, want)
		}
	}
}

func TestCleanupNames(t *testing.T) {
	// The numbers are stored in the catalogue: they never change.
	for i, name := range []string{"delete", "compact"} {
		if got, err := ParseCleanup(name); err != nil || got != Cleanup(i) || got.String() != name {
			t.Errorf("ParseCleanup(%q) = %v, %v", name, got, err)
		}
	}
	if got := Cleanup(9).String(); got != "cleanup(9)" {
		t.Errorf("Cleanup(9) = %q", got)
	}
	_, err := ParseCleanup("")
	wantCode(t, "ParseCleanup of nothing", err, CodeInvalidConfig)
	if c := (TopicConfig{Cleanup: CleanupCompact}).WithDefaults(); c.Retention != KeepForever {
		t.Errorf("a compacted topic keeps %v by default", c.Retention)
	}
}

func TestAckNames(t *testing.T) {
	// The numbers are stored in the catalogue: they never change.
	want := []string{"default", "none", "ring", "page", "disk", "quorum-page", "quorum"}
	for i, name := range want {
		if Ack(i).String() != name {
			t.Errorf("Ack(%d) = %q, want %q", i, Ack(i), name)
		}
		if got, err := ParseAck(name); err != nil || got != Ack(i) {
			t.Errorf("ParseAck(%q) = %v, %v", name, got, err)
		}
	}
	if got := Ack(99).String(); got != "ack(99)" {
		t.Errorf("Ack(99) = %q", got)
	}
	for _, bad := range []string{"", "DISK", "ack(99)", "disk "} {
		_, err := ParseAck(bad)
		wantCode(t, "ParseAck("+bad+")", err, CodeInvalidConfig)
	}
}

func TestAckAvailable(t *testing.T) {
	for a := range ackEnd + 1 {
		want := Code(CodeLevelUnavailable)
		switch a {
		case AckDefault, AckNone, AckPage, AckDisk:
			want = 0
		}
		wantCode(t, "Available("+a.String()+")", a.Available(), want)
	}
	if AckDefault.Or(AckPage) != AckPage || AckNone.Or(AckPage) != AckNone {
		t.Error("Or replaces something else than the default")
	}
}

func TestPositions(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	if got := AtTime(at); got != (Position{Kind: PositionTime, Value: at.UnixNano()}) {
		t.Errorf("AtTime = %+v", got)
	}
	if got := AtOffset(0); got != (Position{Kind: PositionOffset}) {
		t.Errorf("AtOffset(0) = %+v", got)
	}
	if Earliest == Latest || Earliest == (Position{}) || AtOffset(0) == Earliest {
		t.Error("two positions are equal")
	}
}
