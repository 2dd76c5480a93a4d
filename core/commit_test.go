package core

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func sampleCommit() Commit {
	return Commit{Group: "risk", TopicID: 0x0102030405060708, Partition: 0x1112, Generation: 0x21222324,
		Offset: 0x3132333435363738, Time: 0x4142434445464748}
}

func TestCommitGolden(t *testing.T) {
	c := sampleCommit()
	key, value := EncodeCommitKey(nil, &c), EncodeCommitValue(nil, &c)
	goldenHex(t, "commit-key.hex", key)
	goldenHex(t, "commit-value.hex", value)
	if got, err := DecodeCommit(key, value); err != nil || got != c {
		t.Errorf("DecodeCommit = %+v, %v; want %+v", got, err, c)
	}
	removed := Commit{Group: c.Group, TopicID: c.TopicID, Partition: c.Partition, Removed: true}
	if got, err := DecodeCommit(key, nil); err != nil || got != removed {
		t.Errorf("DecodeCommit without value = %+v, %v; want %+v", got, err, removed)
	}
	if got := EncodeCommitKey([]byte("b"), &c); string(got) != "b"+string(key) {
		t.Errorf("EncodeCommitKey does not append: %x", got)
	}
	if got := EncodeCommitValue([]byte("b"), &c); string(got) != "b"+string(value) {
		t.Errorf("EncodeCommitValue does not append: %x", got)
	}
}

func TestDecodeCommitRefuses(t *testing.T) {
	c := sampleCommit()
	goodKey, goodValue := EncodeCommitKey(nil, &c), EncodeCommitValue(nil, &c)
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
		{"kind 2", setBytes(1, 2, 0, 1), CodeCorrupt},
		{"shorter group", setBytes(2, 3, 0, 1), CodeCorrupt},
		{"longer group", setBytes(2, 5, 0, 1), CodeCorrupt},
		{"partition 16384 and more", setBytes(5, 0x40, 0, 1), CodeCorrupt},
		{"negative partition", setBytes(7, 0xff, 0, 1), CodeCorrupt},
		{"bad group", setBytes(16, '/', 0, 1), CodeCorrupt},
		{"reserved byte 1", setBytes(0, 1, 1, 1), CodeCorrupt},
		{"reserved byte 3", setBytes(0, 1, 3, 1), CodeCorrupt},
		{"negative generation", setBytes(0, 1, 7, 0xff), CodeCorrupt},
		{"negative offset", setBytes(0, 1, 15, 0xff), CodeCorrupt},
		{"longer value", func(k, v []byte) ([]byte, []byte) { return k, append(v, 0) }, CodeCorrupt},
		{"empty value", func(k, v []byte) ([]byte, []byte) { return k, []byte{} }, CodeCorrupt},
		{"longer key", func(k, v []byte) ([]byte, []byte) { return append(k, 'x'), v }, CodeCorrupt},
		{"topic 0", func(k, v []byte) ([]byte, []byte) { clear(k[8:16]); return k, v }, CodeCorrupt},
		{"nothing", func(k, v []byte) ([]byte, []byte) { return nil, nil }, CodeCorrupt},
	}
	for _, tt := range tests {
		_, err := DecodeCommit(tt.change(bytes.Clone(goodKey), bytes.Clone(goodValue)))
		wantCode(t, tt.what, err, tt.want)
	}
	for n := range len(goodKey) {
		_, err := DecodeCommit(goodKey[:n], goodValue)
		wantCode(t, fmt.Sprintf("key cut to %d bytes", n), err, CodeCorrupt)
	}
	for n := range len(goodValue) {
		_, err := DecodeCommit(goodKey, goodValue[:n])
		wantCode(t, fmt.Sprintf("value cut to %d bytes", n), err, CodeCorrupt)
	}
}

// setBytes changes one byte of the key and one of the value.
func setBytes(keyAt int, k byte, valueAt int, v byte) func(key, value []byte) ([]byte, []byte) {
	return func(key, value []byte) ([]byte, []byte) {
		key[keyAt], value[valueAt] = k, v
		return key, value
	}
}

// TestCommitSupersedes: the generation decides, then the offset; a commit does not supersede itself.
func TestCommitSupersedes(t *testing.T) {
	rising := []Commit{{Generation: 1, Offset: 9}, {Generation: 2, Offset: 3}, {Generation: 2, Offset: 5},
		{Generation: 3, Offset: 0}}
	for i := range rising {
		for j := range rising {
			if got := rising[i].Supersedes(&rising[j]); got != (i > j) {
				t.Errorf("%+v supersedes %+v: %v", rising[i], rising[j], got)
			}
		}
	}
}

// TestGroupsPartition freezes the mapping: moving a group would lose its commits.
func TestGroupsPartition(t *testing.T) {
	var b strings.Builder
	seen := map[int32]bool{}
	for i := range 64 {
		group := fmt.Sprint("group-", i)
		p := GroupsPartition(group)
		if p < 0 || p >= GroupsPartitions {
			t.Fatalf("GroupsPartition(%q) = %d", group, p)
		}
		seen[p] = true
		fmt.Fprintf(&b, "%s %d\n", group, p)
	}
	if len(seen) != GroupsPartitions {
		t.Errorf("64 groups use %d partitions, want all %d", len(seen), GroupsPartitions)
	}
	golden(t, "groups-partition.txt", b.String())
	if got := GroupsPartition(""); got != 14 { // xxhash64 of nothing is ef46db3751d8e999
		t.Errorf("GroupsPartition of the empty name = %d, want 14", got)
	}
}

func TestCommitEncodingDoesNotAllocate(t *testing.T) {
	c, key, value := sampleCommit(), make([]byte, 0, 64), make([]byte, 0, 64)
	wantNoAllocs(t, "commit codec", func() {
		key, value = EncodeCommitKey(key[:0], &c), EncodeCommitValue(value[:0], &c)
		if GroupsPartition(c.Group) < 0 {
			t.Fatal("impossible")
		}
	})
}

// FuzzCommit: no input panics; what decodes encodes to the same key and value; the group has a
// valid name; refusals are corrupt or too new.
func FuzzCommit(f *testing.F) {
	c := sampleCommit()
	f.Add(EncodeCommitKey(nil, &c), EncodeCommitValue(nil, &c), false)
	f.Add(EncodeCommitKey(nil, &c), []byte{}, true)
	f.Add([]byte{}, []byte{}, false)
	f.Add(bytes.Repeat([]byte{1}, 20), bytes.Repeat([]byte{1}, 24), false)
	f.Fuzz(func(t *testing.T, key, value []byte, removed bool) {
		if removed {
			value = nil
		}
		c, err := DecodeCommit(key, value)
		if err != nil {
			if code := CodeOf(err); code != CodeCorrupt && code != CodeVersionTooNew {
				t.Fatalf("DecodeCommit(%x, %x) = %v", key, value, err)
			}
			return
		}
		if again := EncodeCommitKey(nil, &c); !bytes.Equal(again, key) {
			t.Fatalf("key encoded again: %x, want %x", again, key)
		}
		if c.Removed != (value == nil) || c.Removed && c.Offset != 0 {
			t.Fatalf("DecodeCommit(%x, %x) = %+v", key, value, c)
		}
		if again := EncodeCommitValue(nil, &c); !c.Removed && !bytes.Equal(again, value) {
			t.Fatalf("value encoded again: %x, want %x", again, value)
		}
		if err := ValidateStoredName("group", c.Group); err != nil {
			t.Fatalf("DecodeCommit(%x, %x): %v", key, value, err)
		}
	})
}
