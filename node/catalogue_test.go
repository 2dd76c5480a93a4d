package node

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/mmaplog"
)

// TestFoldersOfDeletedTopics: what a crash in the middle of a deletion left goes at the next start, and
// nothing that the catalogue does not know.
func TestFoldersOfDeletedTopics(t *testing.T) {
	b := one(t, leat.TopicConfig{})
	publish(t, b.producer("t"), text("kept"))
	if err := b.CreateTopic(soon(t), "gone", leat.TopicConfig{}); err != nil {
		t.Fatal(err)
	}
	publish(t, b.producer("gone"), text("v"))
	if err := b.DeleteTopic(soon(t), "gone"); err != nil {
		t.Fatal(err)
	}
	b.close()
	put := func(path ...string) {
		name := filepath.Join(append([]string{"data", "t"}, path...)...)
		if err := b.fs.MkdirAll(filepath.Dir(name)); err != nil {
			t.Fatal(err)
		}
		f, err := b.fs.Open(name, mmaplog.Create)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	put("17", "0", "left.seg") // of the topic "gone"
	put("18", "0", "later.seg")
	put("3", "0", "internal.seg")
	put("017", "mine")
	put("notes", "mine")
	b = openBed(t, b.fs)
	names, err := b.fs.ReadDir(filepath.Join("data", "t"))
	if err != nil {
		t.Fatal(err)
	}
	has := make(map[string]bool)
	for _, name := range names {
		has[name] = true
	}
	if has["17"] {
		t.Errorf("the folder of a deleted topic is left: %s", strings.Join(names, " "))
	}
	for _, kept := range []string{"1", "16", "18", "3", "017", "notes"} {
		if !has[kept] {
			t.Errorf("%s is gone: %s", kept, strings.Join(names, " "))
		}
	}
	if end := b.partition(0).log.End(); end != 1 {
		t.Errorf("the other topic ends at %d", end)
	}
}
