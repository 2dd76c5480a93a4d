package leat

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
)

func TestQueueOptions(t *testing.T) {
	tests := []struct {
		name    string
		options []SubscribeOption
		want    string // part of the error; empty for none
	}{
		{"queue", []SubscribeOption{Group("g"), Queue()}, ""},
		{"key-shared", []SubscribeOption{Group("g"), KeyShared(QueueConfig{Lease: time.Second}), MaxHeld(7)}, ""},
		{"no group", []SubscribeOption{Queue()}, "queue needs a Group"},
		{"no group", []SubscribeOption{KeyShared()}, "key-shared needs a Group"},
		{"OnAssign", []SubscribeOption{Group("g"), Queue(), OnAssign(func(_, _ []int32) {})},
			"OnAssign with queue"},
		{"ReadAt", []SubscribeOption{Group("g"), Queue(), ReadAt(AckPage)}, "ReadAt with queue"},
		{"MaxHeld", []SubscribeOption{Group("g"), Queue(), MaxHeld(-1)}, "MaxHeld(-1)"},
		{"MaxHeld", []SubscribeOption{Group("g"), Queue(), MaxHeld(1 << 21)}, "want 1 to 1048576"},
		{"MaxHeld of a stream", []SubscribeOption{Group("g"), MaxHeld(1)}, "MaxHeld needs Queue or KeyShared"},
		{"lease", []SubscribeOption{Group("g"), Queue(QueueConfig{Lease: 48 * time.Hour})}, "lease 48h0m0s"},
	}
	for _, tt := range tests {
		var o SubscribeOptions
		for _, option := range tt.options {
			option(&o)
		}
		err := o.validate()
		if tt.want == "" && err != nil || tt.want != "" &&
			(!errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	var o SubscribeOptions
	Group("g")(&o)
	KeyShared(QueueConfig{Rate: 5})(&o)
	err := o.validate()
	if err != nil || !o.Queue.Ordered || o.Queue.Rate != 5 || o.MaxHeld != core.QueueMaxHeld {
		t.Errorf("options %+v, %v", o, err)
	}
}

// fakeDelivery keeps what it was told.
type fakeDelivery struct{ said string }

func (f *fakeDelivery) Ack(int64) error { f.said = "ack"; return nil }
func (f *fakeDelivery) Nack(_ int64, delay time.Duration, reason string) error {
	f.said = "nack " + delay.String() + reason
	return nil
}
func (f *fakeDelivery) Reject(_ int64, reason string) error { f.said = "reject " + reason; return nil }
func (f *fakeDelivery) Extend(int64) error                  { f.said = "extend"; return nil }

func TestDelivery(t *testing.T) {
	var m Message
	for name, call := range map[string]func() error{
		"Nack": func() error { return m.Nack(0) }, "Reject": func() error { return m.Reject("") },
		"Extend": m.Extend, "NackBecause": func() error { return m.NackBecause(0, "") },
	} {
		if err := call(); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s of a message of no queue group: %v", name, err)
		}
	}
	f := new(fakeDelivery)
	SetDelivery(&m, 3, f)
	kept := m.Clone()
	if kept.Attempt != 3 {
		t.Errorf("attempt %d", kept.Attempt)
	}
	for want, call := range map[string]func() error{
		"ack": kept.Ack, "nack 1s": func() error { return kept.Nack(time.Second) },
		"nack 1s busy": func() error { return kept.NackBecause(time.Second, " busy") },
		"reject why":   func() error { return kept.Reject("why") }, "extend": kept.Extend,
	} {
		if err := call(); err != nil || f.said != want {
			t.Errorf("%q, %v; want %q", f.said, err, want)
		}
	}
}
