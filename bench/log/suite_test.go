package log

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat/internal/benchkit"
)

// TestSuiteRuns runs a scenario in miniature with every peer that is a Go package.
func TestSuiteRuns(t *testing.T) {
	o := benchkit.Options{
		For: 2 * time.Millisecond, Rounds: 1, Only: []string{"durable-64"},
		Guard: benchkit.GuardOptions{Off: true}, Dir: t.TempDir(),
	}
	suite, err := Suite(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	report, err := suite.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Valid {
		t.Errorf("the report is invalid: %v", report.Problems)
	}
	var seen []string
	for _, row := range report.Rows {
		seen = append(seen, row.Name)
	}
	for _, want := range []string{oursName, tidwall.name, tidwall.name + groupCommit, raftWAL.name,
		prometheus.name, pebble.name, natsFile.name + groupCommit, jetStream.name, "64 × " + syncFloorName} {
		if !slices.Contains(seen, want) {
			t.Errorf("no row for %s in %v", want, seen)
		}
	}
	left, err := os.ReadDir(o.Dir)
	if err != nil || len(left) > 0 {
		t.Errorf("the run left %v, %v in its folder; want nothing", left, err)
	}
}

// TestStores appends to every store in both ways, and reads all of it.
func TestStores(t *testing.T) {
	for _, k := range append([]*kind{&ours, &mapFloor, &pwriteFloor}, goPeers()...) {
		t.Run(k.name, func(t *testing.T) {
			places := &places{root: t.TempDir()}
			if err := places.open(); err != nil {
				t.Fatal(err)
			}
			store, err := places.store(k, setting{kept: true})
			if skip := new(benchkit.SkipError); errors.As(err, &skip) {
				t.Skip(skip.Why)
			}
			if err != nil {
				t.Fatal(err)
			}
			appendNumbered(t, store, 200)
			for range 2 {
				tally := newTally(recordBytesLarge, 0)
				if err := store.read(tally.see); err != nil || tally.next != 200 {
					t.Errorf("read %d records, %v; want 200", tally.next, err)
				}
			}
			enough := errors.New("enough")
			if err := store.read(func([]byte) error { return enough }); !errors.Is(err, enough) {
				t.Errorf("a read whose visitor fails = %v; want its error", err)
			}
			if err := places.close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// appendNumbered appends n records, half of them one by one.
func appendNumbered(t *testing.T, s store, n int64) {
	t.Helper()
	record := newRecord(recordBytesLarge)
	var batch [][]byte
	for i := range n {
		if i < n/2 {
			setNumber(record, i)
			if err := s.append(record); err != nil {
				t.Fatal(err)
			}
			continue
		}
		one := newRecord(recordBytesLarge)
		setNumber(one, i)
		batch = append(batch, one)
	}
	if err := s.appendAll(batch); err != nil {
		t.Fatal(err)
	}
	if s, ok := s.(settler); ok {
		if err := s.settle(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTallyFindsWhatIsWrong(t *testing.T) {
	for name, spoil := range map[string]func(record []byte) []byte{
		"order":  func(r []byte) []byte { setNumber(r, 2); return r },
		"a byte": func(r []byte) []byte { r[len(r)-1] ^= 1; return r },
		"length": func(r []byte) []byte { return r[:len(r)-8] },
	} {
		tally := newTally(recordBytesSmall, 0)
		record := newRecord(recordBytesSmall)
		setNumber(record, 0)
		setIntended(record, 12345)
		if err := tally.see(record); err != nil {
			t.Fatalf("a good record = %v", err)
		}
		setNumber(record, 1)
		if err := tally.see(spoil(record)); err == nil {
			t.Errorf("%s: see = nil; want an error", name)
		}
	}
}

// brokenStore fails every sync.
type brokenStore struct{ syncStore }

var errBroken = errors.New("broken")

func (*brokenStore) appendAll([][]byte) error { return nil }
func (*brokenStore) sync() error              { return errBroken }

func TestCommitterAnswersAll(t *testing.T) {
	places := &places{}
	c := places.committer(&brokenStore{})
	if err := c.append(newRecord(recordBytesSmall)); !errors.Is(err, errBroken) {
		t.Errorf("append = %v; want the error of the sync", err)
	}
	if err := places.close(); err != nil {
		t.Fatal(err)
	}
	if err := c.append(newRecord(recordBytesSmall)); !errors.Is(err, errClosed) {
		t.Errorf("append after the end = %v; want %v", err, errClosed)
	}
}

// TestGoalsNameScenarios: a goal for a scenario that does not exist would never be missed.
func TestGoalsNameScenarios(t *testing.T) {
	suite, err := Suite(t.Context(), benchkit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, wanted := range goals() {
		i := slices.IndexFunc(suite.Scenarios, func(s benchkit.Scenario) bool { return s.Name == name })
		if i < 0 || len(wanted) == 0 {
			t.Errorf("%d goals for %s: no such scenario, or no goals", len(wanted), name)
			continue
		}
		for _, goal := range wanted {
			has := func(c benchkit.Case) bool { return goal.Against == "" || c.Name == goal.Against }
			if !slices.ContainsFunc(suite.Scenarios[i].Cases, has) {
				t.Errorf("%s: a goal against %s, which is no case", name, goal.Against)
			}
		}
	}
}

// TestChronicle runs scenarios of the peer on the JVM in miniature.
func TestChronicle(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two JVMs")
	}
	s := &suite{workshop: newWorkshop(), length: 10 * time.Millisecond}
	for _, scenario := range []string{"handover", "read"} {
		places := &places{root: t.TempDir()}
		if err := places.open(); err != nil {
			t.Fatal(err)
		}
		var to benchkit.Scenario
		s.chronicleCase(&to, places, scenario, recordBytesLarge, 1)
		sample, err := to.Cases[0].Command.Run(t.Context())
		if skip := new(benchkit.SkipError); errors.As(err, &skip) {
			t.Skip(skip.Why)
		}
		if err != nil || sample.Ops == 0 || sample.Reordered > 0 || sample.SumWrong {
			t.Errorf("%s = %+v, %v; want records, in order and whole", scenario, sample, err)
		}
		if err := places.close(); err != nil {
			t.Error(err)
		}
	}
}

func TestNewestBlock(t *testing.T) {
	paths := []string{filepath.Join("m", "9.blk"), filepath.Join("m", "10.blk"), filepath.Join("m", "x.blk")}
	if got := newestBlock(paths); !strings.HasSuffix(got, "10.blk") {
		t.Errorf("newestBlock = %s; want 10.blk", got)
	}
}
