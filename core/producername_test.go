package core

import (
	"bytes"
	"strings"
	"testing"
)

func sampleProducerName() ProducerName {
	return ProducerName{Name: "billing", TopicID: 0x0102030405060708, Instance: 0x1112131415161718,
		ProducerID: NamedProducerID("billing"), Epoch: 0x2122}
}

func TestProducerNameGolden(t *testing.T) {
	p := sampleProducerName()
	key, value := p.EncodeKey(nil), p.EncodeValue(nil)
	goldenHex(t, "producer-name-key.hex", key)
	goldenHex(t, "producer-name-value.hex", value)
	if got, err := DecodeProducerName(key, value); err != nil || got != p {
		t.Errorf("DecodeProducerName = %+v, %v; want %+v", got, err, p)
	}
	removed := ProducerName{Name: p.Name, TopicID: p.TopicID, Removed: true}
	if got, err := DecodeProducerName(key, nil); err != nil || got != removed {
		t.Errorf("DecodeProducerName without value = %+v, %v; want %+v", got, err, removed)
	}
	commit := sampleCommit()
	commitKey := EncodeCommitKey(nil, &commit)
	if !IsProducerName(key) || IsProducerName(commitKey) || IsProducerName(nil) {
		t.Error("keys are taken for those of another kind")
	}
	_, err := DecodeCommit(key, value)
	wantCode(t, "DecodeCommit of a name", err, CodeCorrupt)
	_, err = DecodeProducerName(commitKey, value)
	wantCode(t, "DecodeProducerName of a commit", err, CodeCorrupt)
}

func TestNamedProducerID(t *testing.T) {
	seen := map[int64]string{}
	for _, name := range []string{"a", "b", "billing", strings.Repeat("x", MaxNameBytes)} {
		id := NamedProducerID(name)
		if id <= 0 || seen[id] != "" || id != NamedProducerID(name) {
			t.Errorf("NamedProducerID(%q) = %d, that of %q", name, id, seen[id])
		}
		seen[id] = name
	}
}

func TestProducerNameSupersedes(t *testing.T) {
	for _, tt := range []struct {
		epoch, old int16
		want       bool
	}{{1, 0, true}, {0, 1, false}, {3, 3, false}, {0, 32767, true}, {32767, 0, false}} {
		p, old := ProducerName{Epoch: tt.epoch}, ProducerName{Epoch: tt.old}
		if got := p.Supersedes(&old); got != tt.want {
			t.Errorf("epoch %d supersedes %d: %v, want %v", tt.epoch, tt.old, got, tt.want)
		}
	}
}

func TestDecodeProducerNameRefuses(t *testing.T) {
	p := sampleProducerName()
	goodKey, goodValue := p.EncodeKey(nil), p.EncodeValue(nil)
	tests := []struct {
		what   string
		change func(key, value []byte) ([]byte, []byte)
		want   Code
	}{
		{"as it is", setBytes(0, 1, 0, 1), 0},
		{"key version 0", setBytes(0, 0, 0, 1), CodeCorrupt},
		{"key version 2", setBytes(0, 2, 0, 1), CodeVersionTooNew},
		{"value version 0", setBytes(0, 1, 0, 0), CodeCorrupt},
		{"value version 2", setBytes(0, 1, 0, 2), CodeVersionTooNew},
		{"kind 3", setBytes(1, 3, 0, 1), CodeCorrupt},
		{"shorter name", setBytes(2, 6, 0, 1), CodeCorrupt},
		{"reserved in the key", setBytes(4, 1, 0, 1), CodeCorrupt},
		{"bad name", setBytes(16, '/', 0, 1), CodeCorrupt},
		{"another name", setBytes(16, 'B', 0, 1), CodeCorrupt}, // of another id
		{"reserved byte 1", setBytes(0, 1, 1, 1), CodeCorrupt},
		{"reserved byte 7", setBytes(0, 1, 7, 1), CodeCorrupt},
		{"negative epoch", setBytes(0, 1, 3, 0x80), CodeCorrupt},
		{"another id", setBytes(0, 1, 16, 0), CodeCorrupt},
		{"longer value", func(k, v []byte) ([]byte, []byte) { return k, append(v, 0) }, CodeCorrupt},
		{"empty value", func(k, v []byte) ([]byte, []byte) { return k, []byte{} }, CodeCorrupt},
		{"short key", func(k, v []byte) ([]byte, []byte) { return k[:15], v }, CodeCorrupt},
		{"no name", func(k, v []byte) ([]byte, []byte) { return k[:16], v }, CodeCorrupt},
	}
	for _, tt := range tests {
		_, err := DecodeProducerName(tt.change(bytes.Clone(goodKey), bytes.Clone(goodValue)))
		wantCode(t, tt.what, err, tt.want)
	}
}

// FuzzProducerName: no input panics; what decodes encodes to the same key and value.
func FuzzProducerName(f *testing.F) {
	p := sampleProducerName()
	f.Add(p.EncodeKey(nil), p.EncodeValue(nil), false)
	f.Add(p.EncodeKey(nil), []byte{}, true)
	f.Fuzz(func(t *testing.T, key, value []byte, removed bool) {
		if removed {
			value = nil
		}
		p, err := DecodeProducerName(key, value)
		if err != nil {
			return
		}
		if got := p.EncodeKey(nil); !bytes.Equal(got, key) {
			t.Fatalf("key encodes to %x, was %x", got, key)
		}
		if !p.Removed && !bytes.Equal(p.EncodeValue(nil), value) {
			t.Fatalf("value encodes to %x, was %x", p.EncodeValue(nil), value)
		}
	})
}
