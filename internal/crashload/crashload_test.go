package crashload

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// loaded runs a load of some steps on a file system in memory.
func loaded(t *testing.T, fs mmaplog.FS, disk bool) (*Journal, Progress) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal")
	if err := Run(Spec{Dir: "data", Journal: path, Disk: disk, Seed: 7, Steps: 150}, fs, nil); err != nil {
		t.Fatal(err)
	}
	j, err := OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	p, err := j.Progress()
	if err != nil {
		t.Fatal(err)
	}
	return j, p
}

func TestVerifyAcceptsWhatWasWritten(t *testing.T) {
	for _, disk := range []bool{false, true} {
		fs := mmaplog.Heap()
		j, p := loaded(t, fs, disk)
		if p.Durable() != p.Published() || p.Published() < 100 {
			t.Errorf("durable %d, published %d after an orderly close", p.Durable(), p.Published())
		}
		if i := slices.Index(mmaplog.Points(), "roll.adopted"); p.Passed()[i] < 2 {
			t.Errorf("failpoints passed: %v", p.Passed())
		}
		w, err := j.AfterKill(&p)
		if err != nil {
			t.Fatal(err)
		}
		if w.Must != p.Published() || w.Max != w.Must {
			t.Errorf("witness %+v, published %d", w, p.Published())
		}
		found, err := Verify(fs, "data", core.AckPage, &w)
		if err != nil || found.End != w.Must {
			t.Errorf("Verify = %+v, %v", found, err)
		}
	}
}

func TestVerifyFindsWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(w *Witness)
		want  string
	}{
		{"more was promised", func(w *Witness) { w.Must++; w.Max++ }, "promised"},
		{"less was added", func(w *Witness) { w.Must--; w.Max-- }, "promised"},
		{"nothing was trimmed", func(w *Witness) { w.Start = 0 }, "trimmed up to 0"},
		{"another generation wrote the end", func(w *Witness) { w.bases = append(w.bases, w.Must-1) },
			"is not what generation 1 wrote"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fs := mmaplog.Heap()
			j, p := loaded(t, fs, true)
			w, err := j.AfterKill(&p)
			if err != nil {
				t.Fatal(err)
			}
			tt.spoil(&w)
			if _, err := Verify(fs, "data", core.AckPage, &w); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Verify = %v, want %q", err, tt.want)
			}
		})
	}
}

// TestLiarIsFound: what was reported durable by a disk whose syncs do nothing is gone after a power cut.
func TestLiarIsFound(t *testing.T) {
	fs := mmaplog.Heap()
	j, p := loaded(t, Liar(fs), false)
	w, err := j.AfterCut(&p)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(20) {
		if _, err := Verify(fs.Crash(seed), "data", core.AckPage, &w); err != nil {
			return
		}
	}
	t.Error("20 power cuts of a disk that lies, and nothing was found")
}

// TestPointsFit: the journal has a word for each failpoint.
func TestPointsFit(t *testing.T) {
	if n := len(mmaplog.Points()); n > words-wordPoints {
		t.Errorf("%d failpoints, room for %d", n, words-wordPoints)
	}
}

// TestCutsAreJudged: what a load dropped from its end is gone, and what took its place is judged as its own.
func TestCutsAreJudged(t *testing.T) {
	fs := mmaplog.Heap()
	path := filepath.Join(t.TempDir(), "journal")
	if err := Run(Spec{Dir: "data", Journal: path, Seed: 3, Steps: 300, Cut: true}, fs, nil); err != nil {
		t.Fatal(err)
	}
	j, err := OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	p, err := j.Progress()
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.Index(mmaplog.Points(), "truncate.after-zero"); p.Passed()[i] < 3 {
		t.Fatalf("failpoints passed: %v", p.Passed())
	}
	w, err := j.AfterCut(&p)
	if err != nil || len(w.bases) < 4 || w.Must != p.Published() {
		t.Fatalf("AfterCut = %+v, %v", w, err)
	}
	older := w
	older.bases = w.bases[:1]
	if _, err := Verify(fs, "data", core.AckPage, &older); err == nil {
		t.Error("what was dropped passes for what is there")
	}
	p[wordCutting] = uint64(w.Must) - 9
	if w, err := j.AfterCut(&p); err != nil || w.Must != p.Published()-10 || w.Max != p.Published() {
		t.Errorf("AfterCut while records are dropped = %+v, %v", w, err)
	}
	if found, err := Verify(fs, "data", core.AckPage, &w); err != nil || found.End != w.Must {
		t.Errorf("Verify = %+v, %v", found, err)
	}
}

func TestPromiseOfAnOlderGeneration(t *testing.T) {
	j, err := OpenJournal(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for _, base := range []int64{0, 50, 30} {
		if _, err := j.begin(base); err != nil {
			t.Fatal(err)
		}
	}
	p, err := j.Progress()
	if err != nil {
		t.Fatal(err)
	}
	p[wordDurable], p[wordAdded] = 1<<endBits|70, 2<<endBits|40
	w, err := j.AfterCut(&p)
	if err != nil || w.Must != 30 || w.Max != 40 {
		t.Errorf("AfterCut = %+v, %v", w, err)
	}
	for offset, want := range map[int64]int{0: 0, 29: 0, 30: 2, 60: 2} {
		if got := w.generation(offset); got != want {
			t.Errorf("generation(%d) = %d, want %d", offset, got, want)
		}
	}
}
