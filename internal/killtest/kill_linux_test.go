package killtest

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

const (
	killsShort  = 10 // at each level
	folderKills = 8  // then a fresh folder, which bounds the disk used
	// wastedMax bounds the kills that did not count, as a part of those wanted.
	wastedMax = 0.25
	// acrossWanted is the part of the kills that must leave records in flight on both sides of a roll:
	// more than 30 of 200. inRollWanted is the part that must hit a segment without a record.
	acrossWanted = 0.2
	inRollWanted = 0.02
)

// busKills is how many kills of TestKill there are at each level.
var busKills = flag.Int("bus-kills", 105, "kills of TestKill at each level")

// tally sums up the kills of one level.
type tally struct {
	kills, wasted, acrossRoll, inRoll     int
	acked, inFlight, inFlightMin, checked int
	torn, folders, delivered              int
}

func (s *tally) add(k kill) {
	if !k.counts() {
		s.wasted++
		return
	}
	if s.kills == 0 || k.inFlight < s.inFlightMin {
		s.inFlightMin = k.inFlight
	}
	s.kills++
	if k.acrossRoll {
		s.acrossRoll++
	}
	if k.inRoll {
		s.inRoll++
	}
	s.torn += k.torn
	s.acked += k.acked
	s.inFlight += k.inFlight
	s.checked += k.checked
}

func (s *tally) String() string {
	n := max(s.kills, 1)
	return fmt.Sprintf("%d kills (%d more did not count), %d across a roll, %d of them before its first "+
		"record; %d torn tails; %d acknowledgements, %d a kill, checked %d times; in flight at a kill: %d on "+
		"average, at least %d; %d folders reopened, %d messages delivered from their start",
		s.kills, s.wasted, s.acrossRoll, s.inRoll, s.torn, s.acked, s.acked/n, s.checked, s.inFlight/n,
		s.inFlightMin, s.folders, s.delivered)
}

// seed is LEAT_SEED or the time.
func seed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("LEAT_SEED")
	if text == "" {
		return uint64(time.Now().UnixNano())
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("LEAT_SEED: %v", err)
	}
	return n
}

// TestKill: a process killed at any moment loses nothing it had acknowledged.
func TestKill(t *testing.T) {
	for _, level := range []string{"page", "disk"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			seed := seed(t)
			s := killMany(t, level, seed)
			t.Logf("%s, LEAT_SEED=%d: %v", level, seed, s)
			if float64(s.acrossRoll) < acrossWanted*float64(s.kills) {
				t.Errorf("%d of %d kills across a roll, want %.0f %%", s.acrossRoll, s.kills, 100*acrossWanted)
			}
			if !testing.Short() && float64(s.inRoll) < inRollWanted*float64(s.kills) {
				t.Errorf("%d of %d kills in a roll, want %.0f %%", s.inRoll, s.kills, 100*inRollWanted)
			}
		})
	}
}

func killMany(t *testing.T, level string, seed uint64) *tally {
	wanted := *busKills
	if testing.Short() {
		wanted = killsShort
	}
	random := rand.New(rand.NewPCG(seed, uint64(level[0])))
	root := t.TempDir()
	s := &tally{}
	for s.kills < wanted {
		f := newFolder(filepath.Join(root, strconv.Itoa(s.folders)), level)
		if err := os.Mkdir(f.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for i := 0; i < folderKills && s.kills < wanted; i++ {
			if float64(s.wasted) > wastedMax*float64(wanted) {
				t.Fatalf("LEAT_SEED=%d: too many kills did not hit a bus under load: %v", seed, s)
			}
			k, findings, err := f.run(f.next(random.Uint64()), chooseMoment(random))
			if err != nil || len(findings) > 0 {
				t.Fatalf("LEAT_SEED=%d, kill %d, the %d. of its folder, %+v: %v\n\t%s",
					seed, s.kills+1, i+1, k, err, describe(findings))
			}
			s.add(k)
		}
		s.folders++
		delivered, findings, err := f.checkBus(t.Context())
		if err != nil || len(findings) > 0 {
			t.Fatalf("LEAT_SEED=%d, bus reopened after kill %d: %v\n\t%s", seed, s.kills, err, describe(findings))
		}
		s.delivered += delivered
		if err := os.RemoveAll(f.dir); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// chooseMoment aims three of four kills at a roll, two of these as soon as it is seen. The others hit
// anywhere.
func chooseMoment(r *rand.Rand) moment {
	switch r.IntN(4) {
	case 0:
		return moment{delay: time.Duration(r.Int64N(int64(40 * time.Millisecond)))}
	case 1:
		return moment{rolls: 1 + r.IntN(6), delay: time.Duration(r.Int64N(int64(time.Millisecond)))}
	}
	return moment{rolls: 1 + r.IntN(6)}
}

// TestKillFindsEarlyAcks: a bus that acknowledges before it appends is caught.
func TestKillFindsEarlyAcks(t *testing.T) {
	const attempts = 20
	random := rand.New(rand.NewPCG(seed(t), 1))
	for range attempts {
		f := newFolder(t.TempDir(), "page")
		spec := f.next(random.Uint64())
		spec.EarlyAcks = true
		_, findings, err := f.run(spec, moment{delay: time.Duration(random.Int64N(int64(10 * time.Millisecond)))})
		if err != nil {
			t.Fatal(err)
		}
		for _, finding := range findings {
			if finding.kind != lost {
				t.Errorf("found %v, want only lost records", finding)
			}
		}
		if len(findings) > 0 {
			return
		}
	}
	t.Errorf("%d kills of a bus that acknowledges too early, and nothing was found", attempts)
}
